"""Training items, batches and their order (specification s2-sovits §14.2-14.4).

Shapes: B batch, F bins, T frames of 20 ms, N samples, S phonemes, D width of content features, V of a speaker vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.sovits.config import SpectrogramConfig
from GPT_SoVITS.sovits.item_cache import CACHE_BYTES, ItemCache
from GPT_SoVITS.sovits.model import SoVITSBatch
from GPT_SoVITS.sovits.training_set import SPEAKER_FOLDER, SSL_FOLDER, WAVE_FOLDER, TrainingSetEntry

MAX_FRAMES = 1900
TOLERATED_TOKENS = 2
"""Largest difference in length between tokens and audio; with more they do not belong together."""


@dataclass(frozen=True, slots=True)
class SoVITSItem:
    """One recording as the network reads it."""

    spec: Tensor
    """(F, T)."""
    wave: Tensor
    """(1, N) in [-1, 1]."""
    text: Tensor
    """(S,) phoneme ids."""
    codes: Tensor | None
    """(ceil(T / 2),) semantic tokens."""
    ssl: Tensor | None
    """(D, T) content features."""
    speaker: Tensor | None
    """(V,) speaker vector."""
    f0: Tensor | None = None
    """(T,) Hz, 0 where unvoiced; for a generator that works frame by frame."""


class SoVITSItemLoader:
    """Loads items and caches them, so that spectrograms are computed once."""

    def __init__(self, folder: Path, recipe: Recipe, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Load from a training-set folder what the recipe's network reads."""
        self.folder = folder
        self.spectrogram = read_section(SpectrogramConfig, recipe["data"], extra=True)
        self.codebook_bins = int(recipe["model"]["codebook_bins"])
        self.needs_speaker = bool(recipe["model"]["speaker_vector"])
        self.needs_pitch = bool(recipe["model"]["frames"])
        self._cache = ItemCache[SoVITSItem](cache_bytes)

    def __call__(self, entry: TrainingSetEntry) -> SoVITSItem:
        """Load one recording. Raises ModelError("bad_training_item") with the reason."""
        return self._cache.get(entry.name, lambda: self.read(entry))

    def read(self, entry: TrainingSetEntry) -> SoVITSItem:
        """Read one recording without the cache. Raises OSError, RuntimeError, ValueError or ModelError."""
        samples, _ = soundfile.read(self.folder / WAVE_FOLDER / entry.name, dtype="float32", always_2d=True)
        if not samples.any():
            raise ValueError("it is silent")
        wave = torch.from_numpy(np.ascontiguousarray(samples[:, :1].T))  # (1, N)
        settings = self.spectrogram
        spec = spectrogram(wave, n_fft=settings.filter_length, hop=settings.hop_length, win=settings.win_length)[
            0
        ]  # (F, T)
        frames = spec.shape[1]
        codes = ssl = speaker = f0 = None
        if entry.codes is not None:
            codes = fit_codes(entry.codes, frames, self.codebook_bins)
        else:
            ssl = self._load_tensor(SSL_FOLDER, entry.name)[0]
            if abs(ssl.shape[1] - frames) > 2 * TOLERATED_TOKENS:
                raise ValueError(f"it has {frames} frames of audio and {ssl.shape[1]} of content features")
            ssl = _fit_length(ssl, frames)  # content features end a frame early now and then
        if self.needs_speaker:
            speaker = self._load_tensor(SPEAKER_FOLDER, entry.name).view(-1)
        if self.needs_pitch:
            f0 = torch.from_numpy(pitch(wave[0].numpy(), settings.sampling_rate, settings.hop_length))
        return SoVITSItem(spec, wave, torch.tensor(entry.phonemes), codes, ssl, speaker, f0)

    def _load_tensor(self, folder: str, name: str) -> Tensor:
        path = self.folder / folder / f"{name}.pt"
        tensor: Tensor = torch.load(path, map_location="cpu", weights_only=True)
        return tensor.detach().float().contiguous()


def fit_codes(codes: Sequence[int], frames: int, bins: int) -> Tensor:
    """Return one token for every two frames, (ceil(frames / 2),); the last is repeated where the audio is longer.

    Raises:
        ValueError: tokens and audio differ in length, or a token is not in the codebook.
    """
    count = math.ceil(frames / 2)
    if abs(len(codes) - count) > TOLERATED_TOKENS:
        raise ValueError(f"it has {frames} frames of audio and {len(codes)} tokens, which cover two frames each")
    if max(codes) >= bins:
        raise ValueError(f"its token {max(codes)} is not in a codebook of {bins}")
    return _fit_length(torch.tensor(codes), count)


def crop(item: SoVITSItem, frames: int, hop: int) -> SoVITSItem:
    """Cut out a random stretch of at most `frames`, an even number, with the whole text.

    Encoding frames that no segment reaches teaches a small model little. Draws from the global random generator.
    """
    spare = item.spec.shape[1] - frames
    if spare <= 0:
        return item
    return cut_item(item, 2 * int(torch.randint(spare // 2 + 1, (1,))), frames, hop)


def cut_item(item: SoVITSItem, start: int, frames: int, hop: int) -> SoVITSItem:
    """Cut out frames from `start` on, both even, or as many as there are; the text stays whole."""
    return replace(
        item,
        spec=item.spec[:, start : start + frames],
        wave=item.wave[:, start * hop : (start + frames) * hop],
        codes=None if item.codes is None else item.codes[start // 2 : (start + frames) // 2],
        ssl=None if item.ssl is None else item.ssl[:, start : start + frames],
        f0=None if item.f0 is None else item.f0[start : start + frames],
    )


def collate(items: Sequence[SoVITSItem]) -> SoVITSBatch:
    """Pad items, the longest first, to an even number of frames above the longest, as the official loader does."""
    items = sorted(items, key=lambda item: item.spec.shape[1], reverse=True)
    frames = 2 * (items[0].spec.shape[1] // 2 + 1)
    codes = pad_optional([item.codes for item in items], frames // 2)
    speakers = [item.speaker for item in items if item.speaker is not None]
    return SoVITSBatch(
        spec=pad_to([item.spec for item in items], frames),
        spec_lengths=torch.tensor([item.spec.shape[1] for item in items]),
        wave=pad_to([item.wave for item in items], max(item.wave.shape[1] for item in items)),
        text=pad_sequence([item.text for item in items], batch_first=True),
        text_lengths=torch.tensor([len(item.text) for item in items]),
        codes=None if codes is None else codes[None],
        ssl=pad_optional([item.ssl for item in items], frames),
        speaker=torch.stack(speakers) if len(speakers) == len(items) else None,
        f0=pad_optional([item.f0 for item in items], frames),
    )


def pad_to(tensors: Sequence[Tensor], size: int) -> Tensor:
    """Stack tensors to (B, ..., size), with zeros at the end of each."""
    return torch.stack([F.pad(tensor, (0, size - tensor.shape[-1])) for tensor in tensors])


def pad_optional(tensors: Sequence[Tensor | None], size: int) -> Tensor | None:
    """Stack tensors as `pad_to` does; None where one is missing."""
    present = [tensor for tensor in tensors if tensor is not None]
    return pad_to(present, size) if len(present) == len(tensors) else None


def boundaries(step: int = 100) -> list[int]:
    """Return the edges of the length buckets in frames: 32, 300, then every `step` up to 1900."""
    return [32, *range(300, MAX_FRAMES + 1, step)]


class BucketSampler:
    """Batches of similar lengths, drawn anew each epoch with its number as the seed.

    Every bucket is filled up to whole batches by repeating its own items. `dropped` holds the items that fit in no
    bucket; the caller has to report them.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, edges: Sequence[int], *, replicas: int = 1, rank: int = 0
    ) -> None:
        """Sort items of these lengths into buckets and serve one of several replicas."""
        self.batch_size = batch_size
        self.replicas = replicas
        self.rank = rank
        buckets: list[list[int]] = [[] for _ in edges[1:]]
        self.dropped: list[int] = []
        for index, length in enumerate(lengths):
            bucket = next((i for i in range(len(buckets)) if edges[i] < length <= edges[i + 1]), None)
            (self.dropped if bucket is None else buckets[bucket]).append(index)
        self.edges = [edges[0], *(edges[i + 1] for i, indices in enumerate(buckets) if indices)]
        self.buckets = [indices for indices in buckets if indices]
        whole = batch_size * replicas
        self.sizes = [math.ceil(len(indices) / whole) * whole for indices in self.buckets]

    def __len__(self) -> int:
        """Return the batches of one replica in an epoch."""
        return sum(self.sizes) // self.replicas // self.batch_size

    def epoch(self, number: int) -> list[list[int]]:
        """Return the batches of one epoch as lists of indices."""
        generator = torch.Generator().manual_seed(number)
        orders = [torch.randperm(len(bucket), generator=generator).tolist() for bucket in self.buckets]
        batches = []
        for bucket, order, size in zip(self.buckets, orders, self.sizes):
            filled = (order * math.ceil(size / len(order)))[:size]
            own = [bucket[i] for i in filled[self.rank :: self.replicas]]
            batches += [own[i : i + self.batch_size] for i in range(0, len(own), self.batch_size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _fit_length(x: Tensor, size: int) -> Tensor:
    """Cut the last dimension, or repeat its last element."""
    x = x[..., :size]
    return torch.cat([x, x[..., -1:].expand(*x.shape[:-1], size - x.shape[-1])], dim=-1)
