"""Generation: phonemes and a prompt in, semantic tokens out (specification s1-gpt §5 and §7).

The generated tokens alone are returned, without the prompt and the end token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from GPT_SoVITS.gpt.config import MAX_TOKENS
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.graphs.decoder import GraphDecoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.gpt.sampling import NoiseSource, SamplingSettings

__all__ = ["MAX_TOKENS", "GenerationInput", "SamplingSettings", "generate_batch", "stream_tokens"]


def generate_batch(
    model: Text2Semantic,
    rows: Sequence[GenerationInput],
    settings: Sequence[SamplingSettings],
    noise_sources: Sequence[NoiseSource],
    *,
    decoder: Decoder | None = None,
    graphs: GraphDecoder | None = None,
    precision: Precision = "auto",
    read_interval: int | None = None,
) -> list[Tensor]:
    """Generate several sequences side by side; each equals what its row gives alone.

    Args:
        model: the GPT.
        rows: what each sequence begins with.
        settings: how each row's tokens are drawn.
        noise_sources: each row's seed, or recorded noise (steps, V).
        decoder: see ContinuousBatch.
        graphs: see ContinuousBatch.
        precision: see ContinuousBatch.
        read_interval: see ContinuousBatch.

    Returns:
        The tokens of each row, (T_i,).
    """
    batch = ContinuousBatch(model, decoder=decoder, graphs=graphs, precision=precision, read_interval=read_interval)
    ids = [batch.add_request(*request) for request in zip(rows, settings, noise_sources, strict=True)]
    finished: dict[int, list[int]] = {}
    while batch:
        finished |= batch.step()
    return [torch.tensor(finished[number], dtype=torch.long, device=model.device) for number in ids]


def stream_tokens(
    model: Text2Semantic,
    row: GenerationInput,
    settings: SamplingSettings,
    noise_source: NoiseSource,
    *,
    precision: Precision = "auto",
) -> Iterator[int]:
    """Generate one sequence and yield its tokens as they are drawn (§7); for the arguments see `generate_batch`."""
    batch = ContinuousBatch(model, precision=precision)
    request_id = batch.add_request(row, settings, noise_source)
    count = 0
    while not (finished := batch.step()):
        tokens = batch.known_tokens()[request_id]
        yield from tokens[count:]
        count = len(tokens)
    yield from finished[request_id][count:]
