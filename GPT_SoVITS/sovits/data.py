"""Training items, batches and their order (specification s2-sovits §14.2-14.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.sovits.model import SoVITSBatch
from GPT_SoVITS.sovits.training_set import SPEAKER_FOLDER, SSL_FOLDER, WAVE_FOLDER, TrainingSetEntry

LONGEST_FRAMES = 1900
CACHE_BYTES = 2 << 30
"""Items kept in memory; what does not fit is read again each time."""
TOLERATED_TOKENS = 2
"""By how much tokens and sound may disagree in length; more means that they do not belong together."""


@dataclass(frozen=True, slots=True)
class SoVITSItem:
    """One recording as the model reads it."""

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

    @property
    def bytes(self) -> int:
        tensors = (self.spec, self.wave, self.text, self.codes, self.ssl, self.speaker, self.f0)
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)


class SoVITSItemLoader:
    """Loads items and keeps them, so that spectrograms are computed once."""

    def __init__(self, folder: Path, config: dict[str, Any], *, cache_bytes: int = CACHE_BYTES) -> None:
        self.folder = folder
        self.data = config["data"]
        self.model = config["model"]
        self._room = cache_bytes
        self._kept: dict[str, SoVITSItem] = {}

    def __call__(self, entry: TrainingSetEntry) -> SoVITSItem:
        """Raises ModelError("bad_training_item") with the reason."""
        if entry.name in self._kept:
            return self._kept[entry.name]
        try:
            item = self._load(entry)
        except (OSError, RuntimeError, ValueError, ModelError) as error:
            raise ModelError("bad_training_item", f"{entry.name} cannot be used: {error}") from error
        if item.bytes <= self._room:
            self._room -= item.bytes
            self._kept[entry.name] = item
        return item

    def _load(self, entry: TrainingSetEntry) -> SoVITSItem:
        samples, _ = soundfile.read(self.folder / WAVE_FOLDER / entry.name, dtype="float32", always_2d=True)
        if not samples.any():
            raise ValueError("it is silent")
        wave = torch.from_numpy(np.ascontiguousarray(samples[:, :1].T))  # (1, N)
        shape = {"n_fft": "filter_length", "hop": "hop_length", "win": "win_length"}
        spec = spectrogram(wave, **{name: self.data[key] for name, key in shape.items()})[0]
        codes = None if entry.codes is None else fit_codes(entry.codes, spec.shape[1], self.model["codebook_bins"])
        return SoVITSItem(
            spec=spec,
            wave=wave,
            text=torch.tensor(entry.phones),
            codes=codes,
            ssl=None if entry.codes is not None else self._ssl(entry, spec.shape[1]),
            speaker=self._tensor(SPEAKER_FOLDER, entry.name).view(-1) if self.model["speaker_vector"] else None,
            f0=self._pitch(wave) if self.model["frames"] else None,
        )

    def _pitch(self, wave: Tensor) -> Tensor:
        """(1, N) -> (T,)."""
        return torch.from_numpy(pitch(wave[0].numpy(), self.data["sampling_rate"], self.data["hop_length"]))

    def _ssl(self, entry: TrainingSetEntry, frames: int) -> Tensor:
        """(D, frames): content features end a frame early now and then, so the last one is repeated."""
        ssl = self._tensor(SSL_FOLDER, entry.name)[0]
        if abs(ssl.shape[1] - frames) > 2 * TOLERATED_TOKENS:
            raise ValueError(f"it has {frames} frames of sound and {ssl.shape[1]} of content features")
        return _fit(ssl, frames)

    def _tensor(self, folder: str, name: str) -> Tensor:
        path = self.folder / folder / f"{name}.pt"
        return torch.load(path, map_location="cpu", weights_only=True).detach().float().contiguous()


def fit_codes(codes: Sequence[int], frames: int, bins: int) -> Tensor:
    """(ceil(frames / 2),): one token for every two frames, the last repeated where the sound is longer."""
    wanted = math.ceil(frames / 2)
    if abs(len(codes) - wanted) > TOLERATED_TOKENS:
        raise ValueError(f"it has {frames} frames of sound and {len(codes)} tokens, which cover two frames each")
    if max(codes) >= bins:
        raise ValueError(f"its token {max(codes)} is not in a codebook of {bins}")
    return _fit(torch.tensor(codes), wanted)


def _fit(x: Tensor, size: int) -> Tensor:
    """Cut or repeat the last element along the last dimension."""
    x = x[..., :size]
    return torch.cat([x, x[..., -1:].expand(*x.shape[:-1], size - x.shape[-1])], dim=-1)


def crop(item: SoVITSItem, frames: int, hop: int) -> SoVITSItem:
    """A random stretch of at most `frames`, an even number, with all of its text: the encoders' work on frames that
    no segment reaches teaches a small model little. Draws from torch's global generator."""
    spare = item.spec.shape[1] - frames
    if spare <= 0:
        return item
    return stretch(item, 2 * int(torch.randint(spare // 2 + 1, (1,))), frames, hop)


def stretch(item: SoVITSItem, start: int, frames: int, hop: int) -> SoVITSItem:
    """`frames` frames from `start` on, both even, or as many as there are; the text stays whole."""
    return replace(
        item,
        spec=item.spec[:, start : start + frames],
        wave=item.wave[:, start * hop : (start + frames) * hop],
        codes=None if item.codes is None else item.codes[start // 2 : (start + frames) // 2],
        ssl=None if item.ssl is None else item.ssl[:, start : start + frames],
        f0=None if item.f0 is None else item.f0[start : start + frames],
    )


def collate(items: Sequence[SoVITSItem]) -> SoVITSBatch:
    """Longest first; frames are padded to an even number above the longest, as the official loader does."""
    items = sorted(items, key=lambda item: item.spec.shape[1], reverse=True)
    frames = 2 * (items[0].spec.shape[1] // 2 + 1)
    lengths = [item.spec.shape[1] for item in items]
    codes = [item.codes for item in items]
    ssl = [item.ssl for item in items]
    speakers = [item.speaker for item in items]
    f0 = [item.f0 for item in items]
    return SoVITSBatch(
        spec=_padded([item.spec for item in items], frames),
        spec_lengths=torch.tensor(lengths),
        wave=_padded([item.wave for item in items], max(item.wave.shape[1] for item in items)),
        text=pad_sequence([item.text for item in items], batch_first=True),
        text_lengths=torch.tensor([len(item.text) for item in items]),
        codes=None if None in codes else _padded(codes, frames // 2)[None],
        ssl=None if None in ssl else _padded(ssl, frames),
        speaker=None if None in speakers else torch.stack(speakers),
        f0=None if None in f0 else _padded(f0, frames),
    )


def _padded(tensors: Sequence[Tensor], size: int) -> Tensor:
    """(B, ..., size), zeros behind each."""
    return torch.stack([torch.nn.functional.pad(t, (0, size - t.shape[-1])) for t in tensors])


def boundaries(step: int = 100) -> list[int]:
    """Edges of the length buckets in frames: 32, 300, then every `step` up to 1900."""
    return [32, *range(300, LONGEST_FRAMES + 1, step)]


class BucketSampler:
    """Batches of similar lengths, drawn anew each epoch from nothing but the epoch's number.

    Every bucket is filled up to whole batches by repeating its own items. `dropped` tells which items no bucket
    takes: the caller has to say so.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, edges: Sequence[int], *, replicas: int = 1, rank: int = 0
    ) -> None:
        self.batch_size = batch_size
        self.replicas = replicas
        self.rank = rank
        buckets: list[list[int]] = [[] for _ in edges[1:]]
        self.dropped: list[int] = []
        for index, length in enumerate(lengths):
            place = next((i for i in range(len(buckets)) if edges[i] < length <= edges[i + 1]), None)
            (self.dropped if place is None else buckets[place]).append(index)
        self.edges = [edges[0], *(edges[i + 1] for i, bucket in enumerate(buckets) if bucket)]
        self.buckets = [bucket for bucket in buckets if bucket]
        whole = batch_size * replicas
        self.sizes = [math.ceil(len(bucket) / whole) * whole for bucket in self.buckets]

    def __len__(self) -> int:
        """Batches of one replica in an epoch."""
        return sum(self.sizes) // self.replicas // self.batch_size

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of one epoch as lists of indices."""
        generator = torch.Generator().manual_seed(number)
        orders = [torch.randperm(len(bucket), generator=generator).tolist() for bucket in self.buckets]
        batches = []
        for bucket, order, size in zip(self.buckets, orders, self.sizes):
            filled = (order * math.ceil(size / len(order)))[:size]
            mine = [bucket[i] for i in filled[self.rank :: self.replicas]]
            batches += [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def load_usable(
    entries: Sequence[TrainingSetEntry], load: Callable[[TrainingSetEntry], SoVITSItem]
) -> tuple[list[TrainingSetEntry], dict[str, str]]:
    """Load every entry once; those that fail are returned by name with the reason, never replaced by silence."""
    good, failed = [], {}
    for entry in entries:
        try:
            load(entry)
        except ModelError as error:
            failed[entry.name] = error.message
        else:
            good.append(entry)
    return good, failed
