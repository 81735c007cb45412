"""Monotonic alignment of frames and phonemes, which nano's text encoder has in the place of MRTE's free attention.

A small network classifies the phoneme of each token, and Viterbi's algorithm finds the likeliest path through the
sentence's phonemes, in their order and without skipping one. Every frame then has one phoneme, so that a wrong token
costs a little audio and not the word.

Shapes: B batch, T frames of 50 a second, S phonemes, D width of a token's vector.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_LOG_PROB = -8.0
"""Smallest log-probability that counts: a phoneme that the classifier never saw must not bend the whole path."""
DIAGONAL_WEIGHT = 4.0
"""Of the squared distance from an even pace, in parts of the sentence; decides where the classifier is unsure."""
TYPICAL_PACE = 0.24
"""Phonemes per frame of a sentence whose end is not known yet."""
FRAMES_OF_TOKEN = 2
KERNEL = 5


class TokenPhonemeClassifier(nn.Module):
    """Classifies the phoneme that each frame of token vectors speaks."""

    def __init__(self, symbols: int, inputs: int, width: int, layers: int = 3) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.leave = nn.Linear(width, symbols)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return log-probabilities (B, T, symbols) from token vectors (B, D, T), each of which is repeated twice."""
        h = self.enter(vectors.transpose(1, 2))
        inside = mask.transpose(1, 2)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h = h + F.gelu(block((norm(h) * inside).transpose(1, 2)).transpose(1, 2))
        return self.leave(h).float().log_softmax(dim=-1)


class AlignedText(nn.Module):
    """The `mrte` of nano: adds to every frame its phoneme and the style."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.c_pre = nn.Conv1d(channels, inner, 1)
        self.text_pre = nn.Conv1d(channels, inner, 1)
        self.c_post = nn.Conv1d(inner, channels, 1)

    def forward(self, y: Tensor, y_mask: Tensor, text: Tensor, alignment: Tensor, style: Tensor) -> Tensor:
        """Combine frames (B, H, T), text (B, H, S), alignment (B, T) and style (B, I, 1) to (B, H, T)."""
        spoken = self.text_pre(text).gather(2, alignment[:, None].expand(-1, self.text_pre.out_channels, -1))
        return self.c_post((spoken + self.c_pre(y * y_mask) + style) * y_mask)


def align_phonemes(
    log_probs: Tensor,
    text: Tensor,
    lengths: Tensor,
    text_lengths: Tensor,
    *,
    begin: int = 0,
    whole: bool = True,
) -> Tensor:
    """Find the phoneme that each frame speaks.

    Args:
        log_probs: (B, T, symbols), of the classifier.
        text: (B, S) phoneme ids.
        lengths: (B,) frames of each row.
        text_lengths: (B,) phonemes of each row.
        begin: index of the phoneme that the first frame speaks.
        whole: whether the frames end where the text does; otherwise a path may end anywhere, as that of a sentence's
            beginning does, and every phoneme lasts as long as a token or longer.

    Returns:
        (B, T) indices into a row's text, which never fall and never skip one. Rows with fewer frames than phonemes are
        spread evenly.
    """
    emission = log_probs.gather(2, text[:, None].expand(-1, log_probs.shape[1], -1))  # (B, T, S)
    return monotonic_path(emission, lengths, text_lengths, begin=begin, whole=whole)


def monotonic_path(
    emission: Tensor, lengths: Tensor, text_lengths: Tensor, *, begin: int = 0, whole: bool = True
) -> Tensor:
    """Find the likeliest path through phonemes, from the log-probability (B, T, S) of each of them in each frame.

    The other arguments and the result are those of `align_phonemes`.
    """
    _, frames, size = emission.shape
    device = emission.device
    emission = emission.clamp_min(MIN_LOG_PROB).cpu()
    lengths, text_lengths = lengths.cpu(), text_lengths.cpu()
    phonemes, times = torch.arange(size), torch.arange(frames)
    even_pace = (text_lengths - 1 - begin) / (lengths - 1).clamp_min(1)  # phonemes per frame
    pace = even_pace if whole else torch.full_like(even_pace, TYPICAL_PACE)
    distance = (begin + times * pace[:, None])[:, :, None] - phonemes
    emission = emission - DIAGONAL_WEIGHT * (distance / text_lengths[:, None, None]).square()
    emission = emission.masked_fill(phonemes >= text_lengths[:, None, None], -torch.inf)
    if not whole:
        return torch.from_numpy(np.stack([_best_beginning(row, begin) for row in emission.numpy()])).to(device)
    path = torch.from_numpy(_best_path(emission.numpy(), lengths.numpy(), text_lengths.numpy(), begin))
    crowded = lengths < text_lengths - begin
    even = begin + times * (text_lengths - begin)[:, None] // lengths[:, None]
    even = even.minimum(text_lengths[:, None] - 1)
    return torch.where(crowded[:, None], even, path).to(device)


def _best_beginning(emission: np.ndarray, begin: int) -> np.ndarray:
    """Return the path (T,) of the largest sum of emissions (T, S) that ends anywhere.

    Every phoneme but the first lasts a token or longer, as generation has it. A path that may hurry runs through a
    word in a few frames, to wait for a later phoneme that resembles the silence before that word.
    """
    frames, size = emission.shape
    # Of the paths that end at each phoneme, in each of the last frames.
    totals = np.full((FRAMES_OF_TOKEN, size), -np.inf, np.float32)
    totals[-1, begin] = emission[0, begin]
    moved = np.zeros((frames, size), bool)
    for t in range(1, frames):
        entered = emission[max(0, t + 1 - FRAMES_OF_TOKEN) : t + 1].sum(axis=0)
        came = np.append(-np.inf, totals[0, :-1]) + entered
        stayed = totals[-1] + emission[t]
        moved[t] = came > stayed
        totals = np.concatenate([totals[1:], np.maximum(came, stayed)[None]])
    path = np.empty(frames, np.int64)
    state, t = int(totals[-1].argmax()), frames - 1
    while t >= 0:
        lasts = FRAMES_OF_TOKEN if moved[t, state] else 1
        path[t + 1 - lasts : t + 1] = state
        state -= int(moved[t, state])
        t -= lasts
    return path


def _best_path(emission: np.ndarray, lengths: np.ndarray, text_lengths: np.ndarray, begin: int) -> np.ndarray:
    """Return the path (B, T) of the largest sum of emissions (B, T, S), by Viterbi's algorithm.

    In NumPy: an operation on so few numbers takes PyTorch ten times as long.
    """
    rows, frames, size = emission.shape
    totals = np.full((rows, size + 1), -np.inf, np.float32)
    stayed, came = totals[:, 1:], totals[:, :-1]  # the same phoneme before, and the one before it
    stayed[:, begin] = emission[:, 0, begin]
    moved = np.zeros((frames, rows, size), bool)
    shortest = int(lengths.min())
    for t in range(1, frames):
        np.greater(came, stayed, out=moved[t])
        totals_now = np.maximum(came, stayed) + emission[:, t]
        if t >= shortest:
            ended = (t >= lengths)[:, None]
            moved[t] &= ~ended
            totals_now = np.where(ended, stayed, totals_now)
        stayed[:] = totals_now
    path = np.zeros((rows, frames), np.int64)
    for row in range(rows):
        state = int(text_lengths[row]) - 1
        steps = moved[:, row].tolist()
        for t in range(frames - 1, -1, -1):
            path[row, t] = state
            state -= steps[t][state]
    return path
