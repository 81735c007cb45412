"""Faults put into the tokens of clean speech, as models make them: what a verifier must find."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np

from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment
from GPT_SoVITS.synthesis.verification.verifier import TextToVerify

KINDS: Final = ("drop", "duplicate", "runaway", "loop", "silence", "truncated")
WORD_PHONEMES: Final = (3, 6)
"""Phonemes of a word that is dropped or said twice, at least and at most."""
RUNAWAY_TOKENS: Final = (25, 150)
LOOP_TIMES: Final = (6, 20)
SILENT_TOKENS: Final = (25, 60)


def inject(
    kind: str, tokens: Sequence[int], text: TextToVerify, other: Sequence[int], rng: random.Random
) -> list[int] | None:
    """Return tokens with a fault; None where the text has no word of `WORD_PHONEMES`. `other`: another sentence's."""
    assert text.listen is not None
    alignment = MonotonicAlignment(len(text.is_pause))
    alignment.extend(text.listen(tokens))
    path = alignment.path(whole=True)
    lengths = range(WORD_PHONEMES[0], WORD_PHONEMES[1] + 1)
    words = [
        (start, start + length)
        for length in lengths
        for start in range(len(text.is_pause) - length)
        if not text.is_pause[start : start + length].any()
    ]
    if not words:
        return None
    first, last = rng.choice(words)
    start, end = (int(np.searchsorted(path, phoneme)) for phoneme in (first, last))
    tokens = list(tokens)
    match kind:
        case "drop":
            return tokens[:start] + tokens[end:]
        case "duplicate":
            return tokens[:end] + tokens[start:]
        case "runaway":
            repeated = list(other) * (1 + RUNAWAY_TOKENS[1] // len(other))
            return tokens + repeated[: rng.randint(*RUNAWAY_TOKENS)]
        case "loop":
            return tokens[: start + 4] + tokens[start : start + 4] * rng.randint(*LOOP_TIMES) + tokens[start + 4 :]
        case "silence":
            return tokens[:start] + [tokens[-1]] * rng.randint(*SILENT_TOKENS) + tokens[start:]
        case _:
            spoken = np.flatnonzero(~text.is_pause)
            return tokens[: int(np.searchsorted(path, spoken[-2]))]
