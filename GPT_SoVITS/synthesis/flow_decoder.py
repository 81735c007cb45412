"""Tokens to sound for v3 and v4: the condition of each sentence, then chunks of mel, then the vocoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.synthesis.mel_chunking import ChunkSizes
from GPT_SoVITS.synthesis.mel_synthesis import ChunkedSynthesis, MelPrompt, mel_prompt
from GPT_SoVITS.synthesis.prompt import EncodedPrompt, Recording
from GPT_SoVITS.vocoders import Vocoder


@dataclass(frozen=True, slots=True)
class FlowLine:
    """One sentence as the second stage of v3 and v4 reads it."""

    tokens: Tensor
    """(T,) generated semantic tokens, none of the prompt's."""
    phones: Tensor
    """(S,) phoneme ids of the sentence alone."""
    prompt: EncodedPrompt
    generator: torch.Generator
    speed: float = 1.0
    steps: int | None = None
    """Of the sampler; None as the recipe says."""


class FlowVoice:
    """The acoustic model of v3 or v4 with its vocoder; no state of a request."""

    def __init__(self, model: FlowMatchingSoVITS, vocoder: Vocoder, config: dict[str, Any]) -> None:
        self.model = model
        self.data = config["data"]
        self.steps = int(config["synthesis"]["steps"])
        self.sizes = ChunkSizes.from_recipe(config)
        self.chunks = ChunkedSynthesis(model, vocoder, self.sizes)
        self.sample_rate = vocoder.sample_rate

    @torch.inference_mode()
    def prepare(self, recording: Recording, tokens: Tensor, phones: Tensor, style: Tensor) -> MelPrompt:
        """The reference as every chunk begins with it; computed once for a prompt."""
        condition = self.model.condition(tokens[None, None], phones[None], style)
        return mel_prompt(condition, recording.for_mel(self.data["mel"]).to(style.device), self.sizes)

    def speak(self, lines: Sequence[FlowLine]) -> list[Tensor]:
        """(N_i,) float32 on the CPU; lines of one prompt and as many steps go side by side."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, line in enumerate(lines):
            groups.setdefault((id(line.prompt), line.steps or self.steps), []).append(i)
        spoken: dict[int, Tensor] = {}
        for (_, steps), group in groups.items():
            rows = [lines[i] for i in group]
            waves = self.chunks.speak_batch(
                [self._condition(row) for row in rows],
                self._mel(rows[0]),
                [row.generator for row in rows],
                steps=steps,
            )
            spoken |= dict(zip(group, waves))
        return [spoken[i] for i in range(len(lines))]

    def stream(self, line: FlowLine) -> Iterator[Tensor]:
        """(n,) samples as each chunk is ready."""
        yield from self.chunks.stream(
            self._condition(line), self._mel(line), line.generator, steps=line.steps or self.steps
        )

    def _condition(self, line: FlowLine) -> Tensor:
        return self.model.condition(line.tokens[None, None], line.phones[None], line.prompt.style, speed=line.speed)

    def _mel(self, line: FlowLine) -> MelPrompt:
        assert line.prompt.mel is not None, "prompts of these versions are prepared with one"
        return line.prompt.mel
