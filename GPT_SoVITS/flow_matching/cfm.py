"""Conditional flow matching: noise becomes a mel beside its prompt (specification s2-v3v4 §7, after F5-TTS).

Time 0 is noise and time 1 the mel; the step size that the network is told is what lets it take few, long steps
(after shortcut models). Shapes: B batch, M mel bands, T frames, P frames of the prompt, C condition width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.dit import DiT, Modulation, frame_mask

LEAST_GUIDANCE = 1e-5
LONGEST_PROMPT = 2 / 3
"""Of a training item."""
HALVINGS = (2, 7)
"""Exponents of the step sizes at which self-consistency is learned, from 1/4 to 1/128, ends included."""
SMALLEST_STEP = 0.01
"""The network knows a smaller step as none."""


@dataclass(frozen=True, slots=True)
class RandomDraws:
    """Every random number of one training loss."""

    prompt: Tensor
    """(B,) in [0, 1): share of the longest prompt."""
    time: Tensor
    """(B,) in [0, 1)."""
    noise: Tensor
    """(B, M, T or more), standard normal."""
    halvings: Tensor | None
    """(B,) for a batch that learns self-consistency, None for one that learns the flow."""

    @classmethod
    def random(
        cls, batch: int, bands: int, frames: int, *, consistency_share: float, generator: torch.Generator | None = None
    ) -> RandomDraws:
        """Drawn on the CPU, in the order of the original."""
        prompt = torch.rand(batch, generator=generator)
        time = torch.rand(batch, generator=generator)
        noise = torch.randn(batch, bands, frames, generator=generator)
        consistent = float(torch.rand((), generator=generator)) < consistency_share
        first, last = HALVINGS
        halvings = torch.randint(first, last + 1, (batch,), generator=generator) if consistent else None
        return cls(prompt, time, noise, halvings)

    def to(self, device: torch.device | str) -> RandomDraws:
        halvings = None if self.halvings is None else self.halvings.to(device)
        return RandomDraws(self.prompt.to(device), self.time.to(device), self.noise.to(device), halvings)


class FlowMatching(nn.Module):
    """`cfm`."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        self.bands = sizes["mel_dim"]
        self.estimator = DiT(**sizes)

    @torch.inference_mode()
    def sample(
        self,
        condition: Tensor,
        prompt: Tensor,
        *,
        lengths: Tensor | None = None,
        steps: int,
        guidance: float = 0.0,
        temperature: float = 1.0,
        noise: Tensor | None = None,
        generators: Sequence[torch.Generator] | None = None,
        compat: str | None = None,
    ) -> Tensor:
        """condition (B, C, T), prompt (B or 1, M, P) normalised -> (B, M, T) float32, normalised; zero in the prompt.

        `lengths` (B or 1,) counts valid frames, the prompt's included; frames behind them come out as zeros.
        `noise` (B, M, T) replaces the draw, in which every row has its own CPU generator and draws its own length
        only: neither batch mates nor padding reach a row. `compat="reference"` lets padding act as in the original.
        """
        batch, _, frames = condition.shape
        _check(steps, prompt.shape[2], frames)
        mask = frame_mask(lengths, frames, condition.device)
        if noise is None:
            noise = self._noise(batch, frames, lengths, generators)
        x = temperature * noise.to(condition.device, torch.float32)
        known = prompt.shape[2]
        x[:, :, :known] = 0
        canvas = F.pad(prompt.float().expand(batch, -1, -1), (0, frames - known))
        guided = guidance > LEAST_GUIDANCE
        surroundings = self._surroundings(condition, canvas, mask, compat)
        if guided:  # the unguided rows ride in the same batch
            nothing = self._surroundings(torch.zeros_like(condition), torch.zeros_like(canvas), mask, compat)
            surroundings = surroundings.beside(nothing)
        modulation = self._modulations(steps, condition.device)
        for index in range(steps):
            velocity = surroundings.flow(x.repeat(2, 1, 1) if guided else x, modulation.row(index)).float()
            if guided:
                velocity, free = velocity.chunk(2)
                velocity = velocity + guidance * (velocity - free)
            x = x + velocity / steps
            x[:, :, :known] = 0
        return x if mask is None or compat == "reference" else x * mask[:, None]

    def loss(
        self, mel: Tensor, lengths: Tensor, condition: Tensor, draws: RandomDraws, *, compat: str | None = None
    ) -> Tensor:
        """How wrong the flow is between noise and mel: mel (B, M, T) normalised, condition (B, C, T) -> a scalar.

        A mean over items, each the mean squared error of its frames behind the prompt. The prompt's length, the time
        and which of the two things is learned come from `draws`.
        """
        mask = frame_mask(lengths, mel.shape[2], mel.device)
        place = torch.arange(mel.shape[2], device=mel.device)
        known = (draws.prompt * (LONGEST_PROMPT * lengths)).long()  # (B,)
        in_prompt = (place < known[:, None])[:, None]  # (B, 1, T)
        time, noise = draws.time[:, None, None], draws.noise[:, :, : mel.shape[2]]
        x = (noise + time * (mel - noise)).masked_fill(in_prompt, 0.0)
        surroundings = self._surroundings(condition, mel * in_prompt, mask, compat)
        step, target = torch.zeros_like(draws.time), mel - noise
        if draws.halvings is not None:
            step, target = self._two_steps(x, surroundings, draws.time, draws.halvings)
        flow = surroundings.flow(x, self._modulation(draws.time, step))
        counted = (place < lengths[:, None]) & (place >= known[:, None])  # (B, T)
        wrong = (flow.float() - target).square().mean(dim=1)  # (B, T)
        return ((wrong * counted).sum(dim=1) / counted.sum(dim=1)).mean()

    @torch.no_grad()
    def _two_steps(
        self, x: Tensor, surroundings: _Surroundings, time: Tensor, halvings: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(the double step, the mean flow of two single ones)."""
        size = 0.5 ** halvings.float()
        told = torch.where(size < SMALLEST_STEP, 0.0, size)
        first = surroundings.flow(x, self._modulation(time, told)).float()
        between = x + size[:, None, None] * first
        second = surroundings.flow(between, self._modulation(time + size, told)).float()
        return 2 * size, (first + second) / 2

    def _surroundings(
        self, condition: Tensor, canvas: Tensor, mask: Tensor | None, compat: str | None
    ) -> _Surroundings:
        text = self.estimator.embed_condition(condition, mask, compat=compat)
        return _Surroundings(self.estimator, text, canvas, mask, compat)

    def _modulation(self, time: Tensor, step: Tensor) -> Modulation:
        return self.estimator.modulation(self.estimator.time_vector(time, step))

    def _modulations(self, steps: int, device: torch.device) -> Modulation:
        """Of every time of a sampling, which all rows share; row k belongs to step k."""
        times, time = [], 0.0
        for _ in range(steps):
            times.append(time)
            time += 1 / steps
        return self._modulation(torch.tensor(times, device=device), torch.tensor([1 / steps], device=device))

    def _noise(
        self, batch: int, frames: int, lengths: Tensor | None, generators: Sequence[torch.Generator] | None
    ) -> Tensor:
        """(B, M, T)."""
        own = [frames] * batch if lengths is None else lengths.expand(batch).tolist()
        rows = generators or [None] * batch
        if len(rows) != batch:
            raise ModelError("bad_request", f"{batch} rows need {batch} generators; there are {len(rows)}.")
        drawn = [torch.randn(self.bands, size, generator=row) for size, row in zip(own, rows)]
        return torch.stack([F.pad(row, (0, frames - row.shape[1])) for row in drawn])


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What the noise flows in: the same for every time, so computed once."""

    estimator: DiT
    text: Tensor
    """(B, T, C), the condition embedded."""
    canvas: Tensor
    """(B, M, T), the prompt's mel and zeros behind it."""
    mask: Tensor | None
    """(B or 1, T)."""
    compat: str | None

    def flow(self, x: Tensor, modulation: Modulation) -> Tensor:
        """x (B, M, T) -> (B, M, T)."""
        return self.estimator(x, self.canvas, self.text, modulation, self.mask, compat=self.compat).transpose(1, 2)

    def beside(self, other: _Surroundings) -> _Surroundings:
        """A batch of both."""
        mask = None if self.mask is None else self.mask.expand(len(self.text), -1).repeat(2, 1)
        text, canvas = torch.cat([self.text, other.text]), torch.cat([self.canvas, other.canvas])
        return _Surroundings(self.estimator, text, canvas, mask, self.compat)


def _check(steps: int, known: int, frames: int) -> None:
    if steps < 1:
        raise ModelError("bad_request", f"{steps} steps were asked for; at least one is needed.")
    if known > frames:
        raise ModelError("bad_request", f"The prompt has {known} frames and the condition only {frames}.")
