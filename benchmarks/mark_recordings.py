"""Speech for the benchmark of the watermark: nano's, and recordings of people."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from common.files import atomic_path

Samples = NDArray[np.int16]

RATE: Final = 16_000
REPOSITORY: Final = Path(__file__).resolve().parent.parent
REAL_PACKAGES: Final = tuple(f"asterisk-core-sounds-{language}-g722" for language in ("en", "es", "fr", "it", "ru"))
"""Of Debian: five speakers, who say what a telephone exchange says."""
SHORTEST_SECONDS: Final = 6.0
"""Shorter real recordings are joined until they are that long."""


def synthesize(count: int, folder: Path) -> tuple[list[Samples], float]:
    """Speak sentences with nano, two in each clip; return the clips and the seconds that they took.

    Clips that are in the folder already are not spoken again.
    """
    import torch

    from GPT_SoVITS.pipeline import Pipeline

    torch.set_num_threads(1)
    base = REPOSITORY / "GPT_SoVITS" / "base"
    pipeline = Pipeline.load(base / "gpt.safetensors", base / "sovits.safetensors")
    prompt = pipeline.prepare_prompt(REPOSITORY / "prompts" / "allison" / "prompt.wav", "", "en")
    sentences = (REPOSITORY / "GPT_SoVITS" / "evaluation" / "sentences" / "en.txt").read_text().splitlines()
    generator = random.Random(1)
    texts = [" ".join(generator.sample([s for s in sentences if s.strip()], 2)) for _ in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    clips, seconds = [], 0.0
    for seed, text in enumerate(texts):
        file = folder / f"{seed}.npz"
        if not file.exists():
            started = time.process_time()
            speech = pipeline.speak(text, "en", prompt, seed=seed)
            samples = (speech.samples * 32767).astype(np.int16)
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.savez(stream, samples=samples, seconds=time.process_time() - started)
        with np.load(file) as stored:
            clips.append(stored["samples"])
            seconds += float(stored["seconds"])
    return clips, seconds


def real_recordings(folder: Path | None, count: int) -> Iterator[Samples]:
    """Yield recordings of people, short ones joined."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = fetch_prompts(Path(temporary))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 2000)
        generator = random.Random(2)
        generator.shuffle(files)
        recordings = [samples for path in files[: 4 * count] if (samples := read(path)) is not None]
    for number in range(count):
        parts = [recordings[number % len(recordings)]]
        while sum(map(len, parts)) < SHORTEST_SECONDS * RATE:
            parts.append(generator.choice(recordings))
        yield np.concatenate(parts)


def fetch_prompts(folder: Path) -> Path:
    """Fetch and unpack the Debian packages."""
    folder.chmod(0o755)  # apt fetches as a user of its own
    subprocess.run(["apt-get", "download", "-qq", *REAL_PACKAGES], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
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
