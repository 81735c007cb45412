"""The judges of one recording: Whisper, Resemblyzer, DNSMOS and a pitch tracker, each loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import compare
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder, similarity
from GPT_SoVITS.features.whisper_model import model_folder

SAMPLE_RATE = 16_000
REFERENCE_SECONDS = 60
"""So much of the reference shows who speaks."""
PITCH_HOP = 160
PITCH_PERCENTILES = (5, 95)
"""The range of a voice's pitch, without the frames that a tracker gets wrong."""
QUALITY_SECONDS = 9.01
QUALITY_SAMPLES = int(QUALITY_SECONDS * SAMPLE_RATE)
QUALITY_CURVES = {
    "sig_mos": (-0.08397278, 1.22083953, 0.0052439),
    "bak_mos": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl_mos": (-0.06766283, 1.11546468, 0.04602535),
}
"""From the network's numbers, in this order, to the scale of listeners (DNSMOS P.835)."""
HEARD_AS = {"yue": "zh"}
"""Languages that the recogniser knows under another code."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What machines think of one recording; NaN where nothing can be said."""

    seconds: float
    heard: str
    """The recogniser's transcript."""
    wer: float
    """Wrong words (characters, in Chinese, Japanese and Korean) in proportion to the text's; may exceed 1."""
    similarity: float
    """To the reference speaker, −1 to 1; above 0.8 it is usually taken for the same one."""
    dnsmos: float
    """DNSMOS P.835, overall: 1 (bad) to 5 (excellent)."""
    dnsmos_signal: float
    dnsmos_background: float
    cer: float = float("nan")
    """Wrong characters in proportion to the text's."""
    f0_low: float = float("nan")
    """Hz: 5 % of the voiced frames lie below."""
    f0_high: float = float("nan")
    """Hz: 5 % of the voiced frames lie above."""
    repeated: tuple[str, ...] = ()
    """Words that were heard twice."""
    skipped: tuple[str, ...] = ()
    """Words that were not heard."""


class Evaluator:
    """Loads each judge once. `models` is the folder in which Whisper is joined."""

    def __init__(self, models: Path, reference: Path | None = None, *, threads: int = 1) -> None:
        self.transcriber = Transcriber(model_folder(models), threads=threads)
        self.speakers = SpeakerEncoder.load() if reference else None
        self.reference = self._voice(read_16k(reference)[: REFERENCE_SECONDS * SAMPLE_RATE]) if reference else None
        self.quality = Quality(threads=threads)

    def judge(self, path: Path, text: str, language: str) -> Judgement:
        """Compare a recording with what it should say."""
        return self.judge_samples(read_16k(path), text, language)

    def judge_samples(self, samples: np.ndarray, text: str, language: str) -> Judgement:
        """(N,) float32 at 16 kHz; `language` as the recogniser knows it, or `auto`."""
        asked = None if language == "auto" else HEARD_AS.get(language, language)
        transcript = self.transcriber.transcribe(samples, asked)
        language = (transcript.language or "en") if language == "auto" else language
        comparison = compare(text, transcript.text, language)
        voice = self._voice(samples)
        nothing = voice is None or self.reference is None
        quality = self.quality.judge(samples)
        low, high = pitch_range(samples)
        return Judgement(
            seconds=len(samples) / SAMPLE_RATE,
            heard=transcript.text,
            wer=comparison.wer,
            similarity=float("nan") if nothing else similarity(voice, self.reference),
            dnsmos=quality["ovrl_mos"],
            dnsmos_signal=quality["sig_mos"],
            dnsmos_background=quality["bak_mos"],
            cer=comparison.cer,
            f0_low=low,
            f0_high=high,
            repeated=comparison.repeated,
            skipped=comparison.skipped,
        )

    def _voice(self, samples: np.ndarray) -> np.ndarray | None:
        if self.speakers is None or not np.any(samples):
            return None
        return self.speakers.embed(samples)


class Quality:
    """DNSMOS P.835, whose network comes with the package `speechmos`.

    Its own code would load librosa and compile a part of it, which takes longer than judging a checkpoint's sentences.
    """

    def __init__(self, *, threads: int = 1) -> None:
        try:
            import speechmos
        except ImportError as error:
            raise ModelError("missing_part", "Judging the sound needs DNSMOS.", hint="pip install speechmos") from error
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = Path(next(iter(speechmos.__path__))) / "dnsmos_models" / "sig_bak_ovr.onnx"
        self.network: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def judge(self, samples: np.ndarray) -> dict[str, float]:
        """(N,) float32 at 16 kHz -> `ovrl_mos`, `sig_mos`, `bak_mos`; NaN for no sound at all."""
        if not np.any(samples):
            return dict.fromkeys(("ovrl_mos", "sig_mos", "bak_mos"), float("nan"))
        sound = np.clip(samples, -1.0, 1.0).astype(np.float32)
        while len(sound) < QUALITY_SAMPLES:  # the network hears 9 s at a time; what is shorter is said again
            sound = np.concatenate([sound, sound])
        count = int(len(sound) // SAMPLE_RATE - QUALITY_SECONDS) + 1
        windows = [sound[second * SAMPLE_RATE :][:QUALITY_SAMPLES] for second in range(count)]  # W of (144160,)
        raw = np.concatenate([self.network.run(None, {"input_1": one[None]})[0] for one in windows])  # (W, 3)
        scores = {name: np.polyval(bends, raw[:, place]) for place, (name, bends) in enumerate(QUALITY_CURVES.items())}
        return {name: float(values.mean()) for name, values in scores.items()}


def read_16k(path: Path) -> np.ndarray:
    """(N,) float32 at 16 kHz."""
    samples, rate = read_mono(path)
    return resample(samples, rate, SAMPLE_RATE)


def pitch_range(samples: np.ndarray) -> tuple[float, float]:
    """(low, high) in Hz of (N,) float32 at 16 kHz; NaN where nothing is voiced."""
    f0 = pitch(samples, SAMPLE_RATE, PITCH_HOP)
    voiced = f0[f0 > 0]
    if not len(voiced):
        return float("nan"), float("nan")
    low, high = np.percentile(voiced, PITCH_PERCENTILES)
    return float(low), float(high)
