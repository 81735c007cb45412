"""Listens by the numbers to what the acoustic model makes of clips that no training saw."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path

import numpy as np
import torch

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.evaluation.evaluator import Evaluator
from GPT_SoVITS.sovits.model import SoVITS
from scripts.train_base.acoustic import HOP, Set, style_spectrogram
from scripts.train_base.clips import Clip

logger = logging.getLogger(__name__)

STYLE_CLIPS = 4


@torch.inference_mode()
def speak_again(model: SoVITS, data: Set, clip: Clip, *, own_pitch: bool = False) -> np.ndarray:
    """(N,) float32: a clip from its tokens and phonemes, in the style of other clips of its speaker."""
    model.eval()
    others = [other for other in data.by_speaker[clip.speaker] if other is not clip]
    chosen = random.Random(1).sample(others, min(STYLE_CLIPS, len(others)))
    spectra = [style_spectrogram(torch.from_numpy(c.wave.astype(np.float32) / 32768)[None]) for c in chosen]
    ge = model.style(spectra)
    codes = torch.from_numpy(data.codes[clip.name].astype(np.int64))[None, None]
    text = torch.from_numpy(clip.phones.astype(np.int64))[None]
    prior = model.enc_p(
        model.token_vectors(codes), torch.tensor([clip.frames]), text, torch.tensor([text.shape[1]]), ge
    )
    f0 = torch.from_numpy(clip.f0.astype(np.float32))[None] if own_pitch else None
    return model.dec(prior.mean, ge, f0=f0)[0, 0].clamp(-1, 1).numpy()


def listen(
    model: SoVITS, data: Set, texts: Path, reference: Path, models: Path, out: Path, *, count: int
) -> dict[str, float]:
    """Mean WER, similarity and DNSMOS of `count` clips of 2 s and more; the WAV files stay in `out`."""
    texts_by_name = {Path(line["file"]).stem: line["text"] for line in map(json.loads, texts.read_text().splitlines())}
    clips = [clip for clip in data.clips if clip.name in texts_by_name and clip.frames >= 100]
    chosen = random.Random(2).sample(clips, min(count, len(clips)))
    evaluator = Evaluator(models, reference, threads=1)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in chosen:
        file = out / f"{clip.name}.wav"
        write_wav(file, speak_again(model, data, clip), HOP * 50)
        rows.append(evaluator.evaluate_file(file, texts_by_name[clip.name], "en"))
    means = {
        name: float(np.nanmean([min(getattr(row, name), 1.0) if name == "wer" else getattr(row, name) for row in rows]))
        for name in ("wer", "similarity", "dnsmos", "dnsmos_signal")
    }
    logger.info("%d clips: %s", len(rows), " ".join(f"{name} {value:.3f}" for name, value in means.items()))
    return means
