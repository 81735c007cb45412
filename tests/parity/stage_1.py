"""A fixture of stage 1, whose weights are under `w/`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from parity_fixtures import Fixture
from torch import Tensor

from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import NoiseSource, SamplingSettings


class Stage1(Fixture):
    def cases(self) -> list[str]:
        return sorted({name.split("/")[1] for name in self.arrays if name.endswith("/kwargs")})

    def model(self) -> Text2Semantic:
        model = Text2Semantic.from_config(self.config, layer_dropout=0.0)
        model.load_state_dict(self.state("w/"), strict=True)
        return model.eval()


def generate(
    model: Text2Semantic,
    row: GenerationInput,
    settings: SamplingSettings,
    noise_source: NoiseSource,
    decoder: Decoder | None = None,
) -> Tensor:
    """One sequence's tokens, (T,)."""
    return generate_batch(model, [row], [settings], [noise_source], decoder=decoder)[0]


def upstream_chunks(
    model: Text2Semantic,
    row: GenerationInput,
    settings: SamplingSettings,
    noise_source: NoiseSource,
    *,
    chunk_length: int = 24,
    similarity: Tensor | None = None,
    threshold: float = 0.3,
) -> Iterator[tuple[list[int], bool]]:
    """(tokens, is_final) as upstream streams them (§7).

    With `similarity` (V,), each token's likeness to silence, chunks end at quiet spots, and the tokens after the spot
    are sent twice: at once and again with the next chunk.
    """
    quiet = None if similarity is None else similarity.tolist()
    cut = 0  # index of the first token that was not sent for good
    batch = ContinuousBatch(model, read_interval=1)
    request_id = batch.add_request(row, settings, noise_source)
    while not (finished := batch.step()):
        fresh = batch.tokens(request_id)[cut:]
        if quiet is None and len(fresh) >= chunk_length:
            yield fresh, False
            cut += len(fresh)
        elif quiet is not None and len(fresh) >= chunk_length + 2:
            size = _quiet_cut([quiet[token] - threshold for token in fresh], chunk_length)
            if size:
                yield fresh, False
                cut += size
    yield finished[request_id][cut:], True


def _quiet_cut(likeness: list[float], chunk_length: int) -> int:
    """How many tokens are sent for good: up to the quietest spot, or 0 when it is not quiet or comes too early."""
    score = [c if c >= 0 else -1.0 for c in likeness]
    score = [c + after for c, after in pairwise(score)] + score[-1:]
    j = max(range(len(score)), key=score.__getitem__)
    return j + 1 if score[j] >= 0 and j + 1 >= chunk_length else 0
