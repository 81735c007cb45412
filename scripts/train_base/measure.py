"""The numbers of the base's card: every kind of speaker speaks sentences that no training saw, and is judged."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from common.repository import BUNDLED_PROMPTS
from core.speech.sampling import PAUSE_SECONDS
from GPT_SoVITS.audio import read_resampled, resample
from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.evaluation.evaluator import SAMPLE_RATE, Evaluator
from GPT_SoVITS.features.pitch import pitch
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder
from GPT_SoVITS.pipeline import Pipeline
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.text import phonemize
from scripts.train_base.clips import load_clips
from scripts.train_base.data import EVALUATION, speak
from scripts.train_base.sources import second_recognizer, teacher_python, teacher_voices
from scripts.train_base.teacher_text import spoken_words
from scripts.train_base.tones import Syllables, load_listener, syllables, train_classifier, wrong_share

logger = logging.getLogger(__name__)

UNSEEN: Final = {
    "en": ("af_jessica", "af_sky", "am_adam", "bf_lily", "bm_daniel"),
    "zh": ("af_jessica", "bm_daniel", "jf_alpha", "jf_nezumi", "jm_kumo"),
}
"""Voices of the teacher that no training heard, by the language of their recordings."""
PROMPTS: Final = {
    "en": "When the rain had stopped we walked slowly back along the river, talking about our plans for the summer.",
    "zh": "下班以后我常常去楼下的小店买一点水果，老板总是笑着跟我打招呼。",
}
"""What the unseen voices recorded."""
REFERENCE: Final = "zf_xiaoyi"
"""The teacher's voice whose tones the base's are compared with."""
SEED: Final = 1234
HOP: Final = 320


@dataclass(frozen=True, slots=True)
class SpeakerPrompt:
    """A recording that the base speaks in the voice of."""

    name: str
    kind: str
    """`bundled` or `unseen`."""
    language: str
    """Of the recording, and of what is spoken."""
    audio: Path
    text: str


@dataclass(frozen=True, slots=True)
class SpeakerMeasures:
    """Means over the sentences; error rates as shares of words in English, of characters in Mandarin."""

    name: str
    kind: str
    language: str
    error: float
    error_second: float | None
    """By another recognizer, of English alone."""
    wrong_tones: float | None
    """Share of the syllables of Mandarin, of those whose tone is clear when the teacher says them."""
    similarity: float
    dnsmos: float
    dnsmos_with_pause: float
    rtf: float


class Judges:
    """What judges speech, each loaded once."""

    def __init__(self, work: Path) -> None:
        """Load the listener of `align`, and train the classifier of tones on the teacher's speech."""
        models = model_folder(work / "models")
        self.second = Transcriber(second_recognizer(work), threads=1)
        self.content = ContentEncoder(models, threads=1)
        self.listener = load_listener(work / "align.pt")
        clips = [clip for clip in load_clips(work / "features" / "teacher-speech") if clip.language == "zh"]
        self.tones, self.unclear_tones = train_classifier(
            [syllables(self.listener, clip.content, clip.f0, clip.phones) for clip in clips]
        )
        files = speak_sentences(work, work / "references", "zh", REFERENCE, held_out_sentences("zh"))
        self.recordings = {text: read_resampled(file, SAMPLE_RATE) for text, file in files.items()}
        """The teacher's own reading of each sentence of Mandarin."""
        self.references = {text: self.syllables(samples, text) for text, samples in self.recordings.items()}

    def syllables(self, samples: np.ndarray, text: str) -> Syllables:
        """Find the syllables of Mandarin speech, (N,) at 16 kHz."""
        samples = samples[: len(samples) // (2 * HOP) * 2 * HOP]
        phones = np.array(phonemize(text, "zh", version="nano").ids, np.int16)
        return syllables(self.listener, self.content.encode(samples), pitch(samples, SAMPLE_RATE, HOP), phones)


def measure(work: Path, *, count: int, commit: str) -> Path:
    """Measure the shipped base with `count` sentences a speaker; `measures.json` beside it grows with each speaker."""
    out = BASE_FOLDER / "measures.json"
    pair = BASE_FOLDER / "gpt.safetensors", BASE_FOLDER / "sovits.safetensors"
    judges, helpers = Judges(work), HelperNetworks(work / "models", device="cpu")
    pipeline = Pipeline.load(*pair, models=work / "models", device="cpu", helpers=helpers)
    rows: list[dict[str, object]] = []
    teacher = measure_teacher(work, judges, held_out_sentences("zh")[:count])
    for prompt in (*bundled_prompts(), *unseen_prompts(work)):
        row = asdict(measure_speaker(work, judges, pipeline, prompt, held_out_sentences(prompt.language)[:count]))
        rows.append(row)
        logger.info(
            " ".join(f"{name} {value:.3f}" if isinstance(value, float) else str(value) for name, value in row.items())
        )
        document = {
            "commit": commit,
            "date": datetime.now(UTC).date().isoformat(),
            "sentences": count,
            "unclear_tones": judges.unclear_tones,
            "teacher": teacher,
            "speakers": rows,
        }
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return out


def measure_speaker(
    work: Path, judges: Judges, pipeline: Pipeline, speaker: SpeakerPrompt, sentences: Sequence[str]
) -> SpeakerMeasures:
    """Have the voice of a recording speak the sentences, and return the means of what is measured."""
    evaluator = Evaluator(work / "models", speaker.audio, threads=1)
    prompt = pipeline.prepare_prompt(speaker.audio, speaker.text, speaker.language)
    scores: list[dict[str, float]] = []
    spoken: list[Syllables] = []
    for number, text in enumerate(sentences):
        began = time.perf_counter()
        speech = pipeline.speak(text, speaker.language, prompt, seed=SEED + number)
        rtf = (time.perf_counter() - began) * speech.sample_rate / len(speech.samples)
        samples = resample(speech.samples, speech.sample_rate, SAMPLE_RATE)
        judged = evaluator.evaluate(samples, text, speaker.language)
        score = {"error": judged.wer, "similarity": judged.similarity, "dnsmos": judged.dnsmos, "rtf": rtf}
        score["dnsmos_with_pause"] = evaluator.quality.score(_with_pause(samples)).overall
        if speaker.language == "en":
            score["second"] = error_rate(text, judges.second.transcribe(samples, "en").text, "en")
        else:
            spoken.append(judges.syllables(samples, text))
        scores.append(score)

    def mean(name: str) -> float:
        return float(np.nanmean([score[name] for score in scores]))

    references = [judges.references[text] for text in sentences] if spoken else []
    return SpeakerMeasures(
        name=speaker.name,
        kind=speaker.kind,
        language=speaker.language,
        error=mean("error"),
        error_second=mean("second") if speaker.language == "en" else None,
        wrong_tones=wrong_share(judges.tones, spoken, references) if spoken else None,
        similarity=mean("similarity"),
        dnsmos=mean("dnsmos"),
        dnsmos_with_pause=mean("dnsmos_with_pause"),
        rtf=mean("rtf"),
    )


def measure_teacher(work: Path, judges: Judges, sentences: Sequence[str]) -> dict[str, object]:
    """Return the means of the teacher's own reading of sentences of Mandarin: its pupil can hardly do better."""
    evaluator = Evaluator(work / "models", None, threads=1)
    judged = [evaluator.evaluate(judges.recordings[text], text, "zh") for text in sentences]
    paused = [evaluator.quality.score(_with_pause(judges.recordings[text])).overall for text in sentences]
    return {
        "name": REFERENCE,
        "error": float(np.nanmean([row.wer for row in judged])),
        "dnsmos": float(np.nanmean([row.dnsmos for row in judged])),
        "dnsmos_with_pause": float(np.nanmean(paused)),
    }


def _with_pause(samples: np.ndarray) -> np.ndarray:
    """Add the silence that follows a sentence of a longer text, to which DNSMOS is used."""
    return np.pad(samples, (0, round(PAUSE_SECONDS * SAMPLE_RATE)))


def held_out_sentences(language: str) -> list[str]:
    """Return the sentences of `evaluation.<language>.txt`, which no training text holds."""
    lines = EVALUATION[language].read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def bundled_prompts() -> Iterator[SpeakerPrompt]:
    """Yield the voices that come with the product."""
    prompts = json.loads(BUNDLED_PROMPTS.read_text(encoding="utf-8"))["prompts"]
    for name, entry in prompts.items():
        yield SpeakerPrompt(name, "bundled", entry["language"], BUNDLED_PROMPTS.parent / entry["audio"], entry["text"])


def unseen_prompts(work: Path) -> Iterator[SpeakerPrompt]:
    """Yield the unseen voices, whose recordings are made where they are missing."""
    for language, names in UNSEEN.items():
        for name in names:
            [(text, file)] = speak_sentences(work, work / "unseen" / name, language, name, [PROMPTS[language]]).items()
            yield SpeakerPrompt(name, "unseen", language, file, text)


def speak_sentences(work: Path, folder: Path, language: str, voice: str, sentences: Sequence[str]) -> dict[str, Path]:
    """Have a voice of the teacher speak sentences, unless it has; return the file of each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {text: folder / f"{language}{number:03d}.wav" for number, text in enumerate(sentences)}
    jobs = [
        {
            "file": str(file),
            "language": language,
            "words": spoken_words(text, language),
            "voices": {voice: 1.0},
            "speed": 1.0,
        }
        for text, file in files.items()
    ]
    program = Path(__file__).parent / "speak_kokoro.py"
    speak(folder, jobs, [teacher_python(work), program, work, teacher_voices(work)])
    return files
