"""As which phonemes clean speech is heard, so that habits of voices are no faults: a noisy channel behind a classifier.

English voices say "libr'y" for library, and a classifier seldom tells how a vowel is stressed. `confusions.json`
counts, of each phoneme, the tokens of nano's base by the phoneme that they were classified as; it is made by
`scripts/train-base confusions`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from GPT_SoVITS.text.symbols import PUNCTUATION, symbols

COUNTS = Path(__file__).with_name("confusions.json")
PAUSE = PUNCTUATION[0]
"""Stands for all punctuation."""
DOUBT = 20.0
"""Tokens of the usual confusion that are added to those of a phoneme."""
OTHER_STRESS = 0.2
"""The share of the same vowel with another stress or tone in the usual confusion."""
LEAST_SHARE = 0.003
"""A phoneme that is heard more seldom is a fault."""


class PhonemeConfusions:
    """The share of each phoneme's tokens that are heard as another one."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]], version: str = "v2") -> None:
        """Learn from the numbers of tokens by the phoneme that they speak and by the one that they are heard as."""
        names = symbols(version)
        ids = {name: index for index, name in enumerate(names)}
        variants: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            variants[_without_stress(name)].append(index)
        self.shares = np.zeros((len(names), len(names)), np.float32)
        """(V, V): by the phoneme that is spoken, of those that are heard."""
        for index, name in enumerate(names):
            row = self.shares[index]
            others = [variant for variant in variants[_without_stress(name)] if variant != index]
            row[index] = DOUBT * (1 - OTHER_STRESS if others else 1)
            row[others] = DOUBT * OTHER_STRESS / max(1, len(others))
            for label, count in counts.get(name, {}).items():
                row[ids[label]] += count
            row /= row.sum()
            row[row < LEAST_SHARE] = 0.0
        self.shares[[ids[name] for name in PUNCTUATION]] = self.shares[ids[PAUSE]]

    def fit(self, log_probs: np.ndarray, phonemes: np.ndarray) -> np.ndarray:
        """Return the log-probability (T, S) of tokens (T, V) where they speak the phonemes (S,).

        Every punctuation has the probability of all of them.
        """
        probabilities = np.exp(log_probs) @ self.shares[phonemes].T
        logs: np.ndarray = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        return logs


def _without_stress(phoneme: str) -> str:
    return phoneme.rstrip("0123456789") or phoneme


@cache
def base_confusions() -> PhonemeConfusions:
    """Return those of nano's base, which voices that were trained from it share."""
    return PhonemeConfusions(json.loads(COUNTS.read_text(encoding="utf-8")))
