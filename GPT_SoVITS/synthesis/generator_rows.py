"""The generator's work for several sentences at once: latents of any lengths in, waves out."""

from __future__ import annotations

from collections.abc import Generator as Coroutine
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.sovits.compiled_generator import CompiledGenerator
from GPT_SoVITS.sovits.frame_generator import FrameGenerator
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs

Result = TypeVar("Result")


class GeneratorRow(NamedTuple):
    """What a generator reads for one sentence."""

    generator: Generator | FrameGenerator | CompiledGenerator
    latent: Tensor
    """(1, C, F)."""
    style: Tensor
    """(1, G, 1)."""
    graphs: VoiceGraphs | None = None
    """What replays the generator on a GPU."""


GeneratorUse = Coroutine[GeneratorRow, Tensor, Result]
"""Work that leaves the generator to its caller: it yields what that reads, is sent the wave (N,), and returns."""


@torch.inference_mode()
def generate(rows: Sequence[GeneratorRow]) -> list[Tensor]:
    """Run the generator that all rows have on all of them together, and return their waves (N_i,).

    Each row is as it is alone, but for the last digits where they share products. Waves are float32.
    """
    generator, latents = rows[0].generator, [row.latent for row in rows]
    graphs = rows[0].graphs
    if graphs is not None and (waves := graphs.generate(latents, [row.style for row in rows])) is not None:
        return waves
    if len(rows) == 1:
        return [generator(latents[0], rows[0].style)[0, 0].float()]
    frames = [latent.shape[2] for latent in latents]
    padded = pad_sequence([latent[0].T for latent in latents], batch_first=True).transpose(1, 2)  # (B, C, F)
    lengths = torch.tensor(frames, device=padded.device) if min(frames) < max(frames) else None
    batch = generator(padded, torch.cat([row.style for row in rows]), lengths).float()
    ends = [batch.shape[2] - (max(frames) - count) * generator.hop for count in frames]
    return [wave[0, :end] for wave, end in zip(batch, ends, strict=True)]


def generate_alone(work: GeneratorUse[Result]) -> Result:
    """Do some work, each row by itself, and return its result."""
    try:
        row = next(work)
        while True:
            row = work.send(generate([row])[0])
    except StopIteration as end:
        result: Result = end.value
        return result
