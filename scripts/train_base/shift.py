"""The teacher's clips once more at another speed, with other pitch and formants: speakers who cost no speaking."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Final

import numpy as np

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder
from scripts.train_base.features import HOP, RATE

logger = logging.getLogger(__name__)

FOLDER: Final = "shifted"
FACTORS: Final = (0.85, 0.92, 1.09, 1.18)
"""Of the speed; a speaker has two of them, and each clip one."""


def shift(folder: Path, work: Path, *, part: int = 0, parts: int = 1) -> None:
    """Write `<work>/features/shifted/<clip>` for each clip whose features are there; goes on where it was stopped.

    The pitch is that of the clip, as much higher as it is faster. One of `parts` processes does its `part`.
    """
    out, features = work / "features" / FOLDER, work / "features" / folder.name
    out.mkdir(parents=True, exist_ok=True)
    encoder = ContentEncoder(model_folder(work / "models"), threads=1)
    count = 0
    for line in (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()[part::parts]:
        source = Path(json.loads(line)["file"])
        name, _, speaker = source.stem.rpartition("-")
        factor = random.Random(source.stem).choice(random.Random(speaker).sample(FACTORS, 2))
        target, features_file = out / f"{name}-{speaker}~{factor}.npz", features / f"{source.stem}.npz"
        if target.exists() or not features_file.exists():
            continue
        samples, rate = read_mono(source)
        samples = resample(samples, round(rate * factor), RATE)
        samples = samples[: len(samples) // (2 * HOP) * 2 * HOP]
        with np.load(features_file) as file:
            f0, phones = file["f0"].astype(np.float32), file["phones"]
        before = ((np.arange(len(samples) // HOP) + 0.5) * factor).astype(int)
        making = target.with_suffix(".making.npz")
        np.savez(
            making,
            wave=np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16),
            content=encoder.encode(samples).astype(np.float16),
            f0=(f0[np.minimum(before, len(f0) - 1)] * factor).astype(np.float16),
            phones=phones,
        )
        making.rename(target)
        count += 1
        if count % 200 == 0:
            logger.info("%d clips shifted.", count)
