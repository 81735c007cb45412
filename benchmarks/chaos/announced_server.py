"""A server of its own process that says on standard output where it listens, as desktop shells start it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANNOUNCEMENT: Final = "Uvicorn running on "


@dataclass(frozen=True, slots=True)
class AnnouncedServer:
    """A server that listens."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def announced_server(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, cwd: Path | None = None
) -> Iterator[AnnouncedServer]:
    """Start a server with a pipe as its input and yield it once it listens; it is killed in the end.

    Raises RuntimeError with the log for one that says something else.
    """
    with (
        log.open("a") as errors,
        subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith(ANNOUNCEMENT):
                raise RuntimeError(f"The server did not start: {line}{log.read_text()[-5000:]}")
            yield AnnouncedServer(process, line.removeprefix(ANNOUNCEMENT).rstrip("\n"))
        finally:
            process.kill()
