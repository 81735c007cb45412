"""Gathers the base model's speech: what a real speaker recorded, and what Piper reads in several made-up voices."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
from pathlib import Path

from scripts.train_base.sentences import examples, utterances, words_of
from scripts.train_base.sources import WORDNET, piper_python, unpack

logger = logging.getLogger(__name__)

SEED = 20
SPEAKERS = {"joe84": 0.84, "joe92": 0.92, "joe": 1.0, "joe110": 1.10, "joe120": 1.20, "joe130": 1.30}
"""Speaker to the factor by which pitch and formants are raised."""
HOURS = 6.0
WORDS_PER_SECOND = 2.7
EVALUATION = Path(__file__).parent / "evaluation.txt"
"""Sentences that no training text may hold."""


def gather_synthetic(work: Path, *, hours: float = HOURS) -> Path:
    """`<work>/synthetic/`: WAV files and `texts.jsonl`; goes on where an earlier call stopped."""
    folder = work / "synthetic"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _plan(folder, examples(unpack(WORDNET, work)), hours)
    (folder / "texts.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs), encoding="utf-8")
    waiting = [job for job in jobs if not Path(str(job["file"])).exists()]
    logger.info("%d of %d utterances are to be spoken.", len(waiting), len(jobs))
    subprocess.run(
        [piper_python(work), Path(__file__).parent / "speak_piper.py"],
        input="".join(json.dumps(job) + "\n" for job in waiting),
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return folder


def _plan(folder: Path, sentences: list[str], hours: float) -> list[dict[str, object]]:
    leave_out = {words_of(line) for line in EVALUATION.read_text(encoding="utf-8").splitlines() if line.strip()}
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
