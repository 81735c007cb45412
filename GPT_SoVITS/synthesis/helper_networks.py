"""The networks around a voice that are no part of it: content encoder, speaker encoder, BERT and the text front end.

Each is loaded when it is first needed, and voices may share them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.bert import Roberta
from GPT_SoVITS.features.eres2net import ERes2NetV2
from GPT_SoVITS.features.hubert import Hubert
from GPT_SoVITS.text import PhonemizedSegment, TextFrontend
from GPT_SoVITS.vocoders import SuperResolution, load_super_resolution


class HelperNetworks:
    """Loads and keeps helper networks; safe to share between threads.

    A network that is not installed is a ModelError("missing_part") that says which, and how to get it.
    """

    def __init__(self, models: Path | None, *, device: torch.device | str = "cpu") -> None:
        """Look for networks in `models`, a folder of official weights in upstream's layout."""
        self.models = models
        self.device = device
        self._hubert: Hubert | None = None
        self._speaker_encoder: ERes2NetV2 | None = None
        self._roberta: Roberta | None = None
        self._frontend: TextFrontend | None = None
        self._super_resolution: SuperResolution | None = None
        self._super_resolution_missing = models is None
        self._lock = threading.Lock()

    def content_features(self, samples: np.ndarray) -> Tensor:
        """Encode (N,) samples at 16 kHz -> (1, D, T) at 50 frames a second, from which official tokens are made."""
        with self._lock:
            if self._hubert is None:
                self._hubert = Hubert.load(self._find("hubert", "HuBERT"), device=self.device)
            hubert = self._hubert
        return hubert.features_of(samples)

    def speaker_vector(self, samples: np.ndarray) -> Tensor:
        """Encode (N,) samples at 16 kHz -> (1, V)."""
        with self._lock:
            if self._speaker_encoder is None:
                path = self._find("speaker_vector", "ERes2NetV2")
                self._speaker_encoder = ERes2NetV2.load(path, device=self.device)
            encoder = self._speaker_encoder
        return encoder.vector_of(samples)

    def text_features(self, pieces: Sequence[PhonemizedSegment]) -> Tensor | None:
        """Encode a text -> (1024, N) for its phonemes; None stands for zeros, where nothing is Mandarin."""
        if not any(piece.language == "zh" for piece in pieces):
            return None
        with self._lock:
            if self._roberta is None:
                self._roberta = Roberta.load(self._find("roberta", "RoBERTa"), device=self.device)
            roberta = self._roberta
        return roberta.features_of(pieces)

    def frontend(self) -> TextFrontend:
        """Return the text front end; with g2pW where its weights are there, as for the texts of a training."""
        with self._lock:
            if self._frontend is None:
                self._frontend = TextFrontend() if self.models is None else TextFrontend.with_models(self.models)
            return self._frontend

    def super_resolution(self) -> SuperResolution | None:
        """Return the network that extends v3's audio to 48 kHz, None where it is not installed."""
        with self._lock:
            if self._super_resolution is None and not self._super_resolution_missing:
                assert self.models is not None
                self._super_resolution = load_super_resolution(self.models, device=self.device)
                self._super_resolution_missing = self._super_resolution is None
            return self._super_resolution

    def unload_prompt_encoders(self) -> None:
        """Free the networks that only new prompts need: they outweigh a voice, and the next prompt may never come."""
        with self._lock:
            loaded = self._hubert is not None or self._speaker_encoder is not None
            self._hubert = self._speaker_encoder = None
        if loaded:
            gc.collect()

    def _find(self, part: str, title: str) -> Path:
        if self.models is None:
            raise ModelError(
                "missing_part", f"{title} is needed here, and no folder of models was named to look for it."
            )
        return find_part(self.models, part)
