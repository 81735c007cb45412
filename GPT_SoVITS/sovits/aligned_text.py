"""Which phoneme each frame speaks: what nano's text encoder has in the place of MRTE's free attention.

A small network listens to the tokens, and the best way through the sentence's phonemes, in their order and without
leaving one out, is found by Viterbi's algorithm. Every frame then knows its phoneme for certain, so that a wrong token
costs a little sound and not the word.

Shapes: B batch, T frames of 50 a second, S phonemes, D width of a token's vector.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_LOG_PROB = -8.0
"""The least that a log-probability counts: a phoneme that the listener never met must not bend the whole path."""
DIAGONAL_WEIGHT = 4.0
"""Times the squared distance from an even pace, both in parts of the sentence: decides where nothing is heard."""
KERNEL = 5


class TokenPhonemeClassifier(nn.Module):
    """Token vectors, each doubled, to log-probabilities of the phoneme that is spoken: (B, D, T) -> (B, T, symbols)."""

    def __init__(self, symbols: int, inputs: int, width: int, layers: int = 3) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.leave = nn.Linear(width, symbols)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        h = self.enter(vectors.transpose(1, 2))
        inside = mask.transpose(1, 2)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h = h + F.gelu(block((norm(h) * inside).transpose(1, 2)).transpose(1, 2))
        return self.leave(h).float().log_softmax(dim=-1)


class AlignedText(nn.Module):
    """`mrte` of nano: adds to every frame its phoneme and the style."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.c_pre = nn.Conv1d(channels, inner, 1)
        self.text_pre = nn.Conv1d(channels, inner, 1)
        self.c_post = nn.Conv1d(inner, channels, 1)

    def forward(self, y: Tensor, y_mask: Tensor, text: Tensor, where: Tensor, style: Tensor) -> Tensor:
        """y (B, H, T), text (B, H, S), where (B, T), style (B, I, 1)."""
        spoken = self.text_pre(text).gather(2, where[:, None].expand(-1, self.text_pre.out_channels, -1))
        return self.c_post((spoken + self.c_pre(y * y_mask) + style) * y_mask)


def align_phonemes(
    heard: Tensor, text: Tensor, lengths: Tensor, text_lengths: Tensor, *, begin: int = 0, whole: bool = True
) -> Tensor:
    """The phoneme of each frame, (B, T) indices into a row's text that never fall and never skip.

    heard (B, T, symbols), text (B, S) ids. `begin` is the phoneme that the first frame speaks. `whole` says that the
    frames end where the text does; else a path may end anywhere, as the beginning of a sentence does.
    """
    rows, frames, _ = heard.shape
    size = text.shape[1]
    emit = heard.clamp_min(MIN_LOG_PROB).gather(2, text[:, None].expand(-1, frames, -1)).cpu()  # (B, T, S)
    lengths, text_lengths = lengths.cpu(), text_lengths.cpu()
    phones, times = torch.arange(size), torch.arange(frames)
    if whole:
        steps = (text_lengths - 1 - begin) / (lengths - 1).clamp_min(1)  # phonemes a frame, at an even pace
        early = (begin + times * steps[:, None])[:, :, None] - phones
        emit = emit - DIAGONAL_WEIGHT * (early / text_lengths[:, None, None]).square()
    emit = emit.masked_fill(phones >= text_lengths[:, None, None], -torch.inf)
    total = torch.full((rows, size), -torch.inf)
    total[:, begin] = emit[:, 0, begin]
    came = torch.zeros(frames, rows, size, dtype=torch.bool)
    for t in range(1, frames):
        before = F.pad(total[:, :-1], (1, 0), value=-torch.inf)
        going = (t < lengths)[:, None]
        came[t] = (before > total) & going
        total = torch.where(going, torch.maximum(before, total) + emit[:, t], total)
    state = text_lengths - 1 if whole else total.argmax(dim=1)
    path = torch.zeros(rows, frames, dtype=torch.long)
    row = torch.arange(rows)
    for t in range(frames - 1, -1, -1):
        path[:, t] = state
        state = state - came[t][row, state].long()
    crowded = whole & (lengths < text_lengths - begin)
    even = begin + times * (text_lengths - begin)[:, None] // lengths[:, None]
    even = even.minimum(text_lengths[:, None] - 1)
    return torch.where(crowded[:, None], even, path).to(heard.device)
