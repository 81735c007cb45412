"""How many tasks a second the API creates and how many it reads, behind 10,000 tasks, while a hundred watchers listen.

The API is a process of its own, as in production; this process is its clients. Run by `scripts/bench api`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import Row, report
from common.programs import bound_command
from core.records import upgrade
from core.redis_server import EmbeddedServer
from core.settings import read_settings

KEY: Final = "sk-benchmark"
REPOSITORY: Final = Path(__file__).resolve().parent.parent
WATCHERS: Final = 100
CONNECTIONS: Final = 16
RECORDS: Final = 10_000
"""Tasks that are there before anything is measured."""
SECONDS: Final = 8.0
WARM_UP_SECONDS: Final = 1.0
START_SECONDS: Final = 30.0
GOAL_CREATES: Final = 500
GOAL_READS: Final = 1000
"""A second, as users of the model service were promised."""
GOAL_CREATE_MS: Final = 50
GOAL_READ_MS: Final = 20
GOAL_MIB: Final = 120


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests of one kind, from all connections together."""

    per_second: float
    p50_ms: float
    p99_ms: float


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench api", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder, a_server(Path(folder)) as (url, pid):
        created, read, watchers_served = asyncio.run(_measure(url))
        resident = _resident_mib(pid)
    rows = [
        _more("tasks created", "1/s", created.per_second, GOAL_CREATES),
        _less("creating a task, median", "ms", created.p50_ms, GOAL_CREATE_MS),
        _less("creating a task, 99th percentile", "ms", created.p99_ms, GOAL_CREATE_MS),
        _more("task status reads", "1/s", read.per_second, GOAL_READS),
        _less("reading a status, median", "ms", read.p50_ms, GOAL_READ_MS),
        _less("reading a status, 99th percentile", "ms", read.p99_ms, GOAL_READ_MS),
        _more("watchers that heard the end", "of 100", watchers_served, WATCHERS),
        _less("memory of the API", "MiB", resident, GOAL_MIB),
    ]
    report("api", rows, options.json)


def _more(name: str, unit: str, ours: float, goal: float) -> Row:
    """Compare a number of which more is better."""
    return Row(name, unit, ours=ours, peer="goal", theirs=goal, ratio=ours / goal)


def _less(name: str, unit: str, ours: float, goal: float) -> Row:
    """Compare a number of which less is better."""
    return Row(name, unit, ours=ours, peer="goal", theirs=goal, ratio=goal / ours)


@contextlib.contextmanager
def a_server(data: Path) -> Iterator[tuple[str, int]]:
    """Run the API in a process of its own with an embedded Redis and fresh records; yield its URL and process id."""
    redis = EmbeddedServer(data / "redis")
    redis.start()
    settings = read_settings(data_path=data)
    upgrade(settings.resolved_database_url)
    environment = os.environ | {
        "DATA_PATH": str(data),
        "PORT": "0",
        "REDIS_URL": redis.url,
        "LOG_LEVEL": "WARNING",
        "VALID_API_KEYS": KEY,
    }
    command = bound_command([sys.executable, "main.py", "api"])
    child = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    try:
        yield _announced(data / "run" / "api.json", child), child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        redis.stop()


def _announced(path: Path, child: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if path.exists():
            return str(json.loads(path.read_bytes())["url"])
        time.sleep(0.05)
    raise SystemExit("The API did not start.")


async def _measure(url: str) -> tuple[Measured, Measured, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    async with a_connection(host, int(port)) as connection:
        file_id = (await connection.send(_upload()))["id"]
        watched = (await connection.send(_create(file_id, 0)))["id"]
    watchers = [asyncio.create_task(_watch(host, int(port), watched)) for _ in range(WATCHERS)]
    numbers = itertools.count(1)
    await _fill(host, int(port), lambda: _create(file_id, next(numbers)))
    ids: list[str] = []
    created = await _load(host, int(port), lambda: _create(file_id, next(numbers)), ids)
    cycle = itertools.cycle(ids)
    read = await _load(host, int(port), lambda: _request("GET", f"/api/v1/tasks/{next(cycle)}"), [])
    async with a_connection(host, int(port)) as connection:
        await connection.send(_request("DELETE", f"/api/v1/tasks/{watched}"))
    watchers_served = await asyncio.wait_for(asyncio.gather(*watchers), 30)
    return created, read, sum(watchers_served)


async def _fill(host: str, port: int, make: Callable[[], bytes]) -> None:
    async def client() -> None:
        async with a_connection(host, port) as connection:
            for _ in range(RECORDS // CONNECTIONS):
                await connection.send(make())

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))


async def _load(host: str, port: int, make: Callable[[], bytes], ids: list[str]) -> Measured:
    """Let every connection send its next request when the last one got its response, for a few seconds."""
    latencies: list[float] = []
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + SECONDS

    async def client() -> None:
        async with a_connection(host, port) as connection:
            while (request_start := time.perf_counter()) < end:
                response = await connection.send(make())
                ids.append(response["id"])
                if request_start >= begin:
                    latencies.append(time.perf_counter() - request_start)

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    took = time.perf_counter() - begin
    cuts = statistics.quantiles(latencies, n=100)
    return Measured(len(latencies) / took, cuts[49] * 1000, cuts[98] * 1000)


class Connection:
    """One kept-alive connection; as little client as can be, so that the server is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, request: bytes) -> dict[str, str]:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 2"):
            raise SystemExit(f"The API answered {head[:12].decode()}: {body[:500].decode()}")
        answer: dict[str, str] = json.loads(body)
        return answer


@contextlib.asynccontextmanager
async def a_connection(host: str, port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def _watch(host: str, port: int, task_id: str) -> bool:
    """Return whether the task's end was received."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(_request("GET", f"/api/v1/tasks/{task_id}/progress"))
    try:
        while line := await reader.readline():
            if line.startswith(b"event: cancelled"):
                return True
        return False
    finally:
        writer.close()


def _create(file_id: str, number: int) -> bytes:
    options = {"version": "nano", "language": "en", "quality": "fast"}
    body = {"exp_name": f"voice {number}", "audio_file_id": file_id, "options": options}
    return _request("POST", "/api/v1/tasks", json.dumps(body).encode())


def _upload() -> bytes:
    count = 32_000
    samples = struct.pack(f"<{count}h", *(round(9000 * math.sin(n / 12)) for n in range(count)))
    format_ = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    header = b"RIFF" + struct.pack("<I", 36 + 2 * count) + b"WAVEfmt " + format_ + b"data"
    wav = header + struct.pack("<I", 2 * count) + samples
    disposition = b'Content-Disposition: form-data; name="file"; filename="tone.wav"'
    body = b"--b\r\n" + disposition + b"\r\n\r\n" + wav + b"\r\n--b--\r\n"
    return _request("POST", "/api/v1/files", body, "multipart/form-data; boundary=b")


def _request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench",
        f"Authorization: Bearer {KEY}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return math.nan


if __name__ == "__main__":
    main()
