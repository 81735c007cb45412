"""`bench faults`: seconds from a fault until a sentence is spoken again, beside the goal."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from benchmarks.chaos.service import VOICE, Service, wait_until
from benchmarks.report import Row, report
from core.redis import connect
from core.redis_server import read_embedded_url

OUTAGE_SECONDS: Final = 5.0
LIMIT_SECONDS: Final = 120.0
_GENERATOR: Final = random.Random(1)


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench faults", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Service(Path(folder) / "data") as service:
        rows = [measure(service, name, fault, goal) for name, fault, goal in SCENARIOS]
    report("faults", rows, options.json)


def measure(service: Service, name: str, fault: Callable[[Service], float], goal: float) -> Row:
    """Return how long it took after a fault; one that lasts by itself returns for how long, which is not counted."""
    service.wait_until_ready()
    wait_until(lambda: speaks(service), LIMIT_SECONDS, "a sentence before the fault")
    started = time.monotonic()
    lasted = fault(service)
    wait_until(lambda: speaks(service), LIMIT_SECONDS, name)
    seconds = max(0.01, time.monotonic() - started - lasted)
    return Row(name, "s", ours=seconds, peer="goal", theirs=goal, ratio=goal / seconds)


def speaks(service: Service) -> bool:
    """Return whether a short sentence is spoken now."""
    body = {"model": "nano", "voice": VOICE, "input": "Yes.", "response_format": "wav"}
    try:
        return httpx.post(f"{service.url}/v1/audio/speech", json=body, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def _killed(name: str) -> Callable[[Service], float]:
    def fault(service: Service) -> float:
        if not service.kill(name, generator=_GENERATOR):
            raise SystemExit(f"There is no process {name} among {set(service.processes().values())}.")
        return 0.0

    return fault


def _drained(service: Service) -> float:
    starts = service.starts
    service.drain()
    return wait_until(lambda: service.starts > starts, LIMIT_SECONDS, "the end of a drain")


def _disconnected(service: Service) -> float:
    with connect(read_embedded_url(service.folder / "redis")) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return 0.0


def _silent(service: Service) -> float:
    with connect(read_embedded_url(service.folder / "redis")) as admin:
        admin.execute_command("CLIENT", "PAUSE", int(OUTAGE_SECONDS * 1000), "ALL")
    time.sleep(OUTAGE_SECONDS)
    return OUTAGE_SECONDS


def _read_only(service: Service) -> float:
    with connect(read_embedded_url(service.folder / "redis")) as admin:
        admin.replicaof("127.0.0.1", "1")
        time.sleep(OUTAGE_SECONDS)
        admin.replicaof("NO", "ONE")
    return OUTAGE_SECONDS


SCENARIOS: Final[tuple[tuple[str, Callable[[Service], float], float], ...]] = (
    ("a synthesizer killed", _killed("synthesizer"), 5.0),
    ("a splitter killed", _killed("splitter"), 5.0),
    ("the API killed", _killed("api"), 10.0),
    ("the queue server killed", _killed("valkey-server"), 5.0),
    ("the supervisor killed", _killed("supervisor"), 15.0),
    ("all connections to Redis broken", _disconnected, 2.0),
    ("Redis silent for 5 s", _silent, 5.0),
    ("Redis read-only for 5 s", _read_only, 5.0),
    ("a redeployment", _drained, 15.0),
)
"""Name, fault, and the goal in seconds on an idle host."""

if __name__ == "__main__":
    main()
