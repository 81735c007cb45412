"""Monotonic alignment of frames and phonemes, which nano's text encoder has in the place of MRTE's free attention.

A small network classifies the phoneme of each token, and Viterbi's algorithm finds the likeliest path through the
sentence's phonemes, in their order and without skipping one. Every frame then has one phoneme, so that a wrong token
costs a little audio and not the word.

Shapes: B batch, T frames of 50 a second, S phonemes, D width of a token's vector.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_LOG_PROB = -8.0
"""Smallest log-probability that counts: a phoneme that the classifier never saw must not bend the whole path."""
DIAGONAL_WEIGHT = 4.0
"""Of the squared distance from an even pace, in parts of the sentence; decides where the classifier is unsure."""
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
            beginning does.

    Returns:
        (B, T) indices into a row's text, which never fall and never skip one. Rows with fewer frames than phonemes are
        spread evenly.
    """
    rows, frames, _ = log_probs.shape
    size = text.shape[1]
    emission = log_probs.clamp_min(MIN_LOG_PROB).gather(2, text[:, None].expand(-1, frames, -1)).cpu()  # (B, T, S)
    lengths, text_lengths = lengths.cpu(), text_lengths.cpu()
    phonemes, times = torch.arange(size), torch.arange(frames)
    if whole:
        pace = (text_lengths - 1 - begin) / (lengths - 1).clamp_min(1)  # phonemes per frame
        distance = (begin + times * pace[:, None])[:, :, None] - phonemes
        emission = emission - DIAGONAL_WEIGHT * (distance / text_lengths[:, None, None]).square()
    emission = emission.masked_fill(phonemes >= text_lengths[:, None, None], -torch.inf)
    total = torch.full((rows, size), -torch.inf)
    total[:, begin] = emission[:, 0, begin]
    moved = torch.zeros(frames, rows, size, dtype=torch.bool)
    for t in range(1, frames):
        previous = F.pad(total[:, :-1], (1, 0), value=-torch.inf)
        inside = (t < lengths)[:, None]
        moved[t] = (previous > total) & inside
        total = torch.where(inside, torch.maximum(previous, total) + emission[:, t], total)
    state = text_lengths - 1 if whole else total.argmax(dim=1)
    path = torch.zeros(rows, frames, dtype=torch.long)
    row = torch.arange(rows)
    for t in range(frames - 1, -1, -1):
        path[:, t] = state
        state = state - moved[t][row, state].long()
    crowded = whole & (lengths < text_lengths - begin)
    even = begin + times * (text_lengths - begin)[:, None] // lengths[:, None]
    even = even.minimum(text_lengths[:, None] - 1)
    return torch.where(crowded[:, None], even, path).to(log_probs.device)
