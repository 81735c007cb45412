"""What the trainings read of every clip, in one file: sound, content features, pitch and phonemes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder
from GPT_SoVITS.text import phonemize

logger = logging.getLogger(__name__)

RATE, HOP = 16_000, 320


def extract(folder: Path, work: Path) -> None:
    """`<work>/features/<folder>/<clip>.npz` of every line of `<folder>/texts.jsonl` whose WAV file is there."""
    out = work / "features" / folder.name
    out.mkdir(parents=True, exist_ok=True)
    encoder = ContentEncoder(model_folder(work / "models"), threads=1)
    count = 0
    for line in (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        source = Path(clip["file"])
        target = out / f"{source.stem}.npz"
        if target.exists() or not source.exists():
            continue
        try:
            phones = phonemize(clip["text"], clip.get("language", "en"), version="nano").ids
        except ModelError as error:
            logger.warning("%s is left out: %s", source.name, error.message)
            continue
        samples, rate = read_mono(source)
        samples = whole_tokens(resample(samples, rate, RATE))
        write_features(target, samples, encoder, f0=pitch(samples, RATE, HOP), phones=np.array(phones, np.int16))
        count += 1
        if count % 200 == 0:
            logger.info("%d clips of %s.", count, folder.name)


def whole_tokens(samples: np.ndarray) -> np.ndarray:
    """Return samples without the rest that is shorter than a token."""
    return samples[: len(samples) // (2 * HOP) * 2 * HOP]


def write_features(
    target: Path, samples: np.ndarray, encoder: ContentEncoder, *, f0: np.ndarray, phones: np.ndarray
) -> None:
    """Write the file of a clip, (T * 320,) at 16 kHz with a pitch (T,) in Hz, under its name when it is whole."""
    making = target.with_suffix(".making.npz")
    np.savez(
        making,
        wave=np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16),
        content=encoder.encode(samples).astype(np.float16),
        f0=f0.astype(np.float16),
        phones=phones,
    )
    making.rename(target)
