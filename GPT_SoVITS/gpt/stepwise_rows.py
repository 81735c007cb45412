"""Rows that a `Decoder` reads token by token, with a sampler beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.gpt.decoder import Decoder
from GPT_SoVITS.gpt.row_lanes import GenerationRequest
from GPT_SoVITS.gpt.row_sampler import RowSampler


class StepwiseRows:
    """See RowLane: there is always room, and a step draws one token of every row."""

    def __init__(self, decoder: Decoder, config: GPTConfig, device: torch.device, read_interval: int) -> None:
        """Begin without rows; tokens are read from the device once in so many steps."""
        self.decoder = decoder
        self.config = config
        self.device = device
        self.read_interval = read_interval
        self.rows: list[GenerationRequest] = []  # in the order of the decoder's rows
        self.joining: list[GenerationRequest] = []
        self.unread: list[Tensor] = []  # tokens (B,) of each step since the last transfer
        self.last_tokens = torch.empty(0, dtype=torch.long, device=device)
        """(B,), drawn in the last step."""
        self.sampler = RowSampler(config.vocab_size, config.end_token, device)

    def accept(self, requests: Sequence[GenerationRequest]) -> Sequence[GenerationRequest]:
        """Take all rows; see RowLane."""
        self.joining += requests
        return ()

    def step(self) -> list[GenerationRequest]:
        """Draw one more token of every row; see RowLane."""
        ended = self.read() if self.joining else []  # the unread steps are those of the same rows
        logits = [self.decoder.step(self.last_tokens)] if self.rows else []
        if self.joining:
            logits.append(self._admit_joining())
        if logits:
            self.last_tokens = self.sampler.draw(logits[0] if len(logits) == 1 else torch.cat(logits))
            self.unread.append(self.last_tokens)
        if len(self.unread) >= self.read_interval:
            ended += self.read()
        return ended

    def read(self) -> list[GenerationRequest]:
        """Transfer the unread tokens and remove the rows that ended; see RowLane."""
        if not self.unread:
            return []
        steps = (self.unread[0][None] if len(self.unread) == 1 else torch.stack(self.unread)).tolist()
        self.unread = []
        for i, request in enumerate(self.rows):
            request.append([step[i] for step in steps], self.config.end_token)
        ended = [i for i, request in enumerate(self.rows) if request.ended]
        requests = [self.rows[i] for i in ended]
        if ended:
            self._remove_rows(ended)
        return requests

    def remove(self, request: GenerationRequest) -> None:
        """Remove a row, whose tokens were read; see RowLane."""
        self._remove_rows([self.rows.index(request)])

    def _admit_joining(self) -> Tensor:
        """Prefill the W joining rows behind those that run and return their logits, (W, V)."""
        joining, self.joining = self.joining, []
        logits = self.decoder.prefill([r.row for r in joining], max(r.limit for r in joining))
        self.rows += joining
        self.sampler.add_rows([r.sampled for r in joining])
        return logits

    def _remove_rows(self, rows: list[int]) -> None:
        order = list(range(len(self.rows)))
        for i in reversed(rows):
            self.decoder.remove_row(i)
            order[i] = order[-1]
            order.pop()
        self.rows = [self.rows[i] for i in order]
        self.last_tokens = self.last_tokens[torch.tensor(order, dtype=torch.long, device=self.device)]
        self.sampler.keep_rows(order)
