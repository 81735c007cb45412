"""The clips of `features` in memory, and random batches of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording; T frames of 20 ms, an even number of them."""

    name: str
    speaker: str
    wave: np.ndarray
    """(T * 320,) int16."""
    content: np.ndarray
    """(T, 512) float16."""
    f0: np.ndarray
    """(T,) Hz, 0 where unvoiced."""
    phones: np.ndarray
    """(S,) ids."""

    @property
    def frames(self) -> int:
        return len(self.f0)

    @property
    def language(self) -> str:
        """As the name of the teacher's clips begins; all others are English."""
        return "zh" if self.name.startswith("zh") else "en"


def load_clips(folder: Path, *, seconds: tuple[float, float] = (1.0, 12.0)) -> list[Clip]:
    """Every clip of a features folder whose length lies in the range, by name."""
    clips = []
    for path in sorted(folder.glob("*.npz")):
        if path.stem.endswith(".making"):
            continue
        with np.load(path) as file:
            frames = len(file["f0"])
            if seconds[0] * 50 <= frames <= seconds[1] * 50:
                clips.append(
                    Clip(
                        path.stem,
                        path.stem.rpartition("-")[2],
                        wave=file["wave"],
                        content=file["content"],
                        f0=file["f0"],
                        phones=file["phones"],
                    )
                )
    return clips


def batches(clips: list[Clip], *, frames: int, seed: int, often: dict[str, float]) -> Iterator[list[Clip]]:
    """Endless batches of about `frames` frames, clips of like length together; `often` says how many times an epoch
    holds the clips of a speaker (1 unless named)."""
    rng = random.Random(seed)
    while True:
        pool = []
        for clip in clips:
            times = often.get(clip.speaker, 1.0)
            pool += [clip] * (int(times) + (rng.random() < times % 1))
        pool.sort(key=lambda clip: clip.frames + rng.uniform(-20, 20))
        groups: list[list[Clip]] = [[]]
        for clip in pool:
            if groups[-1] and (len(groups[-1]) + 1) * clip.frames > frames:
                groups.append([])
            groups[-1].append(clip)
        rng.shuffle(groups)
        yield from groups
