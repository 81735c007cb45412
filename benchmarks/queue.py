"""No-op jobs through one worker process: jobs a second, and the time from enqueue to result, beside four known queues.

All on the same embedded server, in turns, so that a busy machine slows all of them; the numbers are medians over the
rounds. The peers live in an environment of their own (.cache/bench-peers). Run by `scripts/bench queue`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from benchmarks.report import Row, report
from common.programs import bound_command
from core.redis import connect
from core.redis_server import EmbeddedServer

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PEERS: Final = REPOSITORY / "benchmarks" / "peers"
ENVIRONMENT: Final = REPOSITORY / ".cache" / "bench-peers"
PACKAGES: Final = ("rq", "dramatiq[redis]", "saq", "taskiq", "taskiq-redis")
PEER_FILES: Final = {
    "RQ": "peer_rq.py",
    "dramatiq": "peer_dramatiq.py",
    "SAQ": "peer_saq.py",
    "TaskIQ": "peer_taskiq.py",
}
OURS: Final = "sovitsd"


@dataclass
class Measured:
    """Of one queue, one entry a round."""

    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench queue", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=3000, help="of one throughput run; the first tenth is not counted")
    parser.add_argument("--trips", type=int, default=300, help="round trips of one latency run")
    options = parser.parse_args(arguments)
    install_peers()
    measured = {name: Measured() for name in (OURS, *PEER_FILES)}
    with tempfile.TemporaryDirectory(prefix="bench-queue-") as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        for number in range(options.rounds):
            for name, times in measured.items():
                print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
                times.per_second.append(measure_throughput(server, name, options.jobs))
                p50, p99 = measure_latency(server, name, options.trips)
                times.p50_ms.append(p50)
                times.p99_ms.append(p99)
        server.stop()
    report("queue", list(compare(measured)), options.json)


def install_peers() -> None:
    """Install the other queues once; a folder without the marker file was not finished."""
    marker = ENVIRONMENT / "installed"
    if marker.exists():
        return
    print("Installing the other queues...", file=sys.stderr)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    subprocess.run([_python(ENVIRONMENT), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    marker.touch()


def measure_throughput(server: EmbeddedServer, name: str, jobs: int) -> float:
    """Jobs a second between one tenth and the end of a full queue."""
    _empty(server)
    run(server, name, "enqueue", str(jobs))
    first, last = jobs // 10, jobs - 1
    with a_worker(server, name, BENCH_MARKED=f"{first},{last}") as output:
        times: dict[int, float] = {}
        while len(times) < 2:
            note = json.loads(output.readline())
            times[note["n"]] = note["at"]
    return (last - first) / (times[last] - times[first])


def measure_latency(server: EmbeddedServer, name: str, trips: int) -> tuple[float, float]:
    """Median and 99th percentile, ms, of one job at a time through an idle worker."""
    _empty(server)
    with a_worker(server, name):
        seconds = sorted(json.loads(run(server, name, "latency", str(trips)))["seconds"])
    return statistics.median(seconds) * 1000, seconds[int(len(seconds) * 0.99)] * 1000


def compare(measured: dict[str, Measured]) -> Iterator[Row]:
    ours = measured[OURS]
    for name in PEER_FILES:
        theirs = measured[name]
        mine, other = statistics.median(ours.per_second), statistics.median(theirs.per_second)
        yield Row("no-op jobs, one worker", "jobs/s", mine, name, other, mine / other)
    for metric in ("p50_ms", "p99_ms"):
        for name in PEER_FILES:
            mine = statistics.median(getattr(ours, metric))
            other = statistics.median(getattr(measured[name], metric))
            yield Row(f"enqueue to result, {metric[:3]}", "ms", mine, name, other, other / mine)


@contextmanager
def a_worker(server: EmbeddedServer, name: str, **environment: str) -> Iterator[IO[str]]:
    """Start a worker process and yield the lines that it prints, once it is ready."""
    process = subprocess.Popen(
        bound_command(_command(name, "worker")),
        env=_environment(server, **environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        if not ready:
            raise RuntimeError(f"The worker of {name} did not start.")
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(server: EmbeddedServer, name: str, *arguments: str) -> str:
    """Return what the client of a queue prints."""
    finished = subprocess.run(
        bound_command(_command(name, *arguments)),
        env=_environment(server),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return finished.stdout


def _command(name: str, *arguments: str) -> list[str]:
    if name == OURS:
        return [sys.executable, str(PEERS / "own.py"), *arguments]
    return [_python(ENVIRONMENT), str(PEERS / PEER_FILES[name]), *arguments]


def _environment(server: EmbeddedServer, **more: str) -> dict[str, str]:
    return {**os.environ, "BENCH_REDIS_URL": server.url, "PYTHONPATH": str(REPOSITORY), **more}


def _python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def _empty(server: EmbeddedServer) -> None:
    with connect(server.url) as client:
        client.flushall()


if __name__ == "__main__":
    main()
