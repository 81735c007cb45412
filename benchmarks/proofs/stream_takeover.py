"""Speech streams whose synthesizer is killed with -9: the clients get the bytes that they would have got without it.

A daemon with the bundled voice streams one text again and again. In each stream, after a random number of bytes, a
synthesizer that is speaking is killed; the gap is the longest wait for the next bytes from then on. None is killed as
soon as it has started: such are restarted with increasing delays.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx
import orjson

from benchmarks.chaos.accounts import kept_or_temporary
from benchmarks.chaos.service import START_SECONDS, VOICE, Service, wait_until
from benchmarks.engine_streams import percentile
from benchmarks.proofs.report import write_proof
from core.jobs.queue import Queue
from core.jobs.roles import SYNTHESIZER
from supervisor.child_monitor import BOOT_SECONDS

TEXT: Final = (
    "The first sentence is about the weather. The second one tells you what the time is. "
    "Then comes a third one, which is longer than both of them together. After it, somebody opens a window. "
    "The fifth is short. In the sixth, a train leaves for the coast, and nobody is on it. "
    "The one before the last says nothing new. The last one ends it."
)
GOAL_SECONDS: Final = {1: 5.0, 2: 1.5}
"""Of the gap that 95 % of the streams stay below, by the number of synthesizers."""
LATEST_SHARE: Final = 0.6
"""Of the bytes, before which a synthesizer is killed: it is then still speaking the rest."""
JOURNAL: Final = "takeovers.jsonl"


@dataclass(frozen=True, slots=True)
class Takeover:
    """What became of a stream whose synthesizer was killed."""

    identical: bool
    """Whether its bytes are those of a stream that was left alone."""
    gap: float
    """Seconds."""
    rescued: int
    """Jobs that were requeued."""


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as requested and return 0 when every stream had the same bytes and the gaps are short."""
    parser = argparse.ArgumentParser(prog="scripts/prove stream-takeover", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--synthesizers",
        type=int,
        default=1,
        choices=sorted(GOAL_SECONDS),
        help="a host without a GPU has one for two cores (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the places at which one is killed")
    parser.add_argument("--folder", type=Path, help="keep the data here; a run that was interrupted goes on from it")
    options = parser.parse_args(arguments)
    with kept_or_temporary(options.folder, "prove-stream-takeover-") as folder:
        takeovers = run_kills(folder, options.kills, options.synthesizers, options.seed)
    gaps = [takeover.gap for takeover in takeovers]
    goal = GOAL_SECONDS[options.synthesizers]
    figures = {
        "synthesizers": options.synthesizers,
        "kills": len(takeovers),
        "identical_streams": sum(takeover.identical for takeover in takeovers),
        "rescued_jobs": sum(takeover.rescued for takeover in takeovers),
        "gap_seconds_p50": round(percentile(gaps, 0.5), 2),
        "gap_seconds_p95": round(percentile(gaps, 0.95), 2),
        "gap_seconds_max": round(max(gaps), 2),
        "goal_seconds_p95": goal,
    }
    passed = all(takeover.identical for takeover in takeovers) and percentile(gaps, 0.95) <= goal
    return write_proof(f"stream-takeover-{options.synthesizers}", figures, passed=passed)


def run_kills(folder: Path, kills: int, synthesizers: int, seed: int) -> Sequence[Takeover]:
    """Return what became of so many streams, with those of an earlier run in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    takeovers = [Takeover(**orjson.loads(line)) for line in lines]
    generator = random.Random(f"{seed}/{len(takeovers)}")
    settings = {"NUM_MODELS": str(synthesizers), "SPEECH_CACHE_MB": "0"}  # every stream is synthesized
    with (
        Service(folder / "data", **settings) as service,
        service.queue() as queue,
        httpx.Client(timeout=START_SECONDS) as client,
    ):
        wait_for_synthesizers(service, queue, synthesizers)
        expected = b"".join(pieces(service, client))
        while len(takeovers) < kills:
            place = generator.randrange(1, round(len(expected) * LATEST_SHARE))
            takeovers.append(stream_with_a_kill(service, queue, client, place, expected))
            with journal.open("ab") as file:
                file.write(orjson.dumps(asdict(takeovers[-1])) + b"\n")
            print(f"{len(takeovers)} of {kills}: {takeovers[-1]}", file=sys.stderr, flush=True)
            wait_for_synthesizers(service, queue, synthesizers)
    return takeovers


def stream_with_a_kill(service: Service, queue: Queue, client: httpx.Client, place: int, expected: bytes) -> Takeover:
    """Stream the text, and kill a synthesizer that is speaking once so many bytes are there."""
    before = queue.counters().get("rescued", 0)
    audio, gap, arrived, killed = b"", 0.0, time.monotonic(), False
    for piece in pieces(service, client):
        now = time.monotonic()
        gap, arrived = max(gap, now - arrived), now
        audio += piece
        if not killed and len(audio) >= place:
            os.kill(speaking_process(queue), signal.SIGKILL)
            killed, gap, arrived = True, 0.0, time.monotonic()
    return Takeover(audio == expected, gap, queue.counters().get("rescued", 0) - before)


def pieces(service: Service, client: httpx.Client) -> Iterator[bytes]:
    """Yield the bytes of the text's speech as they arrive."""
    body = {"model": "nano", "voice": VOICE, "input": TEXT, "response_format": "pcm", "language": "en", "seed": 1}
    with client.stream("POST", f"{service.url}/v1/audio/speech", json=body) as response:
        response.raise_for_status()
        yield from response.iter_raw()


def speaking_process(queue: Queue) -> int:
    """Return the pid of a synthesizer that holds a job; of any where none does."""
    workers = [worker for worker in queue.workers() if worker.role == SYNTHESIZER]
    return max(workers, key=lambda worker: bool(worker.job)).pid


def wait_for_synthesizers(service: Service, queue: Queue, count: int) -> None:
    """Wait until so many are at work, and none counts as one that dies as soon as it is ready."""

    def are_there() -> bool:
        alive = service.processes()
        pids = {worker.pid for worker in queue.workers() if alive.get(worker.pid) == SYNTHESIZER}
        return len(pids) == count and all(age_seconds(pid) > BOOT_SECONDS for pid in pids)

    wait_until(are_there, START_SECONDS, f"{count} synthesizers")
    service.wait_until_ready()


def age_seconds(pid: int) -> float:
    """Return for how long a process has run; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), since the boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


if __name__ == "__main__":
    sys.exit(main())
