"""Generation: phonemes and a prompt in, semantic tokens out (specification s1-gpt §5 and §7).

What is returned are the generated tokens themselves, the prompt not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.decoder import Decoder, Row, TorchDecoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import (
    Noise,
    SamplingSettings,
    draw,
    generator_noise,
    penalise,
    probabilities,
    recorded_noise,
)

MOST_TOKENS = 1500
"""60 s; no sequence grows longer."""
LOOK_EVERY = 8
"""Steps between looks at the end flags on an accelerator, where each look waits for the device."""

__all__ = ["MOST_TOKENS", "Row", "SamplingSettings", "generate", "generate_batch", "stream"]


def generate(
    model: Text2Semantic,
    phones: Tensor,
    bert: Tensor | None,
    prompt: Tensor | None,
    settings: SamplingSettings,
    *,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    decoder: Decoder | None = None,
) -> Tensor:
    """The tokens, (T,), of one sequence: phones (N,), bert (1024, N), prompt (P,).

    Chance comes from `generator`, or from written-down `noise`, (steps, 1, V).
    """
    generators = None if generator is None else [generator]
    return generate_batch(
        model, [Row(phones, bert, prompt)], settings, generators=generators, noise=noise, decoder=decoder
    )[0]


def generate_batch(
    model: Text2Semantic,
    rows: Sequence[Row],
    settings: SamplingSettings,
    *,
    generators: Sequence[torch.Generator] | None = None,
    noise: Tensor | None = None,
    decoder: Decoder | None = None,
    look_every: int | None = None,
) -> list[Tensor]:
    """The tokens, (T_i,), of several sequences decoded side by side; each row equals what it gives alone.

    Chance comes from one generator a row, or from written-down `noise`, (steps, rows, V). `look_every` is how many
    steps pass between looks at who has ended; it changes nothing but the speed.
    """
    if not rows:
        return []
    with torch.inference_mode():
        generation = _Generation(model, rows, settings, _chance(model, rows, generators, noise), decoder, look_every)
        for _ in generation.steps():
            pass
    return [torch.tensor(tokens, dtype=torch.long, device=model.device) for tokens in generation.results()]


def stream(
    model: Text2Semantic,
    row: Row,
    settings: SamplingSettings,
    *,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    chunk_length: int = 24,
    similarity: Tensor | None = None,
    threshold: float = 0.3,
    compat: Literal["reference"] | None = None,
) -> Iterator[tuple[Tensor | None, bool]]:
    """Yield (tokens, is_final) while they are made (§7).

    With `similarity` (V,), each token's likeness to silence, chunks end at quiet spots. `compat="reference"`
    sends the tokens behind the quiet spot at once and again with the next chunk, as the reference does.
    """
    chance = _chance(model, [row], None if generator is None else [generator], noise)
    quiet = None if similarity is None else similarity.tolist()
    tokens: list[int] = []
    cut = 0  # index of the first token not sent
    with torch.inference_mode():
        generation = _Generation(model, [row], settings, chance, None, look_every=1)
        for _ in generation.steps():
            tokens = generation.results()[0]
            if generation.over:
                break
            fresh = tokens[cut:]
            if quiet is None and len(fresh) >= chunk_length:
                yield torch.tensor(fresh), False
                cut += len(fresh)
            elif quiet is not None and len(fresh) >= chunk_length + 2:
                size = _quiet_cut([quiet[token] - threshold for token in fresh], chunk_length)
                if size:
                    yield torch.tensor(fresh if compat == "reference" else fresh[:size]), False
                    cut += size
    rest = tokens[cut:]
    yield (torch.tensor(rest) if rest else None), True


class _Generation:
    """The loop of §5.2 over rows in lockstep.

    Rows that ended go on unseen until half of those left have ended: every removal copies the cache.
    """

    def __init__(
        self,
        model: Text2Semantic,
        rows: Sequence[Row],
        settings: SamplingSettings,
        chance: Noise,
        decoder: Decoder | None,
        look_every: int | None = None,
    ) -> None:
        _check(model, rows)
        self.rows = rows
        self.end = model.dimensions.end
        self.settings = settings
        self.chance = chance
        self.device = model.device
        self.decoder: Decoder = decoder or TorchDecoder(model)
        self.look_every = look_every or (1 if self.device.type == "cpu" else LOOK_EVERY)
        self.limit = MOST_TOKENS
        if settings.early_stop_num != -1:
            self.limit = min(MOST_TOKENS, max(settings.early_stop_num, 0) + 1)
        self.alive = list(range(len(rows)))
        self.over = False
        self.made = 0
        self.finished: dict[int, list[int]] = {}
        self.drawn = torch.zeros(len(rows), self.limit, dtype=torch.long, device=self.device)
        # Tokens that count: those before the step at which the row ended, or all of them.
        self.kept = torch.full((len(rows),), self.limit, dtype=torch.long, device=self.device)

    def steps(self) -> Iterator[int]:
        """Make one token a row at a time, yielding how many were made; `over` is set when all rows ended."""
        logits = self.decoder.prefill(self.rows, self.limit)  # (B, V)
        penalty = self.settings.repetition_penalty
        self.factor = self._factor(logits.shape[1])  # (B, V)
        for step in range(self.limit):
            # The end token's column is missing from the first steps, for sampling and noise alike.
            width = self.end if step < self.settings.fewest_tokens else self.end + 1
            z = logits[:, :width].float()
            if penalty != 1:
                z = penalise(z, self.factor[:, :width])
            token = draw(probabilities(z, self.settings), self.chance(step, self.alive, width))  # (B,)
            self.drawn[:, step] = token
            if width > self.end:
                # The end also counts as reached when it is the likeliest token, whatever was drawn.
                ended = (token == self.end) | (z.argmax(dim=-1) == self.end)
                self.kept = torch.where(ended, self.kept.clamp_max(step), self.kept)
            self.made = step + 1
            if self._look(step):
                yield self.made
                return
            yield self.made
            token = self.drawn[:, step]
            if penalty != 1:
                self.factor.scatter_(1, token[:, None], penalty)
            logits = self.decoder.step(token)

    def results(self) -> list[list[int]]:
        """The tokens of every row so far."""
        current = {
            row: tokens[: min(kept, self.made)]
            for row, tokens, kept in zip(self.alive, self.drawn[:, : self.made].tolist(), self.kept.tolist())
        }
        return [(current | self.finished)[i] for i in range(len(self.rows))]

    def _look(self, step: int) -> bool:
        """Whether all rows ended; rows that ended leave once they are half of those that are left."""
        self.over = step + 1 == self.limit
        if self.over or step + 1 < self.settings.fewest_tokens or (step + 1) % self.look_every:
            return self.over
        running = [i for i, kept in enumerate(self.kept.tolist()) if kept > step]
        self.over = not running
        if running and 2 * len(running) <= len(self.alive):
            self._drop_all_but(running)
        return self.over

    def _drop_all_but(self, running: list[int]) -> None:
        results = self.results()
        stay = {self.alive[i] for i in running}
        self.finished |= {row: results[row] for row in self.alive if row not in stay}
        self.alive = [self.alive[i] for i in running]
        chosen = torch.tensor(running, device=self.device)
        self.drawn, self.kept, self.factor = self.drawn[chosen], self.kept[chosen], self.factor[chosen]
        self.decoder.keep(chosen)

    def _factor(self, width: int) -> Tensor:
        """(B, V): the repetition penalty where the prompt holds a token, 1 elsewhere."""
        factor = torch.ones(len(self.rows), width, device=self.device)
        for i, row in enumerate(self.rows):
            if row.prompt is not None:
                factor[i, row.prompt] = self.settings.repetition_penalty
        return factor


def _chance(
    model: Text2Semantic,
    rows: Sequence[Row],
    generators: Sequence[torch.Generator] | None,
    noise: Tensor | None,
) -> Noise:
    if noise is not None:
        return recorded_noise(noise, model.device)
    if generators is None or len(generators) != len(rows):
        raise ValueError("every row needs a generator of its own, or written-down noise")
    return generator_noise(list(generators), model.device)


def _check(model: Text2Semantic, rows: Sequence[Row]) -> None:
    """Refuse ids that the embeddings do not hold, before an index error does so without a word."""
    for row in rows:
        if len(row.phones) == 0:
            raise ModelError("empty_text", "There are no phonemes to speak.")
        if int(row.phones.max()) >= model.dimensions.phones:
            raise ModelError(
                "wrong_symbols",
                f"Phoneme id {int(row.phones.max())} is beyond the {model.dimensions.phones} of this model.",
                hint="The text was read for another version of the symbol table.",
            )
        if row.prompt is not None and len(row.prompt) and int(row.prompt.max()) >= model.dimensions.end:
            raise ModelError(
                "wrong_tokens",
                f"Prompt token {int(row.prompt.max())} is beyond the {model.dimensions.end} of this model.",
            )


def _quiet_cut(likeness: list[float], chunk_length: int) -> int:
    """How many tokens to send: up to the quietest spot, or 0 when it is not quiet or comes too early."""
    score = [c if c >= 0 else -1.0 for c in likeness]
    score = [c + after for c, after in pairwise(score)] + score[-1:]
    j = max(range(len(score)), key=score.__getitem__)
    return j + 1 if score[j] >= 0 and j + 1 >= chunk_length else 0
