"""Trains nano's GPT on the base's speech, by the project's own training: phonemes to tokens.

A clip is learnt alone, and behind another clip of its speaker, since texts may be longer than the clips are.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.text.symbols import symbols
from GPT_SoVITS.training.program import run_program
from scripts.train_base.acoustic import Set
from scripts.train_base.clips import Clip
from scripts.train_base.guide import JOIN, GuidedTraining

SEED = 1
BATCH_SIZE = 8
LONGEST = 320
"""Tokens of two clips in one line: 13 s."""
REAL = 6
"""How many times the real speaker's clips are paired, each time anew."""


def write_training_set(data: Set, folder: Path, *, varied: dict[str, np.ndarray]) -> int:
    """Write the clips as a training-set folder (s1-gpt §12) and return how many lines it has. `varied` are tokens
    of the clips at other speeds, by `<clip>~<n>`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = symbols("nano")
    texts, tokens = [], ["item_name\tsemantic_audio"]
    for name, phones, codes in _items(data, varied):
        texts.append("\t".join([name, " ".join(names[i] for i in phones), "", name]))
        tokens.append(f"{name}\t{' '.join(map(str, codes))}")
    (folder / "2-name2text.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (folder / "6-name2semantic.tsv").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return len(texts)


def fit(work: Path, pointers: dict[str, np.ndarray], *, epochs: int, threads: int, base: Path | None) -> None:
    """Train from `base`, or go on, as `GPT_SoVITS.train` does; the result is the last of `<work>/gpt`."""
    plan = {
        "version": "nano", "data": str(work / "language"), "output": str(work / "gpt"), "epochs": epochs,
        "batch_size": BATCH_SIZE, "save_every_epoch": 1, "seed": SEED, "threads": threads, "precision": "auto",
        "base": str(base) if base else None,
        "train": {"learning_rate": 0.005 if base else 0.01, "warmup_updates": 200, "final_rate_factor": 0.03},
    }  # fmt: skip
    run = work / "gpt" / "RUN.json"
    run.parent.mkdir(parents=True, exist_ok=True)
    run.write_text(json.dumps(plan), encoding="utf-8")

    def begin(path: Path, emit: Callable[..., None], stop: threading.Event) -> GuidedTraining:
        training = GuidedTraining(GPTTrainingConfig.read(path), emit, stop)
        training.clips = pointers
        return training

    raise SystemExit(run_program("scripts/train-base language", [str(run)], begin))


def _items(data: Set, varied: dict[str, np.ndarray]) -> Iterator[tuple[str, list[int], list[int]]]:
    """(name, phonemes, tokens)."""
    phones = {clip.name: clip.phones.tolist() for clip in data.clips}
    for name, tokens in sorted(varied.items()):
        if (source := name.partition("~")[0]) in phones:
            yield name, phones[source], tokens.tolist()
    rng = random.Random(SEED)
    for speaker, clips in sorted(data.by_speaker.items()):
        for clip in clips:
            yield clip.name, clip.phones.tolist(), data.codes[clip.name].tolist()
        for turn in range(REAL if speaker == "allison" else 1):
            for before, after in _pairs(clips, rng):
                codes = [*data.codes[before.name].tolist(), *data.codes[after.name].tolist()]
                if len(codes) <= LONGEST:
                    name = f"{before.name}{JOIN}{after.name}-{turn}"
                    yield name, [*before.phones.tolist(), *after.phones.tolist()], codes


def _pairs(clips: Sequence[Clip], rng: random.Random) -> Iterator[tuple[Clip, Clip]]:
    """All clips in a random order, two by two."""
    order = list(clips)
    rng.shuffle(order)
    return zip(order[::2], order[1::2], strict=False)
