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
from scripts.train_base.features import HOP, RATE, whole_tokens, write_features

logger = logging.getLogger(__name__)

FOLDER: Final = "shifted"
FACTORS: Final = (0.85, 0.92, 1.09, 1.18)
"""Of the speed; a speaker has two of them, and each clip one."""


def shift(folder: Path, work: Path) -> None:
    """Write `<work>/features/shifted/<clip>` for each clip whose features are there; goes on where it was stopped.

    The pitch is that of the clip, as much higher as it is faster.
    """
    out, features = work / "features" / FOLDER, work / "features" / folder.name
    out.mkdir(parents=True, exist_ok=True)
    encoder = ContentEncoder(model_folder(work / "models"), threads=1)
    count = 0
    for line in (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines():
        source = Path(json.loads(line)["file"])
        name, _, speaker = source.stem.rpartition("-")
        factor = random.Random(source.stem).choice(random.Random(speaker).sample(FACTORS, 2))
        target, features_file = out / f"{name}-{speaker}~{factor}.npz", features / f"{source.stem}.npz"
        if target.exists() or not features_file.exists():
            continue
        samples, rate = read_mono(source)
        samples = whole_tokens(resample(samples, round(rate * factor), RATE))
        with np.load(features_file) as file:
            f0, phones = file["f0"].astype(np.float32), file["phones"]
        before = ((np.arange(len(samples) // HOP) + 0.5) * factor).astype(int)
        shifted = f0[np.minimum(before, len(f0) - 1)] * factor
        write_features(target, samples, encoder, f0=shifted, phones=phones)
        count += 1
        if count % 200 == 0:
            logger.info("%d clips shifted.", count)
