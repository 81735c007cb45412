"""Transcribe recordings with SenseVoice or Paraformer, which hear Mandarin better than a small Whisper."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from common.recognizers import INSTALL_SHERPA, TOKENS_FILE, onnx_file, recognizer_kind
from GPT_SoVITS.audio import read_resampled
from GPT_SoVITS.dataset.transcribe import (
    LANGUAGES_WITHOUT_SPACES,
    SAMPLE_RATE,
    Transcription,
    TranscriptPhrase,
    speech_spans,
)
from GPT_SoVITS.errors import ModelError

LANGUAGES = {"sensevoice": ("zh", "en", "ja", "ko", "yue"), "paraformer": ("zh", "en")}
LOADED_LANGUAGES = 2
"""SenseVoice is told its language when it is loaded; of so many languages the model is kept."""
LONGEST_SECONDS = 30.0
"""Of what is heard at once: more is cut in equal parts."""


class SherpaRecognizer:
    """A folder with `model.int8.onnx` or `model.onnx` and `tokens.txt`, as sherpa-onnx publishes them."""

    def __init__(self, model_folder: Path | str, *, threads: int = 1) -> None:
        """Load a model; raise ModelError `missing_part` where the folder has none or sherpa-onnx is not installed."""
        self._folder, self._threads = Path(model_folder), threads
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        kind = recognizer_kind(self._folder)
        if kind not in LANGUAGES:
            raise ModelError("missing_part", f"There is no SenseVoice or Paraformer in {self._folder}.")
        self.kind = kind
        self._recognizer("")

    def transcribe(self, recording: Path | np.ndarray, language: str | None = None) -> Transcription:
        """Transcribe a file, or (N,) float32 samples at 16 kHz; without `language` it is recognized.

        The confidence is 1 for words, as these models state none. Raises ModelError `unsupported_language`.
        """
        if language and language not in LANGUAGES[self.kind]:
            raise ModelError(
                "unsupported_language",
                f"The recognizer in {self._folder.name} does not hear {language!r}.",
                hint=f"It hears {', '.join(LANGUAGES[self.kind])}; leave `model` out for the bundled recognizer.",
            )
        samples = read_resampled(recording, SAMPLE_RATE) if isinstance(recording, Path) else recording
        seconds = len(samples) / SAMPLE_RATE
        recognizer = self._recognizer(language or "")
        phrases: list[TranscriptPhrase] = []
        spoken_language = language or ""
        for start, end in _pieces(speech_spans(samples)):
            stream = recognizer.create_stream()
            stream.accept_waveform(SAMPLE_RATE, samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
            recognizer.decode_stream(stream)
            if text := stream.result.text.strip():
                spoken_language = spoken_language or stream.result.lang.strip("<|>") or "zh"
                phrases.append(TranscriptPhrase(text, start, end, 0.0, 0.0))
        separator = "" if spoken_language in LANGUAGES_WITHOUT_SPACES else " "
        return Transcription(
            separator.join(phrase.text for phrase in phrases),
            spoken_language,
            1.0 if phrases else 0.0,
            seconds,
            1.0 if phrases else 0.0,
            tuple(phrases),
        )

    def detect_language(self, samples: np.ndarray) -> tuple[str, float, dict[str, float]]:
        """Return the language of (N,) float32 at 16 kHz, its probability (1 or 0), and those of all that are heard."""
        language = self.transcribe(samples).language
        return language, float(bool(language)), {name: float(name == language) for name in LANGUAGES[self.kind]}

    def _recognizer(self, language: str) -> Any:
        language = language if self.kind == "sensevoice" else ""
        with self._lock:
            if language not in self._loaded:
                self._loaded[language] = self._load(language)
                while len(self._loaded) > LOADED_LANGUAGES:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(language)
            return self._loaded[language]

    def _load(self, language: str) -> Any:
        try:
            from sherpa_onnx import OfflineRecognizer
        except ImportError as error:
            raise ModelError(
                "missing_part",
                "sherpa-onnx, which reads SenseVoice and Paraformer, is not installed.",
                hint=INSTALL_SHERPA,
            ) from error
        model, tokens = str(onnx_file(self._folder)), str(self._folder / TOKENS_FILE)
        if self.kind == "paraformer":
            return OfflineRecognizer.from_paraformer(paraformer=model, tokens=tokens, num_threads=self._threads)
        # Inverse text normalization is what gives SenseVoice's sentences their punctuation.
        return OfflineRecognizer.from_sense_voice(
            model=model, tokens=tokens, num_threads=self._threads, language=language, use_itn=True
        )


def _pieces(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans in pieces of at most LONGEST_SECONDS."""
    pieces: list[tuple[float, float]] = []
    for start, end in spans:
        count = max(1, math.ceil((end - start) / LONGEST_SECONDS))
        step = (end - start) / count
        pieces += [(start + index * step, start + (index + 1) * step) for index in range(count)]
    return pieces
