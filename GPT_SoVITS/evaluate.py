"""Judge speech by machine: what a recogniser hears, who seems to speak, how clean it sounds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.speaker import SpeakerEncoder, similarity
from GPT_SoVITS.whisper import model_folder

SAMPLE_RATE = 16_000
WITHOUT_BLANKS = ("zh", "yue", "ja")
"""Written without blanks between words: judged by characters."""
REFERENCE_SECONDS = 60
"""So much of the reference shows who speaks."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What machines think of one recording; NaN where nothing can be said."""

    seconds: float
    heard: str
    """The recogniser's transcript."""
    wer: float
    """Wrong words (characters, where words are not separated) in proportion to those of the text; may exceed 1."""
    similarity: float
    """To the reference speaker, −1 to 1; above 0.8 it is usually taken for the same one."""
    dnsmos: float
    """DNSMOS P.835, overall: 1 (bad) to 5 (excellent)."""
    dnsmos_signal: float
    dnsmos_background: float


class Evaluator:
    """Loads each judge once. `models` is the folder in which Whisper is joined."""

    def __init__(self, models: Path, reference: Path | None = None, *, threads: int = 1) -> None:
        self.transcriber = Transcriber(model_folder(models), threads=threads)
        self.speakers = SpeakerEncoder.load() if reference else None
        self.reference = self._voice(read_16k(reference)[: REFERENCE_SECONDS * SAMPLE_RATE]) if reference else None
        self.quality = Quality()

    def judge(self, path: Path, text: str, language: str) -> Judgement:
        """Compare a recording with what it should say."""
        samples = read_16k(path)
        heard = self.transcriber.transcribe(samples, language).text
        voice = self._voice(samples)
        nothing = voice is None or self.reference is None
        quality = self.quality.judge(samples)
        return Judgement(
            seconds=len(samples) / SAMPLE_RATE,
            heard=heard,
            wer=error_rate(text, heard, language),
            similarity=float("nan") if nothing else similarity(voice, self.reference),
            dnsmos=quality["ovrl_mos"],
            dnsmos_signal=quality["sig_mos"],
            dnsmos_background=quality["bak_mos"],
        )

    def _voice(self, samples: np.ndarray) -> np.ndarray | None:
        if self.speakers is None or not np.any(samples):
            return None
        return self.speakers.embed(samples)


class Quality:
    """DNSMOS, whose networks come with the package `speechmos`."""

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of librosa's own dependencies
                from speechmos import dnsmos
        except ImportError as error:
            raise ModelError("missing_part", "Judging the sound needs DNSMOS.", hint="pip install speechmos") from error
        folder = Path(dnsmos.__file__).parent / "dnsmos_models"
        self.network: Any = dnsmos.DNSMOS(str(folder / "sig_bak_ovr.onnx"), str(folder / "model_v8.onnx"))

    def judge(self, samples: np.ndarray) -> dict[str, float]:
        """(N,) float32 at 16 kHz -> `ovrl_mos`, `sig_mos`, `bak_mos`, `p808_mos`; NaN for no sound at all."""
        if not np.any(samples):
            return dict.fromkeys(("ovrl_mos", "sig_mos", "bak_mos", "p808_mos"), float("nan"))
        scores = self.network(np.clip(samples, -1.0, 1.0), SAMPLE_RATE, False)
        return {name: float(score) for name, score in scores.items()}


def read_16k(path: Path) -> np.ndarray:
    """(N,) float32 at 16 kHz."""
    samples, rate = read_mono(path)
    return resample(samples, rate, SAMPLE_RATE)


def error_rate(expected: str, heard: str, language: str) -> float:
    """Substitutions, insertions and deletions in proportion to the words (or characters) of `expected`."""
    wanted, found = words(expected, language), words(heard, language)
    if not wanted:
        return 0.0 if not found else float("inf")
    return edit_distance(wanted, found) / len(wanted)


def words(text: str, language: str) -> list[str]:
    """What is compared: numbers written out, no capitals, no punctuation; characters where there are no blanks."""
    from GPT_SoVITS.text import english_normalise, mandarin_normalise

    if language in WITHOUT_BLANKS:
        spoken = mandarin_normalise.normalise(text) if language == "zh" else text
        return re.findall(r"[^\W_]", spoken.lower())
    spoken = english_normalise.normalise(text) if language == "en" else text
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", spoken.lower().replace("’", "'").replace("-", " "))


def edit_distance(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(expected, start=1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != found))
    return row[-1]
