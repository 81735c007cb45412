"""How tokens and phonemes go together: the likeliest monotonic path of tokens through a text, grown token by token.

Unlike the decoder's alignment (`sovits/aligned_text.py`), which must give every phoneme its frames whatever was said,
this one is read for how badly they fit. Shapes: T tokens, S phonemes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WORST_LOG_PROB = -20.0
"""Of a token: a phoneme that the classifier never saw must not bend the whole path."""


class TokenEvidence(NamedTuple):
    """What is known of tokens."""

    fit: np.ndarray
    """(T, S) log-probability of each token where it speaks each phoneme of the text."""
    best: np.ndarray
    """(T,) the largest log-probability that a token could have."""
    labels: np.ndarray
    """(T,) what each token is heard as: equal numbers for the same."""


class MonotonicAlignment:
    """The likeliest path through the phonemes of a text, which begins with the first and skips none."""

    def __init__(self, count: int) -> None:
        """Begin before the first token of a text of so many phonemes."""
        self._total = np.full(count + 1, -np.inf)
        """Of the best path that ends at each phoneme, behind one that nothing reaches."""
        self._moved: list[np.ndarray] = []
        self._fit: list[np.ndarray] = []
        self._best: list[np.ndarray] = []
        self._labels: list[int] = []

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._moved)

    def extend(self, evidence: TokenEvidence) -> None:
        """Add tokens."""
        fit = np.maximum(evidence.fit, WORST_LOG_PROB)  # (T, S)
        stayed, came = self._total[1:], self._total[:-1]
        for row in fit:
            if not self._moved:
                self._moved.append(np.zeros(len(row), bool))
                stayed[0] = row[0]
                continue
            self._moved.append(came > stayed)
            stayed[:] = np.maximum(came, stayed) + row
        self._fit += list(fit)
        self._best += list(np.maximum(evidence.best, WORST_LOG_PROB))
        self._labels += evidence.labels.tolist()

    def path(self, *, whole: bool) -> np.ndarray:
        """Return the phoneme of every token as indices (T,); `whole`: the last token speaks the last phoneme.

        Where a whole text has more phonemes than tokens, the path begins behind the first phoneme.
        """
        state = len(self._total) - 2 if whole else int(self._total[1:].argmax())
        path = np.empty(len(self._moved), dtype=np.int64)
        for token in range(len(path) - 1, -1, -1):
            path[token] = state
            state -= int(self._moved[token][state])
        return path

    def mismatch(self, path: np.ndarray) -> np.ndarray:
        """Return by how much each token of a path (T,) fits worse than to its likeliest phoneme, in nats, from 0."""
        fit = np.stack(self._fit)[np.arange(len(path)), path]
        mismatch: np.ndarray = np.maximum(np.asarray(self._best) - fit, 0.0)
        return mismatch

    @property
    def labels(self) -> np.ndarray:
        """What each token is heard as, as in its evidence (T,)."""
        return np.asarray(self._labels)
