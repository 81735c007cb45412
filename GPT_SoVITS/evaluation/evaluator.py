"""Evaluate one recording with Whisper, Resemblyzer, DNSMOS and a pitch tracker, each loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from GPT_SoVITS.audio import read_resampled
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import compare
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder, similarity
from GPT_SoVITS.features.whisper_model import model_folder

SAMPLE_RATE = 16_000
"""Hz."""
REFERENCE_SECONDS = 60
"""So much of the reference shows who speaks."""
PITCH_HOP = 160
PITCH_PERCENTILES = (5, 95)
"""The range of a voice's pitch, without the frames that a tracker gets wrong."""
WINDOW_SECONDS = 9.01
WINDOW_SAMPLES = int(WINDOW_SECONDS * SAMPLE_RATE)
SIGNAL_CURVE = (-0.08397278, 1.22083953, 0.0052439)
BACKGROUND_CURVE = (-0.13166888, 1.60915514, -0.39604546)
OVERALL_CURVE = (-0.06766283, 1.11546468, 0.04602535)
"""Polynomials from the network's outputs to the scale of listeners (DNSMOS P.835)."""
RECOGNIZER_LANGUAGES = {"yue": "zh"}
"""Languages that the recognizer knows under another code."""
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class RecordingEvaluation:
    """The scores of one recording; NaN where nothing can be said."""

    seconds: float
    transcript: str
    """As recognized."""
    wer: float
    """Wrong words (characters, in Chinese, Japanese and Korean) in proportion to the text's; may exceed 1."""
    similarity: float
    """To the reference speaker, −1 to 1; above 0.8 it is usually taken for the same one."""
    dnsmos: float
    """DNSMOS P.835, overall: 1 (bad) to 5 (excellent)."""
    dnsmos_signal: float
    dnsmos_background: float
    cer: float = NAN
    """Wrong characters in proportion to the text's."""
    f0_low: float = NAN
    """Hz: 5 % of the voiced frames lie below."""
    f0_high: float = NAN
    """Hz: 5 % of the voiced frames lie above."""
    repeated: tuple[str, ...] = ()
    """Words that the transcript has twice."""
    skipped: tuple[str, ...] = ()
    """Words that the transcript lacks."""


class Evaluator:
    """All models of the evaluation."""

    def __init__(self, models: Path, reference: Path | None = None, *, threads: int = 1) -> None:
        """Load the models; Whisper's is put together in the folder `models`.

        `reference`: a recording of the speaker; without one, similarities are NaN.
        """
        self.transcriber = Transcriber(model_folder(models), threads=threads)
        self.quality = SpeechQualityModel(threads=threads)
        self._speakers: SpeakerEncoder | None = None
        self._reference: np.ndarray | None = None
        if reference is not None:
            self._speakers = SpeakerEncoder.load()
            samples = read_resampled(reference, SAMPLE_RATE)[: REFERENCE_SECONDS * SAMPLE_RATE]
            self._reference = self._speakers.embed(samples) if np.any(samples) else None

    def evaluate_file(self, path: Path, text: str, language: str) -> RecordingEvaluation:
        """Compare a recording with the text that it should say."""
        return self.evaluate(read_resampled(path, SAMPLE_RATE), text, language)

    def evaluate(self, samples: np.ndarray, text: str, language: str) -> RecordingEvaluation:
        """Compare (N,) float32 at 16 kHz with the text that it should say, in a single language or `auto`."""
        recognizer_language = None if language == "auto" else RECOGNIZER_LANGUAGES.get(language, language)
        transcript = self.transcriber.transcribe(samples, recognizer_language)
        language = (transcript.language or "en") if language == "auto" else language
        comparison = compare(text, transcript.text, language)
        speaker_similarity = NAN
        if self._speakers is not None and self._reference is not None and np.any(samples):
            speaker_similarity = similarity(self._speakers.embed(samples), self._reference)
        quality = self.quality.score(samples)
        low, high = pitch_range(samples)
        return RecordingEvaluation(
            seconds=len(samples) / SAMPLE_RATE,
            transcript=transcript.text,
            wer=comparison.wer,
            similarity=speaker_similarity,
            dnsmos=quality.overall,
            dnsmos_signal=quality.signal,
            dnsmos_background=quality.background,
            cer=comparison.cer,
            f0_low=low,
            f0_high=high,
            repeated=comparison.repeated,
            skipped=comparison.skipped,
        )


class SpeechQuality(NamedTuple):
    """Scores of DNSMOS P.835: 1 (bad) to 5 (excellent)."""

    signal: float
    background: float
    overall: float


class SpeechQualityModel:
    """DNSMOS P.835, whose network comes with the package `speechmos`.

    Its own code would load librosa and compile a part of it, which takes longer than evaluating a checkpoint's
    sentences.
    """

    def __init__(self, *, threads: int = 1) -> None:
        """Load the network; raise ModelError `missing_part` without the package."""
        try:
            import speechmos
        except ImportError as error:
            raise ModelError("missing_part", "Audio quality needs DNSMOS.", hint="pip install speechmos") from error
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = Path(next(iter(speechmos.__path__))) / "dnsmos_models" / "sig_bak_ovr.onnx"
        self._network: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def score(self, samples: np.ndarray) -> SpeechQuality:
        """Return the mean scores of (N,) float32 at 16 kHz; NaN for digital silence."""
        if not np.any(samples):
            return SpeechQuality(NAN, NAN, NAN)
        audio = np.clip(samples, -1.0, 1.0).astype(np.float32)
        while len(audio) < WINDOW_SAMPLES:  # the network takes 9 s at a time; what is shorter is repeated
            audio = np.concatenate([audio, audio])
        count = int(len(audio) // SAMPLE_RATE - WINDOW_SECONDS) + 1
        windows = [audio[second * SAMPLE_RATE :][:WINDOW_SAMPLES] for second in range(count)]  # W of (144160,)
        outputs = np.concatenate(
            [self._network.run(None, {"input_1": window[None]})[0] for window in windows]
        )  # (W, 3)
        curves = (SIGNAL_CURVE, BACKGROUND_CURVE, OVERALL_CURVE)
        return SpeechQuality(*(float(np.polyval(curve, outputs[:, i]).mean()) for i, curve in enumerate(curves)))


def pitch_range(samples: np.ndarray) -> tuple[float, float]:
    """Return (low, high) in Hz of (N,) float32 at 16 kHz; NaN where nothing is voiced."""
    f0 = pitch(samples, SAMPLE_RATE, PITCH_HOP)
    voiced = f0[f0 > 0]
    if not len(voiced):
        return NAN, NAN
    low, high = np.percentile(voiced, PITCH_PERCENTILES)
    return float(low), float(high)
