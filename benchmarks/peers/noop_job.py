"""The job that every queue runs: it does nothing, and prints the time at two of them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

URL = os.environ["BENCH_REDIS_URL"]
MARKED = tuple(int(number) for number in os.environ.get("BENCH_MARKED", "").split(",") if number)
WARM_UP = 20
"""Round trips that are not counted."""


def noop(n: int) -> None:
    if n in MARKED:
        print(json.dumps({"n": n, "at": time.monotonic()}), flush=True)


def tell_ready() -> None:
    print(json.dumps({"ready": True}), flush=True)


def measure(round_trip: Callable[[], object], count: int) -> None:
    """Print the seconds that each of `count` round trips took."""
    tell_times([_timed(round_trip) for _ in range(count + WARM_UP)])


async def measure_async(round_trip: Callable[[], Awaitable[object]], count: int) -> None:
    seconds = []
    for _ in range(count + WARM_UP):
        began = time.perf_counter()
        await round_trip()
        seconds.append(time.perf_counter() - began)
    tell_times(seconds)


def tell_times(seconds: Sequence[float]) -> None:
    print(json.dumps({"seconds": seconds[WARM_UP:]}), flush=True)


def _timed(round_trip: Callable[[], object]) -> float:
    began = time.perf_counter()
    round_trip()
    return time.perf_counter() - began


def command() -> tuple[str, int]:
    """Return the verb and the number of `worker`, `enqueue N` or `latency N`."""
    return sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
