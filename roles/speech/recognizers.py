"""The recognizer that listens to whole sentences before they are sent, for requests with `verify: asr`."""

from __future__ import annotations

import threading
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from core.speech.requests import UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    import numpy as np

    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.engine.verification import Recognizer
    from GPT_SoVITS.synthesis.verification.faults import Fault

CALLERS: Final = 2
"""Sentences that are recognized at once: as many as the engine has threads for texts."""


class SpeechRecognizers:
    """Whisper, loaded with the first request that needs it."""

    def __init__(self, services: WorkerServices) -> None:
        self._services = services
        self._loading = threading.Lock()

    def recognizer(self, request: UtteranceRequest) -> Recognizer:
        """Return what compares the words of an utterance with its text.

        Raises MissingPart where the recognizer is not installed.
        """
        with self._loading, model_errors():
            return partial(self._recognize, request.text, request.language, self._transcriber)

    def _recognize(
        self, text: str, language: str, transcriber: Transcriber, samples: np.ndarray, rate: int
    ) -> list[Fault]:
        from GPT_SoVITS.synthesis.verification.words import word_faults

        return word_faults(transcriber, samples, rate, text, language)

    @cached_property
    def _transcriber(self) -> Transcriber:
        from GPT_SoVITS.dataset.transcribe import Transcriber
        from GPT_SoVITS.features.whisper_model import model_folder

        return Transcriber(model_folder(self._services.settings.models_folder), max_callers=CALLERS)
