"""Random kills, disconnections and drains under mixed load, an audit after each, and the growth of every process.

scripts/soak --minutes N runs it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.chaos.accounts import Accounts, kept_or_temporary
from benchmarks.chaos.load import MixedLoad
from benchmarks.chaos.service import Service
from core.redis import connect
from core.redis_server import read_embedded_url

GROWTH_LIMIT_MIB: Final = 1.0
"""Of a process per 1,000 requests, after it has warmed up."""
MIN_REQUESTS: Final = 300
"""A process that saw fewer says nothing about its growth."""
CACHE_MB: Final = "1"
"""Of finished sentences: full before growth is measured, which a cache on its way to its limit would be taken for."""
CALM_SHARE: Final = 0.4
"""Of the time goes by without faults, at the end, in which growth is measured."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What a process held when so many requests had been served."""

    requests: int
    mib: float


def main(arguments: list[str] | None = None) -> int:
    """Run for as long as requested, print the report as JSON, and return 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, help="keep the data here; a run that was interrupted goes on from it")
    options = parser.parse_args(arguments)
    with kept_or_temporary(options.folder, "soak-") as folder:
        document = soak(folder / "data", Accounts(folder), options.minutes * 60, options.seed)
    text = json.dumps(document, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0 if document["passed"] else 1


def soak(folder: Path, accounts: Accounts, seconds: float, seed: int) -> dict[str, object]:
    """Return the report."""
    generator = random.Random(f"{seed}/{accounts.faults.total()}")
    with Service(folder, SPEECH_CACHE_MB=CACHE_MB) as service:
        while accounts.seconds < seconds * (1 - CALM_SHARE):
            started = time.monotonic()
            with MixedLoad(service, accounts) as load:
                time.sleep(generator.uniform(2.0, 6.0))
                fault = _break_something(service, generator)
                time.sleep(generator.uniform(1.0, 3.0))
                service.wait_until_ready()
                load.stop()
                for problem in load.audit():
                    accounts.problem(f"after {fault}: {problem}")
            accounts.fault(fault, time.monotonic() - started)
            _print_progress(accounts, accounts.seconds, seconds, fault)
        with MixedLoad(service, accounts) as load:
            growth = _measure_growth(service, accounts, seconds)
            load.stop()
            for problem in load.audit():
                accounts.problem(problem)
    problems = accounts.problems + [
        f"{name} grew by {mib:.2f} MiB per 1,000 requests" for name, mib in growth.items() if mib > GROWTH_LIMIT_MIB
    ]
    return {
        "passed": not problems,
        "seconds": seconds,
        "faults": dict(accounts.faults),
        "requests": dict(accounts.done),
        "growth_mib_per_1000_requests": {name: round(mib, 3) for name, mib in growth.items()},
        "problems": problems,
    }


def _print_progress(accounts: Accounts, passed: float, seconds: float, what: str) -> None:
    minutes = f"minute {passed / 60:.1f} of {seconds / 60:g}"
    print(f"{minutes}: {what}; {accounts.summary}", file=sys.stderr, flush=True)


def _break_something(service: Service, generator: random.Random) -> str:
    kind = generator.choice(("kill", "kill", "kill", "disconnection", "drain"))
    if kind == "kill":
        return f"kill -9 of {service.kill(generator=generator) or 'nothing'}"
    if kind == "drain":
        service.drain()
        return "a drain"
    with connect(read_embedded_url(service.folder / "redis")) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return "a disconnection"


def _measure_growth(service: Service, accounts: Accounts, seconds: float) -> dict[str, float]:
    """Return name → MiB per 1,000 requests of the processes that lived through the second half of the calm time."""
    samples: dict[tuple[int, str], list[MemorySample]] = {}
    minute_ends = time.monotonic() + 60
    started = time.monotonic() - accounts.seconds
    while time.monotonic() - started < seconds:
        time.sleep(1.0)
        requests = sum(accounts.done[kind] for kind in ("inferences", "speeches", "uploads"))
        for pid, (name, mib) in service.memory_mib().items():
            samples.setdefault((pid, name), []).append(MemorySample(requests, mib))
        if time.monotonic() > minute_ends:
            minute_ends += 60
            _print_progress(accounts, time.monotonic() - started, seconds, "no faults")
    growth: dict[str, float] = {}
    for (_pid, name), all_samples in samples.items():
        warm = all_samples[len(all_samples) // 2 :]
        if warm and warm[-1].requests - warm[0].requests >= MIN_REQUESTS:
            growth[name] = max(growth.get(name, float("-inf")), _slope(warm) * 1000)
    return growth


def _slope(samples: list[MemorySample]) -> float:
    """Return the slope of the regression line, MiB per request."""
    count = len(samples)
    mean_x = sum(sample.requests for sample in samples) / count
    mean_y = sum(sample.mib for sample in samples) / count
    spread = sum((sample.requests - mean_x) ** 2 for sample in samples)
    return sum((s.requests - mean_x) * (s.mib - mean_y) for s in samples) / spread if spread else 0.0


if __name__ == "__main__":
    sys.exit(main())
