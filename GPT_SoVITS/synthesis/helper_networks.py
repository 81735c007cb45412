"""The networks around a voice that are no part of it: content, speaker and text features.

Each is opened when it is first asked for, and voices may share them. A part that is not installed is a
ModelError("missing_part") that says which, and how to get it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    from GPT_SoVITS.text.phonemization.frontend import Cleaned, Frontend

TEXT_PART = "roberta"
FRONTEND = "frontend"
"""These two are needed for every Mandarin sentence; the others for a new prompt only."""


class HelperNetworks:
    """Opens and keeps helper networks; safe to share between threads."""

    def __init__(self, folder: Path | None, *, device: torch.device | str = "cpu") -> None:
        """`folder` holds the official weights in the original's layout."""
        self.folder = folder
        self.device = device
        self._opened: dict[str, Any] = {}
        self._lock = threading.Lock()

    def content_features(self, samples: np.ndarray) -> Tensor:
        """(N,) at 16 kHz -> (1, D, T) at 50 frames a second, what official tokens are made from."""
        return self._part("hubert", self._open_hubert).features_of(samples)

    def speaker_vector(self, samples: np.ndarray) -> Tensor:
        """(N,) at 16 kHz -> (1, V)."""
        return self._part("speaker_vector", self._open_speaker_vector).vector_of(samples)

    def frontend(self) -> Frontend:
        """What reads texts; with g2pW where its weights are there, as for the texts that a voice learns from."""
        return self._part(FRONTEND, self._open_frontend)

    def text_features(self, pieces: Sequence[Cleaned]) -> Tensor | None:
        """(1024, N) for the phones of a text; None, which stands for zeros, where nothing of it is Mandarin."""
        if not any(piece.language == "zh" for piece in pieces):
            return None
        return self._part(TEXT_PART, self._open_roberta).features_of(pieces)

    def unload_prompt_encoders(self) -> None:
        """Let go of what only new prompts need: it outweighs a voice, and the next prompt may never come."""
        with self._lock:
            kept = {name: part for name, part in self._opened.items() if name in (TEXT_PART, FRONTEND)}
            forgotten = len(kept) < len(self._opened)
            self._opened = kept
        if forgotten:
            gc.collect()

    def _part(self, name: str, open_it: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_it()
            return self._opened[name]

    def _open_frontend(self) -> Any:
        from GPT_SoVITS.text import Frontend

        return Frontend() if self.folder is None else Frontend.with_models(self.folder)

    def _open_hubert(self) -> Any:
        from GPT_SoVITS.features.hubert import Hubert

        return Hubert.load(find_part(self._folder("HuBERT"), "hubert"), device=self.device)

    def _open_speaker_vector(self) -> Any:
        from GPT_SoVITS.features.eres2net import ERes2NetV2

        return ERes2NetV2.load(find_part(self._folder("ERes2NetV2"), "speaker_vector"), device=self.device)

    def _open_roberta(self) -> Any:
        from GPT_SoVITS.features.bert import Roberta

        return Roberta.load(find_part(self._folder("RoBERTa"), TEXT_PART), device=self.device)

    def _folder(self, what: str) -> Path:
        if self.folder is None:
            raise ModelError(
                "missing_part", f"{what} is needed here, and no folder of models was named to look for it."
            )
        return self.folder
