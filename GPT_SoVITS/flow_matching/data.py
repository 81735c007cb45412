"""Training items of v3 and v4 and their batches (specification s2-v3v4 §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.features.mel import log_mel, normalize, resample
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch
from GPT_SoVITS.sovits.data import SoVITSItemLoader, load_usable
from GPT_SoVITS.sovits.training_set import TrainingSetEntry, select_entries

EVEN = 8
"""Encoder frames, a multiple of which v3 makes of a batch before it counts mel frames."""


@dataclass(frozen=True, slots=True)
class FlowMatchingItem:
    """One recording as v3 and v4 read it; T encoder frames of 20 ms."""

    spec: Tensor
    """(R, T), the bins that the style encoder reads."""
    mel: Tensor
    """(M, F) normalized, at most as long as the features of T frames."""
    text: Tensor
    """(S,) phoneme ids."""
    codes: Tensor | None
    """(ceil(T / 2),) semantic tokens."""
    ssl: Tensor | None
    """(D, T) content features."""

    @property
    def bytes(self) -> int:
        tensors = (self.spec, self.mel, self.text, self.codes, self.ssl)
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)


class FlowMatchingItemLoader(SoVITSItemLoader):
    """Loads items and keeps them, so that spectrograms and mels are computed once."""

    def __init__(self, folder: Path, config: dict[str, Any], **options: int) -> None:
        super().__init__(folder, as_v2(config), **options)

    def _load(self, entry: TrainingSetEntry) -> FlowMatchingItem:
        item = super()._load(entry)
        settings = self.data["mel"]
        wave = resample(item.wave, self.data["sampling_rate"], settings["sampling_rate"])
        mel = normalize(log_mel(wave, **settings))[0]
        return FlowMatchingItem(
            # Cloned, for a view would keep every bin alive.
            spec=item.spec[: self.model["style_bins"]].clone(),
            mel=mel[:, : int(item.spec.shape[1] * self.model["frame_ratio"])].clone(),
            text=item.text,
            codes=item.codes,
            ssl=item.ssl,
        )


def as_v2(config: dict[str, Any]) -> dict[str, Any]:
    """The recipe for what reads a training set: symbols and recordings of v2, without speaker vectors and pitch."""
    return config | {"version": "v2", "model": config["model"] | {"speaker_vector": False, "frames": None}}


def find_entries(
    folder: Path, config: dict[str, Any], items: FlowMatchingItemLoader, source: str
) -> tuple[list[TrainingSetEntry], int, dict[str, str]]:
    """(each recording that can be learned from, how often the list counts in an epoch, name -> why one cannot).

    `source` is `codes` or `ssl`.
    """
    selection = select_entries(folder, as_v2(config), source=source)
    edges = config["train"]["length_edges"]
    left_out = dict(selection.left_out)
    fitting = []
    for entry in selection.entries:
        if edges[0] < entry.frames <= edges[-1]:
            fitting.append(entry)
        else:
            left_out[entry.name] = f"it has {entry.frames} frames of 20 ms; {edges[0] + 1} to {edges[-1]} work"
    entries, failed = load_usable(fitting, items)
    return entries, selection.repeats, left_out | failed


def collate(items: Sequence[FlowMatchingItem], ratio: float) -> FlowMatchingBatch:
    """Longest first; `ratio` is mel frames for an encoder frame. Frames are padded to an even number above the
    longest, mels as the official loader of the version does."""
    items = sorted(items, key=lambda item: item.spec.shape[1], reverse=True)
    lengths = [item.spec.shape[1] for item in items]
    frames = 2 * (lengths[0] // 2 + 1)
    whole = frames if ratio == int(ratio) else EVEN * (lengths[0] // EVEN + 1)
    codes = [item.codes for item in items]
    ssl = [item.ssl for item in items]
    return FlowMatchingBatch(
        spec=_padded([item.spec for item in items], frames),
        spec_lengths=torch.tensor(lengths),
        mel=_padded([item.mel for item in items], int(whole * ratio)),
        mel_lengths=torch.tensor([item.mel.shape[1] for item in items]),
        text=pad_sequence([item.text for item in items], batch_first=True),
        text_lengths=torch.tensor([len(item.text) for item in items]),
        codes=None if None in codes else _padded(codes, frames // 2)[None],
        ssl=None if None in ssl else _padded(ssl, frames),
    )


def _padded(tensors: Sequence[Tensor], size: int) -> Tensor:
    """(B, ..., size), zeros behind each."""
    return torch.stack([F.pad(tensor, (0, size - tensor.shape[-1])) for tensor in tensors])
