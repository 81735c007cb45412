"""Speech streams whose synthesizer is killed with -9: the clients get the bytes that they would have got without it.

A daemon with the bundled voice streams one text again and again. In each stream the synthesizer is killed after a
random number of bytes; the gap is the longest wait for the next bytes from then on.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from benchmarks.proofs.report import write_proof
from scripts.demo_daemon import Daemon, descendants, process_name

TEXT: Final = (
    "The first sentence is about the weather. The second one tells you what the time is. "
    "Then comes a third one, which is longer than both of them together. The last one ends it."
)
GOAL_SECONDS: Final = 5.0
PERCENTILE: Final = 0.95


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as requested and return 0 when every stream had the same bytes and the gaps are short."""
    parser = argparse.ArgumentParser(prog="scripts/prove stream-takeover", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the places at which it is killed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="prove-stream-takeover-") as folder:
        identical, gaps = run(Path(folder), options.kills, random.Random(options.seed))
    gap = sorted(gaps)[min(len(gaps) - 1, round(PERCENTILE * len(gaps)))]
    figures = {
        "kills": options.kills,
        "identical_streams": identical,
        "gap_seconds_p50": round(sorted(gaps)[len(gaps) // 2], 2),
        "gap_seconds_p95": round(gap, 2),
        "goal_seconds_p95": GOAL_SECONDS,
    }
    return write_proof("stream-takeover", figures, passed=identical == options.kills and gap <= GOAL_SECONDS)


def run(folder: Path, kills: int, places: random.Random) -> tuple[int, list[float]]:
    """Return how many streams were identical to one that was left alone, and the longest wait of each."""
    identical, gaps = 0, []
    settings = {"SPEECH_CACHE_MB": "0"}  # every stream is synthesized
    with Daemon(folder / "data", folder / "daemon.log", settings) as daemon, httpx.Client(timeout=120) as client:
        expected, _ = stream(client, daemon, kill_after=None)
        for _ in range(kills):
            audio, gap = stream(client, daemon, kill_after=places.randrange(1, len(expected) * 3 // 4))
            identical += audio == expected
            gaps.append(gap)
            wait_until_ready(client, daemon)
    return identical, gaps


def stream(client: httpx.Client, daemon: Daemon, kill_after: int | None) -> tuple[bytes, float]:
    """Return the bytes of a stream, and the longest wait for bytes after the kill, in seconds."""
    body = {"model": "nano", "voice": "allison", "input": TEXT, "response_format": "pcm", "language": "en", "seed": 1}
    audio, gap, arrived = b"", 0.0, time.monotonic()
    with client.stream("POST", f"{daemon.url}/v1/audio/speech", json=body) as response:
        response.raise_for_status()
        for chunk in response.iter_raw():
            gap, arrived = max(gap, time.monotonic() - arrived), time.monotonic()
            audio += chunk
            if kill_after is not None and len(audio) >= kill_after:
                os.kill(synthesizer(daemon), signal.SIGKILL)
                kill_after, gap = None, 0.0
    return audio, gap


def synthesizer(daemon: Daemon) -> int:
    """Return the pid of the daemon's synthesizer."""
    return next(pid for pid in descendants(daemon.process.pid) if process_name(pid) == "synthesizer")


def wait_until_ready(client: httpx.Client, daemon: Daemon) -> None:
    """Wait until the synthesizer that was started in place of a killed one is at work."""
    while client.get(f"{daemon.url}/readyz").status_code != 200:
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
