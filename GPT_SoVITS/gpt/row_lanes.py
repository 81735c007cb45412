"""What a running batch consists of: its requests, and the lanes that decode them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.row_sampler import SampledRow


@dataclass(eq=False, slots=True)
class GenerationRequest:
    """A row that waits or runs."""

    request_id: int
    row: GenerationInput
    sampled: SampledRow
    limit: int
    """Most tokens."""
    tokens: list[int] = field(default_factory=list)
    """Those that were read, without the end token."""
    ended: bool = False

    def append(self, tokens: Sequence[int], end: int) -> None:
        """Keep drawn tokens up to the end token or the limit."""
        if end in tokens:
            tokens, self.ended = tokens[: tokens.index(end)], True
        self.tokens += tokens[: self.limit - len(self.tokens)]
        self.ended = self.ended or len(self.tokens) == self.limit


class RowLane(Protocol):
    """Decodes rows side by side and draws their tokens.

    A row's tokens must not depend on which other rows are there.
    """

    @property
    def rows(self) -> Sequence[GenerationRequest]:
        """Return the rows that have not ended, as far as their tokens were read."""

    def accept(self, requests: Sequence[GenerationRequest]) -> Sequence[GenerationRequest]:
        """Take the rows for which there is room, to be read in the next step, and return the others."""

    def step(self) -> list[GenerationRequest]:
        """Draw one or more tokens of every row, if there are rows; return those that have ended and were removed."""

    def read(self) -> list[GenerationRequest]:
        """Read all tokens that were drawn, waiting for the device; return the rows that have ended and were removed."""

    def remove(self, request: GenerationRequest) -> None:
        """Remove a row that has not ended."""
