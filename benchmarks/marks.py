"""How well the watermark is found after what happens to audio, how often where there is none, and what it costs.

Synthetic speech comes from nano with the bundled voice, real speech from `--real FOLDER` of audio files, by default the
prompts of five of Debian's `asterisk-core-sounds` packages, which are fetched. Run by `scripts/bench marks`. What is
measured lies in `--work FOLDER`, and a run that was interrupted goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.mark_attacks import ATTACKS
from benchmarks.mark_recordings import RATE, Samples, real_recordings, synthesize
from benchmarks.report import Row, report
from common.files import write_atomically
from core.marks.detect import THRESHOLD, band_differences, detect_watermark, find_pattern
from core.marks.embed import WatermarkEmbedder
from core.marks.pattern import MAX_PAYLOAD, Pattern

PATTERN: Final = Pattern(b"the key of this benchmark")
KEYS_TOGETHER: Final = 50
"""Wrong keys of one stage."""
FIRST_CHUNK_SECONDS: Final = 0.3
"""About what nano delivers first."""
QUALITY_CLIPS: Final = 60
"""Recordings whose quality is measured, which takes long."""
NICENESS: Final = 15


class Stages:
    """Results by name, kept in a folder: what was computed by an earlier run of the same size is not repeated."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._started = time.monotonic()

    def run(self, name: str, compute: Callable[[], Sequence[float]]) -> list[float]:
        """Return the numbers of a stage, computing them where they are not stored."""
        file = self._folder / f"{name.replace(' ', '-').replace(',', '').replace('/', '-')}.json"
        if not file.exists():
            numbers = [float(number) for number in compute()]
            write_atomically(file, json.dumps(numbers).encode())
            self.say(f"{name}: {', '.join(f'{number:g}' for number in numbers)}")
        stored: list[float] = json.loads(file.read_bytes())
        return stored

    def say(self, line: str) -> None:
        """Print a line with the time since the beginning."""
        print(f"{time.monotonic() - self._started:7.0f} s  {line}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench marks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--size", type=int, default=300, help="recordings of each kind (%(default)s)")
    parser.add_argument("--wrong-keys", type=int, default=1000, help="for each real recording (%(default)s)")
    parser.add_argument("--real", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, metavar="FOLDER", default=Path("benchmark-marks"), help="%(default)s")
    options = parser.parse_args(arguments)
    os.nice(max(0, NICENESS - os.nice(0)))
    stages = Stages(options.work / f"{options.size}-{options.wrong_keys}")
    synthetic, seconds = synthesize(options.size, options.work / "synthetic")
    stages.say(f"{len(synthetic)} synthetic recordings, {sum(map(len, synthetic)) / RATE:.0f} s")
    real = list(real_recordings(options.real, options.size))
    stages.say(f"{len(real)} real recordings, {sum(map(len, real)) / RATE:.0f} s")
    rows = cost_rows(stages, synthetic, seconds)
    for kind, clips in (("synthetic", synthetic), ("real", real)):
        rows += detection_rows(stages, kind, clips)
    rows += false_alarm_rows(stages, real, options.wrong_keys)
    rows.append(quality_row(stages, synthetic[:QUALITY_CLIPS]))
    report("marks", rows, options.json)


def detection_rows(stages: Stages, kind: str, clips: Sequence[Samples]) -> list[Row]:
    """Return for each attack how many marked clips are found, in per cent, and how many payloads are right."""
    generator = random.Random(kind)
    payloads = [generator.randrange(MAX_PAYLOAD) for _ in clips]

    def count(attack: Callable[[Samples], Samples]) -> list[int]:
        detected = right = wrong = 0
        for clip, payload in zip(clips, payloads, strict=True):
            detection = detect_watermark(attack(mark(clip, payload)), RATE, PATTERN)
            detected += detection.found
            right += detection.payload == payload
            wrong += detection.payload not in (None, payload)
        return [detected, right, wrong]

    rows = []
    for name, attack in ATTACKS.items():
        detected, right, wrong = stages.run(f"{kind}, {name}", partial(count, attack))
        share = 100 * detected / len(clips)
        rows.append(Row(f"{kind}, {name}: found", "%", share, "goal", 99.0, share / 99.0))
        rows.append(Row(f"{kind}, {name}: request id read", "%", 100 * right / len(clips), "", 0.0, 0.0))
        rows.append(Row(f"{kind}, {name}: wrong request id", "clips", wrong, "", 0.0, 0.0))
    return rows


def false_alarm_rows(stages: Stages, clips: Sequence[Samples], wrong_keys: int) -> list[Row]:
    """Return how often unmarked speech is taken for marked: by wrong keys, and by the right one in windows of 3 s."""
    differences_of: list[np.ndarray] = []

    def with_keys(first: int) -> list[float]:
        if not differences_of:
            differences_of.extend(band_differences(clip, RATE) for clip in clips)
        keys = range(first, min(first + KEYS_TOGETHER, wrong_keys))
        patterns = (Pattern(f"wrong key {number}".encode()) for number in keys)
        scores = [find_pattern(differences, pattern).score for pattern in patterns for differences in differences_of]
        return [sum(score >= THRESHOLD for score in scores), len(scores), max(scores)]

    def in_windows() -> list[float]:
        starts = ((clip, start) for clip in clips for start in range(0, len(clip) - 3 * RATE, RATE // 4))
        scores = [detect_watermark(clip[start : start + 3 * RATE], RATE, PATTERN).score for clip, start in starts]
        return [sum(score >= THRESHOLD for score in scores), len(scores), max(scores)]

    windows = stages.run("windows of 3 s", in_windows)
    by_keys = [
        stages.run(f"wrong keys from {first}", partial(with_keys, first))
        for first in range(0, wrong_keys, KEYS_TOGETHER)
    ]
    rows = [
        _alarm_row("wrong keys", sum(part[0] for part in by_keys), sum(part[1] for part in by_keys)),
        _alarm_row("windows of 3 s", windows[0], windows[1]),
    ]
    worst = max(part[2] for part in (windows, *by_keys))
    return [*rows, Row("highest score without a mark", "σ", worst, "threshold", THRESHOLD, THRESHOLD / worst)]


def _alarm_row(kind: str, alarms: float, trials: float) -> Row:
    rate = 100 * alarms / trials
    return Row(f"false alarms, {trials:,.0f} {kind}", "%", rate, "goal", 0.1, 0.1 / max(rate, 1e-6))


def cost_rows(stages: Stages, clips: Sequence[Samples], synthesis_seconds: float) -> list[Row]:
    """Return what marking costs: CPU time, and the delay of the first audio."""

    def part_of_synthesis() -> list[float]:
        started = time.process_time()
        for number, clip in enumerate(clips):
            embedder = WatermarkEmbedder(PATTERN, number, RATE)
            for start in range(0, len(clip), RATE // 2):
                embedder.feed(clip[start : start + RATE // 2].tobytes())
        return [100 * (time.process_time() - started) / synthesis_seconds]

    def delays() -> list[float]:
        milliseconds = []
        for number, clip in enumerate(clips):
            chunk = clip[: round(FIRST_CHUNK_SECONDS * RATE)].tobytes()
            started = time.perf_counter()
            marked = WatermarkEmbedder(PATTERN, number, RATE).feed(chunk)
            milliseconds.append(1000 * (time.perf_counter() - started))
            if len(marked) != len(chunk):
                raise ValueError(f"the watermark keeps {len(chunk) - len(marked)} bytes back")
        return [float(np.percentile(milliseconds, part)) for part in (50, 95)]

    (part,) = stages.run("cost", part_of_synthesis)
    median, slow = stages.run("first audio", delays)
    return [
        Row("CPU time of marking, part of nano's synthesis", "%", part, "goal", 3.0, 3.0 / part),
        Row("delay of the first audio, median", "ms", median, "goal", 10.0, 10.0 / median),
        Row("delay of the first audio, 95 %", "ms", slow, "goal", 10.0, 10.0 / slow),
    ]


def quality_row(stages: Stages, clips: Sequence[Samples]) -> Row:
    """Return how much DNSMOS falls by the watermark, with the standard error of its mean."""

    def losses() -> list[float]:
        values = [overall_quality(clip) - overall_quality(mark(clip, number)) for number, clip in enumerate(clips)]
        return [float(np.mean(values)), float(np.std(values) / len(values) ** 0.5)]

    loss, error = stages.run("quality", losses)
    return Row(f"loss of DNSMOS OVRL (± {error:.3f})", "", loss, "goal", 0.05, 0.05 / max(loss, 1e-6))


def overall_quality(samples: Samples) -> float:
    """Return DNSMOS OVRL."""
    from speechmos import dnsmos

    return float(dnsmos.run(samples.astype(np.float32) / 32768, RATE)["ovrl_mos"])


def mark(samples: Samples, payload: int) -> Samples:
    """Mark a clip as a whole."""
    marked: Samples = np.frombuffer(WatermarkEmbedder(PATTERN, payload, RATE).feed(samples.tobytes()), "<i2")
    return marked


if __name__ == "__main__":
    main()
