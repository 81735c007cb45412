"""Mandarin sentences for the teacher: the graded ones of hsk-sentences-audio, whose sound is not used."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

CHARACTERS = (4, 40)
"""Ideographs of a sentence."""
LONGEST = 48
"""Ideographs of an utterance: about twelve seconds."""
JOINED = (0.6, 0.4)
"""How often an utterance has one or two sentences."""
_PLAIN = re.compile("[一-龥，。！？、；：…]+")


def mandarin_examples(package: Path) -> list[str]:
    """Return every sentence in plain characters, in the order of the package."""
    lines = json.loads((package / "hsk_sentences_audio" / "data" / "sentences.json").read_text(encoding="utf-8"))
    texts = dict.fromkeys(line["chinese"].strip() for line in lines)
    return [text for text in texts if _PLAIN.fullmatch(text) and CHARACTERS[0] <= ideographs(text) <= CHARACTERS[1]]


def mandarin_utterances(sentences: list[str], *, seed: int, leave_out: set[str]) -> list[str]:
    """Return all sentences in a random order, joined by chance; none whose ideographs are among `leave_out`."""
    rng = random.Random(seed)
    pool = [text for text in sentences if ideographs_of(text) not in leave_out]
    rng.shuffle(pool)
    joined: list[str] = []
    while pool:
        parts = [pool.pop() for _ in range(min(len(pool), rng.choices((1, 2), JOINED)[0]))]
        parts = [part if part[-1] in "。！？…" else f"{part}。" for part in parts]
        text = "".join(parts)
        joined += [text] if ideographs(text) <= LONGEST else parts
    return joined


def ideographs_of(text: str) -> str:
    """Return what two spellings of one sentence share."""
    return "".join(re.findall("[一-龥]", text))


def ideographs(text: str) -> int:
    """Return how many ideographs a text has."""
    return len(ideographs_of(text))
