"""Which tone a syllable has, by its pitch alone: what the teacher's speech teaches is asked of the base's.

A classifier of pitch contours learns from the teacher's clips, whose phonemes are aligned. Since speech bends tones
more than any classifier follows, only those syllables of a sentence count whose tone it tells right when the teacher
says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.text.symbols import symbols
from scripts.train_base.align import Listener, best_path

POINTS: Final = 10
"""Of a contour, equally spaced over the voiced frames of a syllable."""
FEWEST_FRAMES: Final = 4
"""Voiced frames of a syllable below which nothing is said of its tone."""
TONES: Final = "12345"
STEPS: Final = 1500


class Syllables(NamedTuple):
    """The syllables of a clip, in the order of its text."""

    contours: Tensor
    """(N, 3 * (POINTS + 1)) of each and its neighbours."""
    tones: Tensor
    """(N,) from 0, as the text has them."""
    voiced: Tensor
    """(N,) whether the contour says anything."""


class ToneClassifier(nn.Module):
    """Contours (N, 3 * (POINTS + 1)) of a syllable and its neighbours to scores of tones (N, 5)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * (POINTS + 1), width),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(width, len(TONES)),
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
def syllables(listener: Listener, content: np.ndarray, f0: np.ndarray, phones: np.ndarray) -> Syllables:
    """Find the syllables of Mandarin speech: content features (T, 512), pitch (T,) in Hz, phonemes (S,) of its text."""
    names = symbols("nano")
    scores = listener(torch.from_numpy(content.astype(np.float32))[None])[0].numpy()
    state = best_path(scores, phones.astype(int) + 1)
    middles = np.array([np.flatnonzero(state == 2 * i + 1).mean() for i in range(len(phones))])
    # A final begins where its initial is heard and lasts until what follows is: its pitch moves in all of that.
    starts, ends = np.r_[0, middles[:-1]].astype(int), np.r_[middles[1:], len(f0)].astype(int)
    level = np.median(np.log(f0[f0 > 0].astype(np.float32))) if (f0 > 0).any() else 0.0
    finals = [i for i, phone in enumerate(phones.tolist()) if names[phone][-1] in TONES and names[phone][0].islower()]
    contours = [_contour(f0[starts[i] : ends[i]].astype(np.float32), level) for i in finals]
    around = [np.zeros(POINTS + 1, np.float32), *contours, np.zeros(POINTS + 1, np.float32)]
    rows = [np.concatenate(around[i : i + 3]) for i in range(len(finals))]
    return Syllables(
        torch.from_numpy(np.array(rows, np.float32).reshape(-1, 3 * (POINTS + 1))),
        torch.tensor([TONES.index(names[phones[i]][-1]) for i in finals], dtype=torch.long),
        torch.tensor([bool(contour.any()) for contour in contours], dtype=torch.bool),
    )


def train_classifier(clips: Sequence[Syllables], seed: int = 1) -> tuple[ToneClassifier, float]:
    """Train on clips of the teacher; one in twenty only measures. Also returns its error share on those."""
    torch.manual_seed(seed)
    held, rest = clips[::20], [clip for number, clip in enumerate(clips) if number % 20]
    contours = torch.cat([clip.contours[clip.voiced] for clip in rest])
    tones = torch.cat([clip.tones[clip.voiced] for clip in rest])
    model = ToneClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(tones), (512,))
        loss = F.cross_entropy(model(contours[chosen]), tones[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    wrong = torch.cat([~tells_right(model, clip)[clip.voiced] for clip in held])
    return model, float(wrong.float().mean())


@torch.inference_mode()
def tells_right(model: ToneClassifier, clip: Syllables) -> Tensor:
    """(N,): whether the pitch of each syllable says the tone that the text has."""
    return (model(clip.contours).argmax(dim=1) == clip.tones) & clip.voiced


def wrong_share(model: ToneClassifier, spoken: Sequence[Syllables], teacher: Sequence[Syllables]) -> float:
    """Return the share of syllables with another tone, of those whose tone is right in the teacher's same sentences."""
    clear = [tells_right(model, clip) for clip in teacher]
    right = torch.cat([tells_right(model, clip)[mask] for clip, mask in zip(spoken, clear, strict=True)])
    return float((~right).float().mean())


def _contour(f0: np.ndarray, level: float) -> np.ndarray:
    """(POINTS + 1,): the voiced frames' logarithms beside the clip's level, and the length; zeros where unvoiced."""
    voiced = f0[f0 > 0]
    if len(voiced) < FEWEST_FRAMES:
        return np.zeros(POINTS + 1, np.float32)
    places = np.linspace(0, len(voiced) - 1, POINTS)
    contour = np.interp(places, np.arange(len(voiced)), np.log(voiced) - level)
    return np.append(contour, len(f0) / 25).astype(np.float32)
