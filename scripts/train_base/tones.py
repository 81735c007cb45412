"""Which tone a syllable has, by its pitch alone: what the teacher's speech teaches is asked of the base's.

A classifier of pitch contours learns from the teacher's clips, whose phonemes are aligned. Its errors on the teacher's
own held-back sentences are the floor of what it says about the base's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.text.symbols import symbols
from scripts.train_base.align import Listener, best_path
from scripts.train_base.clips import Clip

POINTS: Final = 10
"""Of a contour, equally spaced over the voiced frames of a syllable."""
FEWEST_FRAMES: Final = 4
"""Voiced frames of a syllable below which nothing is said of its tone."""
TONES: Final = 5
STEPS: Final = 1500


class ToneClassifier(nn.Module):
    """Contours (N, 3 * (POINTS + 1)) of a syllable and its neighbours to scores of tones (N, TONES)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * (POINTS + 1), width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, TONES)
        )

    def forward(self, contours: Tensor) -> Tensor:
        scores: Tensor = self.layers(contours)
        return scores


def load_listener(path: Path) -> Listener:
    """Open what `align` wrote beside its alignments."""
    listener = Listener(732)
    listener.load_state_dict(torch.load(path, weights_only=True))
    return listener.eval()


@torch.inference_mode()
def syllables(listener: Listener, content: np.ndarray, f0: np.ndarray, phones: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return contours (N, 3 * (POINTS + 1)) and tones (N,), from 0, of a clip's syllables that are voiced."""
    names = symbols("nano")
    scores = listener(torch.from_numpy(content.astype(np.float32))[None])[0].numpy()
    state = best_path(scores, phones.astype(int) + 1)
    middles = np.array([np.flatnonzero(state == 2 * i + 1).mean() for i in range(len(phones))])
    edges = np.r_[0, (middles[:-1] + middles[1:]) / 2, len(f0)].astype(int)
    voiced = f0 > 0
    level = np.median(np.log(f0[voiced].astype(np.float32))) if voiced.any() else 0.0
    spans = [
        (edges[i], edges[i + 1], int(names[phone][-1]) - 1)
        for i, phone in enumerate(phones.tolist())
        if names[phone][-1].isdigit() and names[phone][0].islower()
    ]
    contours = [_contour(f0[start:end].astype(np.float32), level) for start, end, _ in spans]
    rows, tones = [], []
    for i, (start, end, tone) in enumerate(spans):
        if (f0[start:end] > 0).sum() < FEWEST_FRAMES or not 0 <= tone < TONES:
            continue
        before = contours[i - 1] if i else np.zeros(POINTS + 1, np.float32)
        after = contours[i + 1] if i + 1 < len(contours) else np.zeros(POINTS + 1, np.float32)
        rows.append(np.concatenate([before, contours[i], after]))
        tones.append(tone)
    return torch.from_numpy(np.array(rows, np.float32).reshape(-1, 3 * (POINTS + 1))), torch.tensor(tones).long()


def train_classifier(listener: Listener, clips: Sequence[Clip], seed: int = 1) -> tuple[ToneClassifier, float]:
    """Train on Mandarin clips of the teacher; one in twenty only measures. Also returns its error share on those."""
    torch.manual_seed(seed)
    parts = [syllables(listener, clip.content, clip.f0, clip.phones) for clip in clips]
    held, rest = parts[::20], [part for number, part in enumerate(parts) if number % 20]
    contours, tones = torch.cat([part[0] for part in rest]), torch.cat([part[1] for part in rest])
    model = ToneClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(tones), (512,))
        loss = F.cross_entropy(model(contours[chosen]), tones[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model, wrong_share(model, held)


@torch.inference_mode()
def wrong_share(model: ToneClassifier, parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the share of the syllables whose contour says another tone than the text."""
    contours, tones = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    return float((model(contours).argmax(dim=1) != tones).float().mean())


def _contour(f0: np.ndarray, level: float) -> np.ndarray:
    """(POINTS + 1,): the voiced frames' logarithms beside the clip's level, and the length; zeros where unvoiced."""
    voiced = f0[f0 > 0]
    if len(voiced) < FEWEST_FRAMES:
        return np.zeros(POINTS + 1, np.float32)
    places = np.linspace(0, len(voiced) - 1, POINTS)
    contour = np.interp(places, np.arange(len(voiced)), np.log(voiced) - level)
    return np.append(contour, len(f0) / 25).astype(np.float32)
