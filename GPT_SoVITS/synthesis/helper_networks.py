"""The networks around a voice that are no part of it: content encoder, speaker encoder, BERT and the text front end.

Each is loaded when it is first needed, and voices may share them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.bert import Roberta
from GPT_SoVITS.features.eres2net import ERes2NetV2
from GPT_SoVITS.features.hubert import Hubert
from GPT_SoVITS.synthesis.model_store import ModelStore, UnlimitedStore
from GPT_SoVITS.text import PhonemizedSegment, TextFrontend
from GPT_SoVITS.vocoders import SuperResolution, load_super_resolution

HELPER, PROMPT_ENCODER = "helper", "prompt encoder"
"""Kinds in a store of models."""

Network = TypeVar("Network", covariant=True)


class NetworkLoader(Protocol[Network]):
    """Loads a network from its file or folder."""

    def __call__(self, path: Path, /, *, device: torch.device | str) -> Network: ...


class HelperNetworks:
    """Loads and keeps helper networks; safe to share between threads.

    A network that is not installed is a ModelError("missing_part") that says which, and how to get it.
    """

    def __init__(
        self, models: Path | None, *, device: torch.device | str = "cpu", store: ModelStore | None = None
    ) -> None:
        """Look for networks in `models`, a folder of official weights in upstream's layout; keep them in `store`."""
        self.models = models
        self.device = device
        self._store: ModelStore = UnlimitedStore() if store is None else store
        self._lock = threading.Lock()

    def content_features(self, samples: np.ndarray) -> Tensor:
        """Encode (N,) samples at 16 kHz -> (1, D, T) at 50 frames a second, from which official tokens are made."""
        return self._load("HuBERT", "hubert", Hubert.load, kind=PROMPT_ENCODER).features_of(samples)

    def speaker_vector(self, samples: np.ndarray) -> Tensor:
        """Encode (N,) samples at 16 kHz -> (1, V)."""
        return self._load("ERes2NetV2", "speaker_vector", ERes2NetV2.load, kind=PROMPT_ENCODER).vector_of(samples)

    def text_features(self, pieces: Sequence[PhonemizedSegment]) -> Tensor | None:
        """Encode a text -> (1024, N) for its phonemes; None stands for zeros, where nothing is Mandarin."""
        if not any(piece.language == "zh" for piece in pieces):
            return None
        return self._load("RoBERTa", "roberta", Roberta.load).features_of(pieces)

    def frontend(self) -> TextFrontend:
        """Return the text front end; with g2pW where its weights are there, as for the texts of a training."""
        models = self.models
        with self._lock:
            return self._store.get(
                HELPER,
                "frontend",
                lambda: TextFrontend() if models is None else TextFrontend.with_models(models),
                name="text front end",
            )

    def super_resolution(self) -> SuperResolution | None:
        """Return the network that extends v3's audio to 48 kHz, None where it is not installed."""
        models = self.models
        if models is None:
            return None
        with self._lock:
            return self._store.get(
                HELPER,
                "super_resolution",
                lambda: load_super_resolution(models, device=self.device),
                name="super resolution",
            )

    def unload_prompt_encoders(self) -> None:
        """Free the networks that only new prompts need: they outweigh a voice, and the next prompt may never come."""
        with self._lock:
            dropped = self._store.drop(PROMPT_ENCODER)
        if dropped:
            gc.collect()

    def _load(self, title: str, part: str, load: NetworkLoader[Network], *, kind: str = HELPER) -> Network:
        with self._lock:
            return self._store.get(kind, part, lambda: load(self._find(part, title), device=self.device), name=title)

    def _find(self, part: str, title: str) -> Path:
        if self.models is None:
            raise ModelError(
                "missing_part", f"{title} is needed here, and no folder of models was named to look for it."
            )
        return find_part(self.models, part)
