"""Two sites that back up to one bucket, each through its own faulty network, and clients that write to both at once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from benchmarks.chaos.fault_proxy import FaultProxy
from common.programs import product_command
from core.process import start_child
from core.settings import Settings, read_settings
from recovery.standby.local_service import LocalService

UPLOAD_SECONDS: Final = 0.1
"""Between two uploads of a client."""
WAIT_SECONDS: Final = 300.0
LEASE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class AcknowledgedFile:
    """A file that a site said that it has."""

    name: str
    site: str
    written_at: float
    """By the clock of this host, which all sites share."""
    acknowledged_at: float


class FencedSite:
    """A service on a data folder, its connection to the bucket, and a client that writes to it without a pause."""

    def __init__(self, folder: Path, bucket_url: str, keys: tuple[str, ...]) -> None:
        """`keys`: the public keys of both sites."""
        self.name = folder.name
        self.folder = folder
        self.network = FaultProxy.to(bucket_url.partition("endpoint=")[2].partition("&")[0])
        self._keys = keys
        self._bucket_url = self.network.through(bucket_url)
        self.acknowledged: list[AcknowledgedFile] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._client = threading.Thread(target=self._write, daemon=True)
        self._ended = threading.Event()

    @property
    def settings(self) -> Settings:
        """The settings of commands that run in this process."""
        return read_settings(
            data_path=self.folder, backup_url=self._bucket_url, backup_public_keys=self._keys, fencing=True
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs that run on this site."""
        return {
            **os.environ,
            "DATA_PATH": str(self.folder),
            "BACKUP_URL": self._bucket_url,
            "BACKUP_PUBLIC_KEYS": ",".join(self._keys),
            "BACKUP_SCHEDULE": "",
            "BACKUP_EVERY_SECONDS": "0.5",
            "FENCING": "on",
            "FENCING_LEASE_SECONDS": str(LEASE_SECONDS),
            "FENCING_RENEW_SECONDS": "0.5",
            "MARK_KEY": "one for both",
            "MARK_METADATA": "off",
            "PORT": "0",
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> None:
        """Start the service, wait until it is announced, and let the client write."""
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            command = product_command("serve", "--roles", "synthesizer")
            self._process = start_child(command, env=self.environment, stdout=log, stderr=log)
        LocalService(self.settings).url()
        self._client.start()

    def stop_client(self) -> None:
        """Write no more, and wait for the response to the last upload."""
        self._ended.set()
        if self._client.is_alive():
            self._client.join()

    def close(self) -> None:
        """End the client, the service and the network."""
        self.stop_client()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self.network.close()

    def file_names(self) -> set[str]:
        """Return the names of all files of the site's records."""
        names: set[str] = set()
        cursor = ""
        while True:
            page = self._request("GET", params={"limit": "100", "cursor": cursor}).json()
            names |= {item["filename"] for item in page["items"]}
            if not (cursor := page.get("next_cursor") or ""):
                return names

    def _write(self) -> None:
        number = 0
        while not self._ended.wait(UPLOAD_SECONDS):
            number += 1
            name = f"{self.name}-{number}.txt"
            try:
                response = self._request("POST", files={"file": (name, name.encode(), "text/plain")})
            except httpx.HTTPError:
                continue
            if response.status_code in (200, 201):
                at = datetime.fromisoformat(response.json()["uploaded_at"]).timestamp()
                self.acknowledged.append(AcknowledgedFile(name, self.name, at, time.time()))

    def _request(self, method: str, **options: object) -> httpx.Response:
        url = f"{LocalService(self.settings).url()}/api/v1/files"
        return httpx.request(method, url, timeout=60, **options)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; TimeoutError says for what."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_SECONDS:g} s for {what}")
        time.sleep(0.05)
