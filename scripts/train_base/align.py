"""Which phoneme a token speaks: learnt from the clips by CTC (Graves et al. 2006), then read off the best path."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.train_base.clips import Clip, batches

logger = logging.getLogger(__name__)

BLANK = 0
LOG_EVERY = 50
UNCLEAR_SHARE = 0.02
"""Of the clips: those whose words are the least likely to have been said get no alignment, and are not learnt from."""


class Listener(nn.Module):
    """Content features (B, T, 512) to log-probabilities of phonemes (B, T, phones + 1); 0 is the blank."""

    def __init__(self, phones: int, width: int = 256) -> None:
        super().__init__()
        self.enter = nn.Linear(512, width)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(3))
        self.leave = nn.Linear(width, phones + 1)

    def forward(self, content: Tensor) -> Tensor:
        h = self.enter(content)
        for block in self.blocks:
            h = h + F.gelu(block(F.layer_norm(h, h.shape[2:]).transpose(1, 2)).transpose(1, 2))
        return self.leave(h).log_softmax(dim=-1)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return what `align` wrote, by the clip's name."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def align(clips: list[Clip], out: Path, *, steps: int, seed: int = 1) -> None:
    """Write to `out`, for each clip whose words are clear, (T / 2,): the index of the phoneme that each token speaks.

    The listener's weights stay beside it, for the measure of tones.
    """
    torch.manual_seed(seed)
    model = Listener(732)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step, batch in enumerate(batches(clips, frames=4000, seed=seed, often={}), start=1):
        loss = _loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY == 0:
            logger.info("step %d: %.3f a phoneme", step, loss.item())
        if step == steps:
            break
    torch.save(model.state_dict(), out.with_suffix(".pt"))
    with torch.inference_mode():
        read_clips = {clip.name: _read(model, clip) for clip in clips}
    least = np.quantile([likelihood for _, likelihood in read_clips.values()], UNCLEAR_SHARE)
    clear = {name: pointer for name, (pointer, likelihood) in read_clips.items() if likelihood >= least}
    np.savez(out, allow_pickle=False, **clear)
    logger.info("%d of %d clips are clear: %.2f a phoneme and more.", len(clear), len(clips), least)


def _loss(model: Listener, batch: list[Clip]) -> Tensor:
    content = torch.zeros(len(batch), max(clip.frames for clip in batch), 512)
    for row, clip in zip(content, batch, strict=True):
        row[: clip.frames] = torch.from_numpy(clip.content.astype(np.float32))
    phones = [torch.from_numpy(clip.phones.astype(np.int64)) + 1 for clip in batch]
    return F.ctc_loss(
        model(content).transpose(0, 1),
        torch.cat(phones),
        torch.tensor([clip.frames for clip in batch]),
        torch.tensor([len(sequence) for sequence in phones]),
        zero_infinity=True,
    )


def _read(model: Listener, clip: Clip) -> tuple[np.ndarray, float]:
    """(T / 2,): each phoneme has the tokens that are nearest to the middle of its frames; and the mean logarithm of the
    likelihoods of the phonemes."""
    scores = model(torch.from_numpy(clip.content.astype(np.float32))[None])[0].numpy()
    labels = clip.phones.astype(int) + 1
    state = best_path(scores, labels)
    middles = [np.flatnonzero(state == 2 * i + 1).mean() for i in range(len(clip.phones))]
    edges = (np.array(middles[:-1]) + np.array(middles[1:])) / 2
    best = [scores[state == 2 * i + 1, label].max(initial=-np.inf) for i, label in enumerate(labels)]
    return np.searchsorted(edges, np.arange(0, clip.frames, 2) + 0.5).astype(np.int16), float(np.mean(best))


def best_path(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scores (T, V) of logs, labels (S,) -> (T,) states: 2i + 1 is label i, 2i the blank before it."""
    extended = np.zeros(2 * len(labels) + 1, int)
    extended[1::2] = labels
    skip = np.zeros(len(extended), bool)
    skip[3::2] = labels[1:] != labels[:-1]
    total = np.full(len(extended), -np.inf)
    total[:2] = scores[0, extended[:2]]
    came = np.zeros((len(scores), len(extended)), np.int8)
    for t in range(1, len(scores)):
        moves = np.stack(
            [total, np.r_[-np.inf, total[:-1]], np.where(skip, np.r_[-np.inf, -np.inf, total[:-2]], -np.inf)]
        )
        came[t] = moves.argmax(axis=0)
        total = moves.max(axis=0) + scores[t, extended]
    state = len(extended) - 1 if total[-1] >= total[-2] else len(extended) - 2
    path = np.zeros(len(scores), int)
    for t in range(len(scores) - 1, -1, -1):
        path[t] = state
        state -= int(came[t, state])
    return path
