"""An S3 server of its own process, which a proof or a benchmark starts and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Final, Self

import httpx

from core.process import start_child

START_SECONDS: Final = 60.0
BUFFER_BYTES: Final = 1 << 16
"""Of an object in memory; the rest is in a temporary file."""


class BucketServer:
    """A context manager around moto's server."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = start_child(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env={**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(BUFFER_BYTES)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(self.address, timeout=5)
                return self
            except httpx.HTTPError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def new_bucket(self, name: str) -> str:
        """Create a bucket and return its address for settings."""
        httpx.put(f"{self.address}/{name}", timeout=60).raise_for_status()
        keys = "access_key_id=someone&secret_access_key=secret"
        return f"s3://{name}/studio?endpoint={self.address}&region=us-east-1&{keys}"
