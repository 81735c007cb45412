"""Continuous batching: rows join and leave a running batch, each with its own settings and noise.

A row's tokens depend on its input and its noise alone, never on which other rows are in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.row_sampler import RowSampler, SampledRow
from GPT_SoVITS.gpt.sampling import NoiseSource, SamplingSettings

MAX_TOKENS = 1500
"""60 s; no sequence grows longer."""
READ_INTERVAL = 8
"""Steps between two transfers of tokens from an accelerator, each of which waits for the device."""


class ContinuousBatch:
    """Rows that are decoded side by side, one token per row and step (specification s1-gpt §5.2).

    Not thread-safe. `len()` is the number of requests whose tokens have not been returned.
    """

    def __init__(
        self,
        model: Text2Semantic,
        *,
        decoder: Decoder | None = None,
        precision: Precision = "auto",
        read_interval: int | None = None,
    ) -> None:
        """Begin without rows.

        Args:
            model: the GPT.
            decoder: an empty decoder; by default the fastest (`new_decoder`).
            precision: of the weights of the default decoder.
            read_interval: steps between two looks at which rows have ended; it changes only the speed.
        """
        self.config = model.config
        self.device = model.device
        self.decoder: Decoder = decoder or new_decoder(model, precision)
        self.read_interval = read_interval or (1 if self.device.type == "cpu" else READ_INTERVAL)
        self.waiting: list[_GenerationRequest] = []
        self.running: list[_GenerationRequest] = []  # in the order of the decoder's rows
        self.finished: dict[int, list[int]] = {}
        self.last_id = 0
        self.unread: list[Tensor] = []  # tokens (B,) of each step since the last transfer
        self.last_tokens = torch.empty(0, dtype=torch.long, device=self.device)
        """(B,), drawn in the last step."""
        self.sampler = RowSampler(self.config.vocab_size, self.config.end_token, self.device)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.finished)

    def add_request(
        self,
        row: GenerationInput,
        settings: SamplingSettings,
        noise_source: NoiseSource,
        forced: Sequence[int] = (),
    ) -> int:
        """Queue a row, which joins at the next step.

        Args:
            row: what the sequence begins with.
            settings: how its tokens are drawn.
            noise_source: the row's own seed, or recorded noise, (steps, V).
            forced: the first tokens, where they are decided; the row goes on behind them.

        Returns:
            The request's id.

        Raises:
            ModelError: "empty_text", "wrong_symbols" or "wrong_tokens": the model has no such ids.
        """
        _check_ids(self.config, row)
        count = settings.early_stop_num
        limit = MAX_TOKENS if count == -1 else min(MAX_TOKENS, max(count, 0) + 1)
        self.last_id += 1
        sampled = SampledRow(settings, noise_source, row.prompt, forced)
        self.waiting.append(_GenerationRequest(self.last_id, row, sampled, limit))
        return self.last_id

    @torch.inference_mode()
    def step(self) -> dict[int, list[int]]:
        """Draw one more token of every row.

        On an accelerator most steps only start work and wait for none, so that an end shows a few steps later.

        Returns:
            The tokens of the requests that have ended, by id.
        """
        if self.waiting:
            self._read_tokens()  # the unread steps are those of the same rows
        logits = [self.decoder.step(self.last_tokens)] if self.running else []
        if self.waiting:
            logits.append(self._admit_waiting())
        if logits:
            self._draw_tokens(logits[0] if len(logits) == 1 else torch.cat(logits))
        finished, self.finished = self.finished, {}
        return finished

    def known_tokens(self) -> dict[int, Sequence[int]]:
        """Return the tokens of the running requests, by id, as far as they were read; waits for nothing."""
        return {request.request_id: request.tokens for request in self.running}

    def tokens(self, request_id: int) -> list[int]:
        """Return a request's tokens so far, without the end token. Raises KeyError if it was returned or removed."""
        self._read_tokens()
        return self.finished[request_id] if request_id in self.finished else list(self._find(request_id).tokens)

    def remove_request(self, request_id: int) -> None:
        """Abort a request. Raises KeyError if it was returned or removed."""
        self._read_tokens()
        if self.finished.pop(request_id, None) is not None:
            return
        request = self._find(request_id)
        if request in self.waiting:
            self.waiting.remove(request)
        else:
            self._remove_rows([self.running.index(request)])

    def _admit_waiting(self) -> Tensor:
        """Prefill the W waiting rows behind those that run and return their logits, (W, V)."""
        joining, self.waiting = self.waiting, []
        logits = self.decoder.prefill([r.row for r in joining], max(r.limit for r in joining))
        self.running += joining
        self.sampler.add_rows([r.sampled for r in joining])
        return logits

    def _draw_tokens(self, logits: Tensor) -> None:
        """Draw a token of every row from logits (B, V)."""
        self.last_tokens = self.sampler.draw(logits)
        self.unread.append(self.last_tokens)
        if len(self.unread) >= self.read_interval:
            self._read_tokens()

    @torch.inference_mode()
    def _read_tokens(self) -> None:
        """Transfer the unread tokens and remove the rows that ended; this waits for the device."""
        if not self.unread:
            return
        steps = (self.unread[0][None] if len(self.unread) == 1 else torch.stack(self.unread)).tolist()
        self.unread = []
        for i, request in enumerate(self.running):
            request.append([step[i] for step in steps], self.config.end_token)
        ended = [i for i, request in enumerate(self.running) if request.ended]
        self.finished |= {self.running[i].request_id: self.running[i].tokens for i in ended}
        if ended:
            self._remove_rows(ended)

    @torch.inference_mode()
    def _remove_rows(self, rows: list[int]) -> None:
        order = list(range(len(self.running)))
        for i in reversed(rows):
            self.decoder.remove_row(i)
            order[i] = order[-1]
            order.pop()
        self.running = [self.running[i] for i in order]
        self.last_tokens = self.last_tokens[torch.tensor(order, dtype=torch.long, device=self.device)]
        self.sampler.keep_rows(order)

    def _find(self, request_id: int) -> _GenerationRequest:
        for request in (*self.waiting, *self.running):
            if request.request_id == request_id:
                return request
        raise KeyError(request_id)


@dataclass(eq=False, slots=True)
class _GenerationRequest:
    """A row that waits or runs."""

    request_id: int
    row: GenerationInput
    sampled: SampledRow
    limit: int
    """Most tokens."""
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    def append(self, tokens: list[int], end: int) -> None:
        """Keep drawn tokens up to the end token or the limit."""
        if end in tokens:
            tokens, self.ended = tokens[: tokens.index(end)], True
        self.tokens += tokens[: self.limit - len(self.tokens)]
        self.ended = self.ended or len(self.tokens) == self.limit


def _check_ids(config: GPTConfig, row: GenerationInput) -> None:
    """Raise ModelError for ids beyond the embeddings; an accelerator would report them without saying which."""
    if len(row.phonemes) == 0:
        raise ModelError("empty_text", "There are no phonemes to speak.")
    if int(row.phonemes.max()) >= config.phoneme_vocab_size:
        raise ModelError(
            "wrong_symbols",
            f"Phoneme id {int(row.phonemes.max())} is beyond the {config.phoneme_vocab_size} of this model.",
            hint="The text was read for another version of the symbol table.",
        )
    if row.prompt is not None and len(row.prompt) and int(row.prompt.max()) >= config.end_token:
        raise ModelError(
            "wrong_tokens",
            f"Prompt token {int(row.prompt.max())} is beyond the {config.end_token} of this model.",
        )
