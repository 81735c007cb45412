"""The sentences that the synthetic speaker reads: the examples quoted in WordNet, one to three to an utterance."""

from __future__ import annotations

import random
import re
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z ,;'.?!-]+")
_QUOTED = re.compile(r'"([^"]+)"')
WORDS = (3, 18)
"""Of one example."""
LONGEST_UTTERANCE = 26
"""Words; about ten seconds."""
JOINED = (0.5, 0.35, 0.15)
"""How often an utterance has one, two or three sentences."""


def examples(wordnet: Path) -> list[str]:
    """Every quoted example that is plain English, in the order of the alphabet."""
    quoted: set[str] = set()
    for file in sorted(wordnet.rglob("data.*")):
        for line in file.read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence
                quoted.update(_tidy(sentence) for sentence in _QUOTED.findall(line.partition("|")[2]))
    return sorted(quoted - {""})


def utterances(sentences: list[str], *, seed: int, leave_out: set[str]) -> list[str]:
    """All the sentences in a random order, joined by chance; none whose words are among `leave_out`."""
    rng = random.Random(seed)
    pool = [sentence for sentence in sentences if words_of(sentence) not in leave_out]
    rng.shuffle(pool)
    sentences_out = []
    while pool:
        parts = [pool.pop() for _ in range(min(len(pool), rng.choices((1, 2, 3), JOINED)[0]))]
        text = " ".join(parts)
        if len(text.split()) <= LONGEST_UTTERANCE:
            sentences_out.append(text)
        else:
            sentences_out += parts
    return sentences_out


def words_of(text: str) -> str:
    """Return what two spellings of one sentence share."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def _tidy(example: str) -> str:
    text = " ".join(example.replace(";", ",").split()).strip(" ,-")
    if not _PLAIN.fullmatch(text) or not WORDS[0] <= len(text.split()) <= WORDS[1]:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else f"{text}."
