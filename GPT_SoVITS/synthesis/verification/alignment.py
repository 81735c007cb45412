"""How tokens and phonemes go together: the likeliest monotonic path of tokens through a text, grown token by token.

Unlike the decoder's alignment (`sovits/aligned_text.py`), which must give every phoneme its frames whatever was said,
this one is read for how badly they fit. Shapes: T tokens, S phonemes.
"""

from __future__ import annotations

import numpy as np

WORST_LOG_PROB = -20.0
"""Of a token: a phoneme that the classifier never saw must not bend the whole path."""


class MonotonicAlignment:
    """The likeliest path through the phonemes of a text, which begins with the first and skips none."""

    def __init__(self, phonemes: np.ndarray) -> None:
        """Begin before the first token of a text of ids (S,)."""
        self.phonemes = phonemes
        self._total = np.full(len(phonemes) + 1, -np.inf)
        """Of the best path that ends at each phoneme, behind one that nothing reaches."""
        self._moved: list[np.ndarray] = []
        self._emissions: list[np.ndarray] = []
        self._best: list[np.ndarray] = []

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._moved)

    def extend(self, log_probs: np.ndarray) -> None:
        """Add tokens, by the log-probabilities (T, symbols) of the phonemes that they may speak."""
        emissions = np.maximum(log_probs[:, self.phonemes], WORST_LOG_PROB)  # (T, S)
        stayed, came = self._total[1:], self._total[:-1]
        for emission in emissions:
            if not self._moved:
                stayed[0] = 0.0
            moved = came > stayed
            stayed[:] = np.maximum(came, stayed) + emission
            self._moved.append(moved)
        self._emissions += list(emissions)
        self._best += list(np.maximum(log_probs.max(axis=1), WORST_LOG_PROB))

    def path(self, *, whole: bool) -> np.ndarray:
        """Return the phoneme of every token as indices (T,); `whole`: the last token speaks the last phoneme.

        Where a whole text has more phonemes than tokens, the path begins behind the first phoneme.
        """
        state = len(self.phonemes) - 1 if whole else int(self._total[1:].argmax())
        path = np.empty(len(self._moved), dtype=np.int64)
        for token in range(len(path) - 1, -1, -1):
            path[token] = state
            state -= int(self._moved[token][state])
        return path

    def mismatch(self, path: np.ndarray) -> np.ndarray:
        """Return by how much each token of a path (T,) fits worse than to its likeliest phoneme, in nats, from 0."""
        emissions = np.stack(self._emissions)
        mismatch: np.ndarray = np.asarray(self._best) - emissions[np.arange(len(path)), path]
        return mismatch
