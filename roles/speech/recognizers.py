"""What listens to whole sentences before they are sent: a recognizer of words, and one of speakers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from core.speech.requests import UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    import numpy as np

    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.engine.verification import Recognition, Recognizer
    from GPT_SoVITS.features.resemblyzer import SpeakerEncoder
    from GPT_SoVITS.synthesis.verification.faults import Fault
    from GPT_SoVITS.synthesis.verification.speaker import VoiceComparison

CALLERS: Final = 2
"""Sentences that are recognized at once: as many as the engine has threads for texts."""
MAX_PROMPTS: Final = 64
"""Prompts whose speaker is remembered."""


class SpeechRecognizers:
    """Whisper and the speaker encoder, each loaded with the first request that needs it."""

    def __init__(self, services: WorkerServices) -> None:
        self._services = services
        self._loading = threading.Lock()
        self._speakers: OrderedDict[str, np.ndarray | None] = OrderedDict()
        """By the storage key of the prompt's recording."""

    def recognizer(self, request: UtteranceRequest, recording: str) -> Recognizer | None:
        """Return what listens to an utterance: to its words with `verify: asr`, to its voice with `verify_speaker`.

        `recording` is the storage key of the prompt's. Raises MissingPart where a recognizer is not installed.
        """
        compare_words = compare_voice = None
        with self._loading, model_errors():
            if request.sampling.verify == "asr":
                compare_words = partial(self._compare_words, request.text, request.language, self._transcriber)
            if request.sampling.verify_speaker:
                compare_voice = partial(self._compare_voice, self._encoder, self._speaker(recording))
        if compare_words is None and compare_voice is None:
            return None

        def recognize(samples: np.ndarray, rate: int) -> Recognition:
            from GPT_SoVITS.engine.verification import Recognition

            faults = [] if compare_words is None else compare_words(samples, rate)
            if compare_voice is None:
                return Recognition(faults)
            voice = compare_voice(samples, rate)
            unchecked = ("speaker",) if voice.similarity is None else ()
            return Recognition([*faults, *voice.faults], voice.similarity, unchecked)

        return recognize

    def _compare_words(
        self, text: str, language: str, transcriber: Transcriber, samples: np.ndarray, rate: int
    ) -> list[Fault]:
        from GPT_SoVITS.synthesis.verification.words import word_faults

        return word_faults(transcriber, samples, rate, text, language)

    def _compare_voice(
        self, encoder: SpeakerEncoder, speaker: np.ndarray | None, samples: np.ndarray, rate: int
    ) -> VoiceComparison:
        from GPT_SoVITS.synthesis.verification.speaker import compare_speaker

        return compare_speaker(encoder, speaker, samples, rate)

    def _speaker(self, recording: str) -> np.ndarray | None:
        """Return the speaker of a prompt, computed once."""
        from GPT_SoVITS.audio import read_resampled
        from GPT_SoVITS.features.resemblyzer import SAMPLE_RATE
        from GPT_SoVITS.synthesis.verification.speaker import prompt_vector

        if recording not in self._speakers:
            samples = read_resampled(self._services.storage.path(recording), SAMPLE_RATE)
            self._speakers[recording] = prompt_vector(self._encoder, samples)
            while len(self._speakers) > MAX_PROMPTS:
                self._speakers.popitem(last=False)
        return self._speakers[recording]

    @cached_property
    def _transcriber(self) -> Transcriber:
        from GPT_SoVITS.dataset.transcribe import Transcriber
        from GPT_SoVITS.features.whisper_model import model_folder

        return Transcriber(model_folder(self._services.settings.models_folder), max_callers=CALLERS)

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

        return SpeakerEncoder.load()
