"""Cut the semantic tokens of a sentence into chunks, at pauses where there are any (inference-pipeline §13)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor

SILENCE_TOKEN = 486
"""The official codebooks' token of silence (s1-gpt §7)."""


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How speech is cut into chunks; all numbers are semantic tokens, 25 to the second.

    Raises:
        ValueError: The settings contradict one another.
    """

    first: int = 10
    """Minimum length of the first chunk, shorter than the others so that audio begins early."""
    least: int = 16
    """Minimum length of the second chunk (min_chunk_length)."""
    growth: float = 2.0
    """Ratio of a chunk's minimum length to that of the chunk before. Each chunk decodes a stretch of the one before
    again, so long ones cost less; while one is made, the listener has the one before to hear."""
    most: int = 60
    """Maximum length of a chunk, whether or not there is a pause in it."""
    first_most: int = 40
    """Maximum length of the first chunk; it bounds the wait for the first audio."""
    overlap: int = 2
    """Tokens at the end of a chunk that the next one decodes again, to be cross-faded into it."""
    context: int = 32
    """Tokens before a chunk that the text encoder reads again."""

    def __post_init__(self) -> None:
        if not 1 <= self.first <= min(self.most, self.first_most) or not 1 <= self.least <= self.most:
            raise ValueError("a chunk has at least one token and no more than `most`, or `first_most`")
        if self.growth < 1:
            raise ValueError("no chunk has a smaller minimum length than the one before")
        if not 1 <= self.overlap <= self.context:
            raise ValueError("chunks overlap by one token or more, and read at least that much again")


NANO_CHUNKS = ChunkSettings(first=20, least=30, growth=3.0, most=100, context=16)
"""For nano, which speaks so much faster than one listens that it can wait for longer chunks. Its first one is long:
few tokens sound another way alone than before others, and at 10 the joint is heard."""


class TokenChunker:
    """Collects the tokens of one sentence and decides where its chunks end.

    A chunk ends behind the first token that is as quiet as silence once it has its minimum length. Where there is none,
    it ends behind the quietest of those tokens when it has its maximum length. Tokens before the minimum length play no
    part.
    """

    def __init__(self, settings: ChunkSettings, silence_similarity: list[float] | None) -> None:
        """Cut by the cosine similarity of every token to silence; None cuts by length alone."""
        self.settings = settings
        self.silence_similarity = silence_similarity
        self.min_length = settings.first
        """Of the chunk that is being collected."""
        self.max_length = min(settings.first_most, settings.most)
        """Of the same."""
        self.next_min_length = float(settings.least)
        # Where chunks end at pauses, there must be some tokens to find one in.
        most = settings.most if silence_similarity is None else (settings.least + settings.most) // 2
        self.largest_min_length = float(max(settings.least, most))
        self.pending: list[int] = []

    def add(self, token: int) -> list[int]:
        """Return the chunk that this token completes, or an empty list."""
        self.pending.append(token)
        size = self._completed_length()
        chunk, self.pending = self.pending[:size], self.pending[size:]
        if chunk:
            self.min_length, self.max_length = int(self.next_min_length), self.settings.most
            self.next_min_length = min(self.next_min_length * self.settings.growth, self.largest_min_length)
        return chunk

    def flush(self) -> list[int]:
        """Return the tokens that are left at the end of the sentence, perhaps none."""
        chunk, self.pending = self.pending, []
        return chunk

    def _completed_length(self) -> int:
        """Return the length of the chunk that the pending tokens complete, or 0."""
        count = len(self.pending)
        if count < self.min_length:
            return 0
        if self.silence_similarity is None:
            return count
        window = [self.silence_similarity[token] for token in self.pending[self.min_length - 1 :]]
        # As upstream does: a position scores with its successor, and a loud token costs as much as it can.
        quietness = [similarity if similarity >= 0 else -1.0 for similarity in window]
        scores = [current + following for current, following in pairwise(quietness)]
        if scores and scores[-1] >= 0:
            return count - 1
        if count < self.max_length:
            return 0
        return self.min_length + max(range(len(scores)), key=scores.__getitem__) if scores else count


def silence_similarity(embedding: Tensor) -> list[float] | None:
    """Compute the cosine similarity of each row of a token embedding (V, E) with that of silence.

    Returns:
        V similarities, or None for a codebook that has no token of silence.
    """
    if len(embedding) <= SILENCE_TOKEN + 1:
        return None
    table = embedding.detach().float()
    similarities: list[float] = F.cosine_similarity(table, table[SILENCE_TOKEN : SILENCE_TOKEN + 1]).tolist()
    return similarities
