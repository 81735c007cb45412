"""Training items of v3 and v4 and their batches (specification s2-v3v4 §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.features.mel import log_mel, normalize, resample
from GPT_SoVITS.flow_matching.config import FlowMatchingAudioConfig
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch
from GPT_SoVITS.sovits.data import SoVITSItemLoader, pad_optional, pad_to
from GPT_SoVITS.sovits.item_cache import CACHE_BYTES, ItemCache
from GPT_SoVITS.sovits.training_set import TrainingSetEntry

FRAME_MULTIPLE = 8
"""v3 pads the encoder frames of a batch to a multiple of this before it counts mel frames."""


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


class FlowMatchingItemLoader:
    """Loads items and caches them, so that spectrograms and mels are computed once."""

    def __init__(self, folder: Path, recipe: Recipe, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Load from a training-set folder what the recipe's network reads."""
        self.mel = read_section(FlowMatchingAudioConfig, recipe["data"], extra=True).mel
        self.style_bins = int(recipe["model"]["style_bins"])
        self.frame_ratio = float(recipe["model"]["frame_ratio"])
        self._loader = SoVITSItemLoader(folder, as_v2(recipe))
        self._cache = ItemCache[FlowMatchingItem](cache_bytes)

    def __call__(self, entry: TrainingSetEntry) -> FlowMatchingItem:
        """Load one recording. Raises ModelError("bad_training_item") with the reason."""
        return self._cache.get(entry.name, lambda: self._read(entry))

    def _read(self, entry: TrainingSetEntry) -> FlowMatchingItem:
        item = self._loader.read(entry)
        wave = resample(item.wave, self._loader.spectrogram.sampling_rate, self.mel.sampling_rate)
        mel = normalize(log_mel(wave, self.mel))[0]  # (M, F)
        return FlowMatchingItem(
            # Cloned, for a view would keep every bin in memory.
            spec=item.spec[: self.style_bins].clone(),
            mel=mel[:, : int(item.spec.shape[1] * self.frame_ratio)].clone(),
            text=item.text,
            codes=item.codes,
            ssl=item.ssl,
        )


def as_v2(recipe: Recipe) -> Recipe:
    """Return the recipe for reading a training set: symbols and recordings of v2, no speaker vectors and pitch."""
    return recipe | {"version": "v2", "model": recipe["model"] | {"speaker_vector": False, "frames": None}}


def collate(items: Sequence[FlowMatchingItem], ratio: float) -> FlowMatchingBatch:
    """Pad items, the longest first, to a batch.

    Frames are padded to an even number above the longest, mels as the official loader of the version does.

    Args:
        items: the recordings.
        ratio: mel frames per encoder frame.
    """
    items = sorted(items, key=lambda item: item.spec.shape[1], reverse=True)
    lengths = [item.spec.shape[1] for item in items]
    frames = 2 * (lengths[0] // 2 + 1)
    mel_source_frames = frames if ratio == int(ratio) else FRAME_MULTIPLE * (lengths[0] // FRAME_MULTIPLE + 1)
    codes = pad_optional([item.codes for item in items], frames // 2)
    return FlowMatchingBatch(
        spec=pad_to([item.spec for item in items], frames),
        spec_lengths=torch.tensor(lengths),
        mel=pad_to([item.mel for item in items], int(mel_source_frames * ratio)),
        mel_lengths=torch.tensor([item.mel.shape[1] for item in items]),
        text=pad_sequence([item.text for item in items], batch_first=True),
        text_lengths=torch.tensor([len(item.text) for item in items]),
        codes=None if codes is None else codes[None],
        ssl=pad_optional([item.ssl for item in items], frames),
    )
