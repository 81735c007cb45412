"""What a call of the queue costs with many waiting jobs, beside its cost with a few (`scripts/bench queue_depth`).

The jobs have mixed priorities and fifty owners; the times are medians on an embedded server.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.report import Row, report
from core.jobs.job import NewJob
from core.jobs.queue import Queue
from core.redis import connect
from core.redis_server import EmbeddedServer

FEW: Final = 1_000
OWNERS: Final = 50


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench queue_depth", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--jobs", type=int, default=100_000, help="how many wait")
    parser.add_argument("--calls", type=int, default=300, help="calls of each kind")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-queue-depth-") as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        few, many = (measure_calls(server, depth, options.calls) for depth in (FEW, options.jobs))
        server.stop()
    rows = [
        Row(
            f"{call} with {options.jobs} waiting jobs",
            "ms",
            many[call],
            f"with {FEW}",
            few[call],
            few[call] / many[call],
        )
        for call in few
    ]
    report("queue_depth", rows, options.json)


def measure_calls(server: EmbeddedServer, depth: int, calls: int) -> dict[str, float]:
    """Return the median time, ms, of each kind of call."""
    with connect(server.url) as client:
        client.flushall()
        queue = Queue(client)
        queue.enqueue_many(_job(f"job-{number}", number) for number in range(depth))
        times: dict[str, list[float]] = {"enqueue": [], "cancel": [], "claim": []}
        for number in range(calls):
            started = time.perf_counter()
            queue.enqueue(_job(f"new-{number}", number))
            enqueued = time.perf_counter()
            queue.cancel(f"job-{depth // 2 + number}")
            cancelled = time.perf_counter()
            queue.claim("synthesizer", f"worker-{number}")
            claimed = time.perf_counter()
            times["enqueue"].append(enqueued - started)
            times["cancel"].append(cancelled - enqueued)
            times["claim"].append(claimed - cancelled)
    return {call: statistics.median(seconds) * 1000 for call, seconds in times.items()}


def _job(job_id: str, number: int) -> NewJob:
    return NewJob(
        "synthesizer", {}, job_id=job_id, owner=f"owner-{number % OWNERS}", priority=1 + number // OWNERS % 10
    )


if __name__ == "__main__":
    main()
