"""Continuous batching: rows join and leave a running batch, each with its own settings and its own chance.

A row's tokens depend on what it starts from and on its noise alone, never on who else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.model import GPTConfig, Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.sampling import (
    Noise,
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
"""Steps between looks at the tokens on an accelerator, where each look waits for the device."""


class ContinuousBatch:
    """Rows that are decoded side by side, one token a row and step (specification s1-gpt §5.2).

    Not for several threads at once. `len()` is the number of rows whose tokens have not been handed out.
    """

    def __init__(
        self,
        model: Text2Semantic,
        *,
        decoder: Decoder | None = None,
        precision: Precision = "auto",
        look_every: int | None = None,
    ) -> None:
        """`decoder` must be empty; without one, a `TorchDecoder` of this `precision` is made.

        `look_every` is how many steps pass between looks at who has ended; it changes nothing but the speed.
        """
        self.dimensions = model.dimensions
        self.device = model.device
        self.decoder: Decoder = decoder or TorchDecoder(model, precision)
        self.look_every = look_every or (1 if self.device.type == "cpu" else READ_INTERVAL)
        self.waiting: list[_Sequence] = []
        self.running: list[_Sequence] = []  # in the order of the decoder's rows
        self.finished: dict[int, list[int]] = {}
        self.added = 0
        self.unseen: list[Tensor] = []  # of the steps since the last look, (B,) each
        self.last = torch.empty(0, dtype=torch.long, device=self.device)
        """(B,), what was drawn last."""
        self.factor = torch.ones(0, self.dimensions.tokens, device=self.device)
        """(B, V): the repetition penalty where a token occurred, 1 elsewhere."""
        self.is_end = torch.arange(self.dimensions.tokens, device=self.device) == self.dimensions.end
        self._set_rules()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.finished)

    def add(self, row: GenerationInput, settings: SamplingSettings, chance: torch.Generator | Tensor) -> int:
        """Let a row join at the next step; its id.

        Chance is a generator of the row's own, or noise that was written down, (steps, V).
        Raises ModelError for ids that the model does not know.
        """
        _check(self.dimensions, row)
        noise = recorded_noise(chance) if isinstance(chance, Tensor) else generator_noise(chance)
        count = settings.early_stop_num
        limit = MAX_TOKENS if count == -1 else min(MAX_TOKENS, max(count, 0) + 1)
        self.added += 1
        self.waiting.append(_Sequence(self.added, row, settings, noise, limit))
        return self.added

    @torch.inference_mode()
    def step(self) -> dict[int, list[int]]:
        """Make one more token in every row; the tokens of the rows that came to their end, by id.

        On an accelerator most steps only start work and wait for none, so that an end shows a few steps later.
        """
        if self.waiting:
            self._look()  # a look reads steps of the same rows
        logits = [self.decoder.step(self.last)] if self.running else []
        if self.waiting:
            logits.append(self._admit())
        if logits:
            self._choose(logits[0] if len(logits) == 1 else torch.cat(logits))
        finished, self.finished = self.finished, {}
        return finished

    def tokens(self, number: int) -> list[int]:
        """What a row has made so far, the end token not among it; KeyError if it was handed out or removed."""
        self._look()
        return self.finished[number] if number in self.finished else list(self._find(number).tokens)

    def remove(self, number: int) -> None:
        """Let a row leave before its end; KeyError if it was handed out or removed."""
        self._look()
        if self.finished.pop(number, None) is not None:
            return
        sequence = self._find(number)
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        else:
            self._drop([self.running.index(sequence)])

    def _admit(self) -> Tensor:
        """Read the rows that wait, behind those that run; their logits, (W, V)."""
        joining, self.waiting = self.waiting, []
        logits = self.decoder.prefill([s.row for s in joining], max(s.limit for s in joining))
        self.running += joining
        factor = torch.ones(len(joining), self.dimensions.tokens, device=self.device)
        for i, sequence in enumerate(joining):
            if sequence.row.prompt is not None:
                factor[i, sequence.row.prompt] = sequence.settings.repetition_penalty
        self.factor = torch.cat([self.factor, factor])
        self._set_rules()
        return logits

    def _choose(self, logits: Tensor) -> None:
        """One token a row from (B, V)."""
        end = self.dimensions.end
        z = apply_repetition_penalty(logits, self.factor) if self.penalises else logits
        early = [s.made < s.settings.fewest_tokens for s in self.running]
        if any(early):
            z = z.masked_fill(torch.tensor(early, device=self.device)[:, None] & self.is_end, -torch.inf)
        token = draw(probabilities(z, self.rules), self._noise(early))
        # The end also counts as reached when it is the likeliest token, whatever was drawn.
        self.last = token = torch.where(z.argmax(dim=-1) == end, end, token)
        self.unseen.append(token)
        if self.penalises:
            self.factor.scatter_(1, token[:, None], self.penalties)
        for sequence in self.running:
            sequence.made += 1
        if len(self.unseen) >= self.look_every or any(s.made >= s.limit for s in self.running):
            self._look()

    def _noise(self, early: list[bool]) -> Tensor:
        """(B, V). The end token's column is missing from the first steps' noise."""
        width = self.dimensions.tokens
        rows = [
            F.pad(s.noise(s.made, width - 1), (0, 1), value=1.0) if is_early else s.noise(s.made, width)
            for s, is_early in zip(self.running, early)
        ]
        return (rows[0][None] if len(rows) == 1 else torch.stack(rows)).to(self.device)

    @torch.inference_mode()
    def _look(self) -> None:
        """Read the tokens since the last look and let the rows go that ended; this waits for the device."""
        if not self.unseen:
            return
        steps = (self.unseen[0][None] if len(self.unseen) == 1 else torch.stack(self.unseen)).tolist()
        self.unseen = []
        for i, sequence in enumerate(self.running):
            sequence.take([step[i] for step in steps], self.dimensions.end)
        over = [i for i, sequence in enumerate(self.running) if sequence.over]
        self.finished |= {self.running[i].number: self.running[i].tokens for i in over}
        if over:
            self._drop(over)

    @torch.inference_mode()
    def _drop(self, numbers: list[int]) -> None:
        order = list(range(len(self.running)))
        for i in reversed(numbers):
            self.decoder.drop(i)
            order[i] = order[-1]
            order.pop()
        chosen = torch.tensor(order, dtype=torch.long, device=self.device)
        self.running = [self.running[i] for i in order]
        self.factor, self.last = self.factor[chosen], self.last[chosen]
        self._set_rules()

    def _set_rules(self) -> None:
        settings = [s.settings for s in self.running]
        self.rules = SamplingRules.of(settings, self.device)
        penalties = [s.repetition_penalty for s in settings]
        self.penalises = any(penalty != 1 for penalty in penalties)
        self.penalties = torch.tensor(penalties, device=self.device)[:, None]

    def _find(self, number: int) -> _Sequence:
        for sequence in (*self.waiting, *self.running):
            if sequence.number == number:
                return sequence
        raise KeyError(number)


@dataclass(eq=False, slots=True)
class _Sequence:
    """A row on its way."""

    number: int
    row: GenerationInput
    settings: SamplingSettings
    noise: Noise
    limit: int
    """Tokens after which it ends at the latest."""
    made: int = 0
    """Tokens that were drawn, those beyond the end counted."""
    tokens: list[int] = field(default_factory=list)
    over: bool = False

    def take(self, drawn: list[int], end: int) -> None:
        """Keep what was drawn up to the end."""
        if end in drawn:
            drawn, self.over = drawn[: drawn.index(end)], True
        self.tokens += drawn[: self.limit - len(self.tokens)]
        self.over = self.over or len(self.tokens) == self.limit


def _check(dimensions: GPTConfig, row: GenerationInput) -> None:
    """Refuse ids that the embeddings do not hold, before an index error does so without a word."""
    if len(row.phones) == 0:
        raise ModelError("empty_text", "There are no phonemes to speak.")
    if int(row.phones.max()) >= dimensions.phones:
        raise ModelError(
            "wrong_symbols",
            f"Phoneme id {int(row.phones.max())} is beyond the {dimensions.phones} of this model.",
            hint="The text was read for another version of the symbol table.",
        )
    if row.prompt is not None and len(row.prompt) and int(row.prompt.max()) >= dimensions.end:
        raise ModelError(
            "wrong_tokens",
            f"Prompt token {int(row.prompt.max())} is beyond the {dimensions.end} of this model.",
        )
