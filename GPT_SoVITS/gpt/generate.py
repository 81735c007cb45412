"""Generation: phonemes and a prompt in, semantic tokens out (specification s1-gpt §5 and §7).

What is returned are the generated tokens themselves, the prompt not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from GPT_SoVITS.gpt.continuous_batching import MAX_TOKENS, ContinuousBatch
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.sampling import SamplingSettings

__all__ = ["MAX_TOKENS", "GenerationInput", "SamplingSettings", "generate", "generate_batch", "stream_tokens"]


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
    precision: Precision = "auto",
) -> Tensor:
    """The tokens, (T,), of one sequence: phones (N,), bert (1024, N), prompt (P,).

    Chance comes from `generator`, or from written-down `noise`, (steps, 1, V). `precision` is that of the weights
    unless `decoder` is given.
    """
    generators = None if generator is None else [generator]
    return generate_batch(
        model,
        [GenerationInput(phones, bert, prompt)],
        settings,
        generators=generators,
        noise=noise,
        decoder=decoder,
        precision=precision,
    )[0]


def generate_batch(
    model: Text2Semantic,
    rows: Sequence[GenerationInput],
    settings: SamplingSettings | Sequence[SamplingSettings],
    *,
    generators: Sequence[torch.Generator] | None = None,
    noise: Tensor | None = None,
    decoder: Decoder | None = None,
    precision: Precision = "auto",
    look_every: int | None = None,
) -> list[Tensor]:
    """The tokens, (T_i,), of several sequences decoded side by side; each row equals what it gives alone.

    Settings are one for all rows or one a row; chance comes from one generator a row, or from written-down `noise`,
    (steps, rows, V). `look_every` is how many steps pass between looks at who has ended; it changes only the speed.
    """
    if not rows:
        return []
    each = [settings] * len(rows) if isinstance(settings, SamplingSettings) else settings
    batch = ContinuousBatch(model, decoder=decoder, precision=precision, look_every=look_every)
    chances = _chances(rows, generators, noise)
    numbers = [batch.add(row, own, chance) for row, own, chance in zip(rows, each, chances, strict=True)]
    finished: dict[int, list[int]] = {}
    while batch:
        finished |= batch.step()
    return [torch.tensor(finished[number], dtype=torch.long, device=model.device) for number in numbers]


def stream_tokens(
    model: Text2Semantic,
    row: GenerationInput,
    settings: SamplingSettings,
    *,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    chunk_length: int = 24,
    similarity: Tensor | None = None,
    threshold: float = 0.3,
    compat: Literal["reference"] | None = None,
    precision: Precision = "auto",
) -> Iterator[tuple[Tensor | None, bool]]:
    """Yield (tokens, is_final) while they are made (§7).

    With `similarity` (V,), each token's likeness to silence, chunks end at quiet spots. `compat="reference"`
    sends the tokens behind the quiet spot at once and again with the next chunk, as the reference does.
    """
    chances = _chances([row], None if generator is None else [generator], noise)
    quiet = None if similarity is None else similarity.tolist()
    cut = 0  # index of the first token not sent
    batch = ContinuousBatch(model, precision=precision, look_every=1)
    number = batch.add(row, settings, chances[0])
    while True:
        finished = batch.step()
        if finished:
            break
        fresh = batch.tokens(number)[cut:]
        if quiet is None and len(fresh) >= chunk_length:
            yield torch.tensor(fresh), False
            cut += len(fresh)
        elif quiet is not None and len(fresh) >= chunk_length + 2:
            size = _quiet_cut([quiet[token] - threshold for token in fresh], chunk_length)
            if size:
                yield torch.tensor(fresh if compat == "reference" else fresh[:size]), False
                cut += size
    rest = finished[number][cut:]
    yield (torch.tensor(rest) if rest else None), True


def _chances(
    rows: Sequence[GenerationInput], generators: Sequence[torch.Generator] | None, noise: Tensor | None
) -> list[torch.Generator | Tensor]:
    if noise is not None:
        return [noise[:, i] for i in range(len(rows))]
    if generators is None or len(generators) != len(rows):
        raise ValueError("every row needs a generator of its own, or written-down noise")
    return list(generators)


def _quiet_cut(likeness: list[float], chunk_length: int) -> int:
    """How many tokens to send: up to the quietest spot, or 0 when it is not quiet or comes too early."""
    score = [c if c >= 0 else -1.0 for c in likeness]
    score = [c + after for c, after in pairwise(score)] + score[-1:]
    j = max(range(len(score)), key=score.__getitem__)
    return j + 1 if score[j] >= 0 and j + 1 >= chunk_length else 0
