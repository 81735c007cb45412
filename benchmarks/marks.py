"""How well the watermark is found after what happens to audio, how often where there is none, and what it costs.

Synthetic speech comes from nano with the bundled voice, real speech from `--real FOLDER` of audio files, by default the
prompts of Debian's `asterisk-core-sounds-en-g722`, which are fetched. Run by `scripts/bench marks`.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from benchmarks.report import Row, report
from core.marks.detect import THRESHOLD, band_differences, detect_watermark, find_pattern
from core.marks.embed import WatermarkEmbedder
from core.marks.pattern import MAX_PAYLOAD, Pattern

Samples = NDArray[np.int16]

RATE: Final = 16_000
REPOSITORY: Final = Path(__file__).resolve().parent.parent
REAL_PACKAGE: Final = "asterisk-core-sounds-en-g722"
SHORTEST_SECONDS: Final = 6.0
"""Shorter real recordings are joined until they are that long."""
PATTERN: Final = Pattern(b"the key of this benchmark")


def through_codec(samples: Samples, container: str, codec: str, rate: int, bit_rate: int) -> Samples:
    """Compress and decompress."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            fifo.write(resampled)
        size = stream.codec_context.frame_size or 960
        while (piece := fifo.read(size, partial=True)) is not None:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as source:
        to_samples = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [part for frame in source.decode(audio=0) for part in to_samples.resample(frame)]
        frames += to_samples.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)


def through_telephone(samples: Samples) -> Samples:
    """Resample to 8 kHz and back."""
    narrow = soxr.resample(samples, RATE, 8_000)
    resampled: Samples = soxr.resample(narrow, 8_000, RATE)
    return resampled


def with_noise(samples: Samples) -> Samples:
    """Add white noise, 20 dB below the speech."""
    clean = samples.astype(np.float32)
    level = float(np.sqrt(np.mean(clean**2))) / 10
    noise = np.random.default_rng(len(samples)).normal(0, level, len(clean))
    return np.clip(clean + noise, -32768, 32767).astype(np.int16)


def cropped(samples: Samples) -> Samples:
    """Keep three seconds from the middle, at an odd place."""
    start = (len(samples) - 3 * RATE) // 2 + 137
    return samples[start : start + 3 * RATE]


ATTACKS: Final[dict[str, Callable[[Samples], Samples]]] = {
    "as delivered": lambda samples: samples,
    "mp3, 64 kbit/s": lambda samples: through_codec(samples, "mp3", "libmp3lame", RATE, 64_000),
    "opus, 24 kbit/s": lambda samples: through_codec(samples, "ogg", "libopus", 48_000, 24_000),
    "8 kHz and back": through_telephone,
    "noise at 20 dB": with_noise,
    "3 s of it": cropped,
    "12 dB quieter": lambda samples: np.rint(samples * 10 ** (-12 / 20)).astype(np.int16),
}


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench marks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--count", type=int, default=300, help="recordings of each kind")
    parser.add_argument("--wrong-keys", type=int, default=1000)
    parser.add_argument("--real", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    synthetic, seconds = synthesize(options.count)
    real = list(real_recordings(options.real, options.count))
    rows = [row for kind, clips in (("synthetic", synthetic), ("real", real)) for row in detection_rows(kind, clips)]
    rows += false_alarm_rows(real, options.wrong_keys)
    rows += cost_rows(synthetic, seconds)
    report("marks", rows, options.json)


def detection_rows(kind: str, clips: Sequence[Samples]) -> list[Row]:
    """Return for each attack how many marked clips are found, in per cent, and how many payloads are right."""
    generator = random.Random(kind)
    payloads = [generator.randrange(MAX_PAYLOAD) for _ in clips]
    marked = [mark(clip, payload) for clip, payload in zip(clips, payloads, strict=True)]
    rows = []
    for name, attack in ATTACKS.items():
        detections = [detect_watermark(attack(samples), RATE, PATTERN) for samples in marked]
        share = 100 * sum(detection.found for detection in detections) / len(detections)
        right = 100 * sum(d.payload == payload for d, payload in zip(detections, payloads, strict=True)) / len(clips)
        wrong = sum(d.payload not in (None, payload) for d, payload in zip(detections, payloads, strict=True))
        rows.append(Row(f"{kind}, {name}: found", "%", share, "goal", 99.0, share / 99.0))
        rows.append(Row(f"{kind}, {name}: request id read", "%", right, "", 0.0, 0.0))
        rows.append(Row(f"{kind}, {name}: wrong request id", "clips", wrong, "", 0.0, 0.0))
    return rows


def false_alarm_rows(clips: Sequence[Samples], wrong_keys: int) -> list[Row]:
    """Return how often unmarked speech is taken for marked: by wrong keys, and by the right one in windows of 3 s."""
    alarms, trials = 0, 0
    worst = -np.inf
    patterns = [Pattern(f"wrong key {number}".encode()) for number in range(wrong_keys)]
    for clip in clips:
        differences = band_differences(clip, RATE)
        detections = [find_pattern(differences, pattern) for pattern in patterns]
        worst = max(worst, *(detection.score for detection in detections))
        alarms += sum(detection.found for detection in detections)
        trials += len(detections)
    rows = [_alarm_row("wrong keys", alarms, trials)]
    windows = [
        detect_watermark(clip[start : start + 3 * RATE], RATE, PATTERN)
        for clip in clips
        for start in range(0, len(clip) - 3 * RATE, RATE // 4)
    ]
    worst = max(worst, *(window.score for window in windows))
    rows.append(_alarm_row("windows of 3 s", sum(window.found for window in windows), len(windows)))
    rows.append(Row("highest score without a mark", "σ", worst, "threshold", THRESHOLD, THRESHOLD / worst))
    return rows


def _alarm_row(kind: str, alarms: int, trials: int) -> Row:
    rate = 100 * alarms / trials
    return Row(f"false alarms, {trials:,} {kind}", "%", rate, "goal", 0.1, 0.1 / max(rate, 1e-6))


def cost_rows(clips: Sequence[Samples], synthesis_seconds: float) -> list[Row]:
    """Return the time that marking takes, as part of the synthesis, and what it costs of quality."""
    pieces = [[clip[start : start + RATE // 2].tobytes() for start in range(0, len(clip), RATE // 2)] for clip in clips]
    started = time.perf_counter()
    for number, chunks in enumerate(pieces):
        embedder = WatermarkEmbedder(PATTERN, number, RATE)
        for chunk in chunks:
            embedder.feed(chunk)
    part = 100 * (time.perf_counter() - started) / synthesis_seconds
    loss = float(np.mean([overall_quality(clip) - overall_quality(mark(clip, 1)) for clip in clips[:60]]))
    return [
        Row("time of marking, part of nano's synthesis", "%", part, "goal", 3.0, 3.0 / part),
        Row("loss of DNSMOS OVRL", "", loss, "goal", 0.05, 0.05 / max(loss, 1e-6)),
    ]


def overall_quality(samples: Samples) -> float:
    """Return DNSMOS OVRL."""
    from speechmos import dnsmos

    return float(dnsmos.run(samples.astype(np.float32) / 32768, RATE)["ovrl_mos"])


def mark(samples: Samples, payload: int) -> Samples:
    """Mark a clip as a whole."""
    marked: Samples = np.frombuffer(WatermarkEmbedder(PATTERN, payload, RATE).feed(samples.tobytes()), "<i2")
    return marked


def synthesize(count: int) -> tuple[list[Samples], float]:
    """Speak sentences with nano, two in each clip, and return the clips and the seconds that took."""
    import torch

    from GPT_SoVITS.pipeline import Pipeline

    torch.set_num_threads(1)
    base = REPOSITORY / "GPT_SoVITS" / "base"
    pipeline = Pipeline.load(base / "gpt.safetensors", base / "sovits.safetensors")
    prompt = pipeline.prepare_prompt(REPOSITORY / "prompts" / "allison" / "prompt.wav", "", "en")
    sentences = (REPOSITORY / "GPT_SoVITS" / "evaluation" / "sentences" / "en.txt").read_text().splitlines()
    generator = random.Random(1)
    texts = [" ".join(generator.sample([s for s in sentences if s.strip()], 2)) for _ in range(count)]
    started = time.perf_counter()
    speech = [pipeline.speak(text, "en", prompt, seed=seed) for seed, text in enumerate(texts)]
    seconds = time.perf_counter() - started
    return [(item.samples * 32767).astype(np.int16) for item in speech], seconds


def real_recordings(folder: Path | None, count: int) -> Iterator[Samples]:
    """Yield recordings of people, short ones joined."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = fetch_prompts(Path(temporary))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 2000)
        recordings = [samples for path in files if (samples := read(path)) is not None]
    generator = random.Random(2)
    for number in range(count):
        parts = [recordings[number % len(recordings)]]
        while sum(map(len, parts)) < SHORTEST_SECONDS * RATE:
            parts.append(generator.choice(recordings))
        yield np.concatenate(parts)


def fetch_prompts(folder: Path) -> Path:
    """Fetch and unpack the Debian package."""
    folder.chmod(0o755)  # apt fetches as a user of its own
    subprocess.run(["apt-get", "download", "-qq", REAL_PACKAGE], cwd=folder, check=True)
    package = next(folder.glob("*.deb"))
    subprocess.run(["dpkg", "-x", package, folder / "files"], check=True)
    return folder / "files"


def read(path: Path) -> Samples | None:
    """Decode an audio file at 16 kHz; None for what is none."""
    try:
        with av.open(str(path), format="g722" if path.suffix == ".g722" else None) as source:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, IndexError):
        return None
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16) if frames else None


if __name__ == "__main__":
    main()
