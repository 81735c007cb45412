"""Continuous batching: rows join and leave a running batch, each with its own settings and random generator.

A row's tokens depend on its input and its noise alone, never on which other rows are in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.sampling import (
    Noise,
    NoiseSource,
    SamplingRules,
    SamplingSettings,
    apply_repetition_penalty,
    draw,
    generator_noise,
    probabilities,
    recorded_noise,
)

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
        self.penalty = torch.ones(0, self.config.vocab_size, device=self.device)
        """(B, V): the repetition penalty where a token occurred, 1 elsewhere."""
        self.is_end = torch.arange(self.config.vocab_size, device=self.device) == self.config.end_token
        self._update_rules()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.finished)

    def add_request(self, row: GenerationInput, settings: SamplingSettings, noise_source: NoiseSource) -> int:
        """Queue a row, which joins at the next step.

        Args:
            row: what the sequence begins with.
            settings: how its tokens are drawn.
            noise_source: a random generator of the row's own, or recorded noise, (steps, V).

        Returns:
            The request's id.

        Raises:
            ModelError: "empty_text", "wrong_symbols" or "wrong_tokens": the model has no such ids.
        """
        _check_ids(self.config, row)
        noise = recorded_noise(noise_source) if isinstance(noise_source, Tensor) else generator_noise(noise_source)
        count = settings.early_stop_num
        limit = MAX_TOKENS if count == -1 else min(MAX_TOKENS, max(count, 0) + 1)
        self.last_id += 1
        self.waiting.append(_GenerationRequest(self.last_id, row, settings, noise, limit))
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
        penalty = torch.ones(len(joining), self.config.vocab_size, device=self.device)
        for i, request in enumerate(joining):
            if request.row.prompt is not None:
                penalty[i, request.row.prompt] = request.settings.repetition_penalty
        self.penalty = torch.cat([self.penalty, penalty])
        self._update_rules()
        return logits

    def _draw_tokens(self, logits: Tensor) -> None:
        """Draw a token of every row from logits (B, V)."""
        end = self.config.end_token
        z = apply_repetition_penalty(logits, self.penalty) if self.has_penalties else logits
        too_early = [r.drawn < r.settings.min_tokens for r in self.running]
        if any(too_early):
            z = z.masked_fill(torch.tensor(too_early, device=self.device)[:, None] & self.is_end, -torch.inf)
        token = draw(probabilities(z, self.rules), self._noise(too_early))
        # The end also counts as reached when it is the likeliest token, whatever was drawn.
        self.last_tokens = token = torch.where(z.argmax(dim=-1) == end, end, token)
        self.unread.append(token)
        if self.has_penalties:
            self.penalty.scatter_(1, token[:, None], self.row_penalties)
        for request in self.running:
            request.drawn += 1
        if len(self.unread) >= self.read_interval or any(r.drawn >= r.limit for r in self.running):
            self._read_tokens()

    def _noise(self, too_early: Sequence[bool]) -> Tensor:
        """Return the noise of a step, (B, V). Upstream draws none for the end token where that is out of reach."""
        width = self.config.vocab_size
        rows = [
            F.pad(r.noise(r.drawn, width - 1), (0, 1), value=1.0) if without_end else r.noise(r.drawn, width)
            for r, without_end in zip(self.running, too_early)
        ]
        return (rows[0][None] if len(rows) == 1 else torch.stack(rows)).to(self.device)

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
        kept = torch.tensor(order, dtype=torch.long, device=self.device)
        self.running = [self.running[i] for i in order]
        self.penalty, self.last_tokens = self.penalty[kept], self.last_tokens[kept]
        self._update_rules()

    def _update_rules(self) -> None:
        settings = [r.settings for r in self.running]
        self.rules = SamplingRules.of(settings, self.device)
        penalties = [s.repetition_penalty for s in settings]
        self.has_penalties = any(penalty != 1 for penalty in penalties)
        self.row_penalties = torch.tensor(penalties, device=self.device)[:, None]

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
    settings: SamplingSettings
    noise: Noise
    limit: int
    """Most tokens."""
    drawn: int = 0
    """Tokens that were drawn, those after the end included."""
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
