"""Gathers the base model's synthetic speech: what Piper and the teacher read, in many voices and two languages."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from common.programs import bound_command
from GPT_SoVITS.evaluation.sentences import packaged_sentences
from scripts.train_base.mandarin_sentences import ideographs_of, mandarin_examples, mandarin_utterances
from scripts.train_base.sentences import examples, utterances, words_of
from scripts.train_base.sources import (
    WORDNET,
    mandarin_texts,
    piper_python,
    teacher_python,
    teacher_voices,
    unpack,
)
from scripts.train_base.speakers import Speaker, further_speakers, speakers
from scripts.train_base.teacher_text import spoken_words

logger = logging.getLogger(__name__)

SEED = 20
SPEAKERS = {"joe84": 0.84, "joe92": 0.92, "joe": 1.0, "joe110": 1.10, "joe120": 1.20, "joe130": 1.30}
"""Speaker to the factor by which pitch and formants are raised."""
HOURS = 6.0
WORDS_PER_SECOND = 2.7
IDEOGRAPHS_PER_SECOND = 4.2
SPEEDS = (0.85, 1.15)
FURTHER_CLIPS = 18
"""Of each of the further speakers."""
EVALUATION = {language: Path(__file__).parent / f"evaluation.{language}.txt" for language in ("en", "zh")}
"""Sentences that no training text may hold, beside those that `main.py evaluate` reads."""


def gather_synthetic(work: Path, *, hours: float = HOURS, processes: int = 1) -> Path:
    """`<work>/synthetic/`: WAV files and `texts.jsonl`; goes on where an earlier call stopped."""
    folder = work / "synthetic"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _plan(folder, examples(unpack(WORDNET, work)), hours)
    speak(folder, jobs, [piper_python(work), Path(__file__).parent / "speak_piper.py"], processes=processes)
    return folder


def gather_teacher(work: Path, *, hours: float, processes: int = 1) -> Path:
    """`<work>/teacher-speech/`: WAV files and `texts.jsonl`, half of them Mandarin; goes on where it was stopped."""
    folder = work / "teacher-speech"
    folder.mkdir(parents=True, exist_ok=True)
    english = utterances(examples(unpack(WORDNET, work)), seed=SEED + 1, leave_out=held_out("en"))
    sentences = mandarin_examples(mandarin_texts(work))
    mandarin = [  # twice, since there are two hours of them: each by two speakers, beside other sentences
        text for turn in range(2) for text in mandarin_utterances(sentences, seed=SEED + turn, leave_out=held_out("zh"))
    ]
    jobs = [
        *_teacher_plan(folder, "zh", mandarin, hours / 2),
        *_teacher_plan(folder, "en", english, hours / 2),
        *_further_plan(folder, {"zh": mandarin, "en": english}),
    ]
    random.Random(SEED).shuffle(jobs)  # whenever it is stopped, every speaker has spoken in both languages
    program = Path(__file__).parent / "speak_kokoro.py"
    speak(folder, jobs, [teacher_python(work), program, work, teacher_voices(work)], processes=processes)
    return folder


def held_out(language: str) -> set[str]:
    """Return the sentences of the evaluation, as `words_of` and `ideographs_of` spell them."""
    lines = EVALUATION[language].read_text(encoding="utf-8").splitlines() + packaged_sentences(language)
    return {words_of(line) if language == "en" else ideographs_of(line) for line in lines if line.strip()}


def speak(folder: Path, jobs: Sequence[Mapping[str, object]], command: Sequence[Path], *, processes: int = 1) -> None:
    """Have programs of another environment, which end with this process, speak the jobs that were not yet spoken."""
    (folder / "texts.jsonl").write_text(
        "".join(json.dumps(job, ensure_ascii=False) + "\n" for job in jobs), encoding="utf-8"
    )
    waiting = [job for job in jobs if not Path(str(job["file"])).exists()]
    logger.info("%d of %d utterances are to be spoken.", len(waiting), len(jobs))
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(partial(_run_speaker, command), (waiting[number::processes] for number in range(processes))))


def _run_speaker(command: Sequence[Path], jobs: Sequence[Mapping[str, object]]) -> None:
    subprocess.run(
        bound_command([str(part) for part in command]),
        input="".join(json.dumps(job) + "\n" for job in jobs),
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _seconds(text: str, language: str) -> float:
    if language == "zh":
        return len(ideographs_of(text)) / IDEOGRAPHS_PER_SECOND
    return len(text.split()) / WORDS_PER_SECOND


def _teacher_plan(folder: Path, language: str, texts: list[str], hours: float) -> list[dict[str, object]]:
    rng = random.Random(f"{SEED} {language}")
    people = speakers()
    shares = [person.mandarin if language == "zh" else 1 - person.mandarin for person in people]
    jobs: list[dict[str, object]] = []
    seconds = 0.0
    for number, text in enumerate(texts):
        if seconds > hours * 3600:
            break
        words = spoken_words(text, language)
        if words is None:
            continue
        person, speed = rng.choices(people, shares)[0], rng.uniform(*SPEEDS)
        seconds += _seconds(text, language) / speed
        jobs.append(_teacher_job(folder / f"{language}{number:06d}-{person.name}.wav", person, text, words, speed))
    return jobs


def _further_plan(folder: Path, texts: Mapping[str, list[str]]) -> list[dict[str, object]]:
    rng = random.Random(SEED + 2)
    jobs: list[dict[str, object]] = []
    for person in further_speakers():
        for number in range(FURTHER_CLIPS):
            language = "zh" if number < FURTHER_CLIPS * person.mandarin else "en"
            text = rng.choice(texts[language])
            words, speed = spoken_words(text, language), rng.uniform(*SPEEDS)
            if words is not None:
                file = folder / f"{language}further{number:02d}-{person.name}.wav"
                jobs.append(_teacher_job(file, person, text, words, speed))
    return jobs


def _teacher_job(file: Path, person: Speaker, text: str, words: list[list[str]], speed: float) -> dict[str, object]:
    return {
        "file": str(file),
        "speaker": person.name,
        "language": file.name[:2],
        "text": text,
        "words": words,
        "voices": person.voices,
        "speed": round(speed, 3),
    }


def _plan(folder: Path, sentences: list[str], hours: float) -> list[dict[str, object]]:
    leave_out = held_out("en")
    rng = random.Random(SEED)
    jobs, words = [], 0
    for number, text in enumerate(utterances(sentences, seed=SEED, leave_out=leave_out)):
        if words / WORDS_PER_SECOND > hours * 3600:
            break
        words += len(text.split())
        speaker = rng.choice(list(SPEAKERS))
        factor = SPEAKERS[speaker] * rng.uniform(0.97, 1.03)
        jobs.append(
            {
                "file": str(folder / f"{number:06d}-{speaker}.wav"),
                "speaker": speaker,
                "text": text,
                # The higher voice is played faster, so it must speak slower by as much.
                "length_scale": round(factor * rng.uniform(0.9, 1.15), 3),
                "rate_factor": round(factor, 4),
                "noise_scale": round(rng.uniform(0.5, 0.8), 3),
                "seed": number,
            }
        )
    return jobs
