"""The recordings of the bundled Mandarin voices, read by the teacher from the texts in `prompts.zh.txt`."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from common.files import atomic_path
from GPT_SoVITS.audio import loudness, peak, read_resampled, to_int16, write_wav
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.features.whisper_model import model_folder
from scripts.train_base.data import held_out, speak
from scripts.train_base.mandarin_sentences import ideographs_of
from scripts.train_base.sources import teacher_python, teacher_voices
from scripts.train_base.teacher_text import spoken_words

logger = logging.getLogger(__name__)

TEXTS: Final = Path(__file__).parent / "prompts.zh.txt"
"""A sentence a line: voice, name, text. The one named `prompt` is a reference recording, the others a recording."""
TEACHERS: Final = {"xiaoyi": "zf_xiaoyi", "yunjian": "zm_yunjian"}
"""Voice → the teacher's vector."""
SPEEDS: Final = (0.9, 0.95, 0.85, 1.0)
"""Tried in this order until a sentence is understood without an error; else the best is taken."""
LANGUAGE: Final = "zh"
RATE: Final = 16_000
GAP: Final = 0.6
"""Seconds between two sentences of a recording."""
LOUDNESS: Final = {"prompt": -16.4, "recording": -17.6}
"""dB, as those of Allison's recordings; less where the peak would exceed MAX_PEAK."""
MAX_PEAK: Final = 0.9


@dataclass(frozen=True, slots=True)
class PromptText:
    """A sentence of a bundled voice."""

    voice: str
    name: str
    text: str

    @property
    def digest(self) -> str:
        """Return what tells two texts of one name apart."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Take:
    """A sentence as it was spoken once, and how much of it the recognizer got wrong."""

    file: Path
    error_rate: float


def prompt_texts() -> list[PromptText]:
    """Return all sentences; raise ValueError where the evaluation has one of them."""
    texts = [PromptText(*line.split("\t")) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    if shared := held_out(LANGUAGE) & {ideographs_of(text.text) for text in texts}:
        raise ValueError(f"These sentences are the evaluation's: {', '.join(sorted(shared))}.")
    return texts


def make_prompts(work: Path, prompts: Path) -> None:
    """Write `prompt.wav`, and where a voice has more sentences `recording.flac` and `transcript.txt`, of each voice."""
    folder = work / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    command = [teacher_python(work), Path(__file__).parent / "speak_kokoro.py", work, teacher_voices(work)]
    transcriber = Transcriber(model_folder(work / "models"))
    takes: dict[PromptText, Take] = {}
    waiting = texts = prompt_texts()
    for speed in SPEEDS:
        files = {text: folder / f"{text.voice}-{text.name}-{text.digest}-{speed}.wav" for text in waiting}
        speak(folder, [_job(text, speed, file) for text, file in files.items()], command)
        for text, file in files.items():
            transcript = transcriber.transcribe(file, LANGUAGE).text
            take = Take(file, error_rate(text.text, transcript, LANGUAGE))
            takes[text] = min(takes.get(text, take), take, key=lambda candidate: candidate.error_rate)
            logger.info("%s: CER %.2f, %s", file.stem, take.error_rate, transcript)
        waiting = [text for text in waiting if takes[text].error_rate > 0]
        if not waiting:
            break
    for voice in TEACHERS:
        sentences = {text: read_resampled(takes[text].file, RATE) for text in texts if text.voice == voice}
        _write_voice(prompts / voice, sentences)


def _job(text: PromptText, speed: float, file: Path) -> dict[str, object]:
    """Return what the teacher's program reads to speak a sentence."""
    words = spoken_words(text.text, LANGUAGE)
    return {
        "file": str(file),
        "language": LANGUAGE,
        "words": words,
        "voices": {TEACHERS[text.voice]: 1.0},
        "speed": speed,
    }


def _write_voice(folder: Path, sentences: dict[PromptText, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[np.ndarray] = []
    lines: list[str] = []
    start = 0.0
    for text, samples in sentences.items():
        if text.name == "prompt":
            write_wav(folder / "prompt.wav", _leveled(samples, LOUDNESS["prompt"]), RATE)
            continue
        end = start + len(samples) / RATE
        lines.append(f"{start:.2f}\t{end:.2f}\t{text.name}\t{text.text}\n")
        parts += [samples, np.zeros(round(GAP * RATE), np.float32)]
        start = end + GAP
    if parts:
        recording = to_int16(_leveled(np.concatenate(parts[:-1]), LOUDNESS["recording"]))
        with atomic_path(folder / "recording.flac") as temporary:
            soundfile.write(str(temporary), recording, RATE, format="FLAC", subtype="PCM_16")
        (folder / "transcript.txt").write_text("".join(lines), encoding="utf-8")


def _leveled(samples: np.ndarray, level: float) -> np.ndarray:
    gain = 10 ** ((level - loudness(samples)) / 20)
    return samples * min(gain, MAX_PEAK / peak(samples))
