"""Conditional flow matching: noise to a mel that continues a prompt (specification s2-v3v4 §7, after F5-TTS).

Time 0 is noise and time 1 the mel; the network reads the step size, too, so that it can take few, long steps (after
shortcut models). Shapes: B batch, M mel bands, T frames, P frames of the prompt, C condition width.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.config import DiTConfig
from GPT_SoVITS.flow_matching.dit import DiT, Modulation, frame_mask

Result = TypeVar("Result")

MIN_GUIDANCE = 1e-5
MAX_PROMPT_SHARE = 2 / 3
"""Of a training item."""
HALVINGS = (2, 7)
"""Exponents of the step sizes at which self-consistency is learned, from 1/4 to 1/128, both included."""
MIN_STEP = 0.01
"""The network reads a smaller step as zero."""


@dataclass(frozen=True, slots=True)
class RandomDraws:
    """The random numbers of one training loss."""

    prompt: Tensor
    """(B,) in [0, 1): length of the prompt, as a share of the longest one."""
    time: Tensor
    """(B,) in [0, 1)."""
    noise: Tensor
    """(B, M, T or more), standard normal."""
    halvings: Tensor | None
    """(B,) for a batch that learns self-consistency; None for one that learns the flow."""

    @classmethod
    def random(
        cls, batch: int, bands: int, frames: int, *, consistency_share: float, generator: torch.Generator | None = None
    ) -> RandomDraws:
        """Draw on the CPU, in upstream's order."""
        prompt = torch.rand(batch, generator=generator)
        time = torch.rand(batch, generator=generator)
        noise = torch.randn(batch, bands, frames, generator=generator)
        consistent = float(torch.rand((), generator=generator)) < consistency_share
        first, last = HALVINGS
        halvings = torch.randint(first, last + 1, (batch,), generator=generator) if consistent else None
        return cls(prompt, time, noise, halvings)

    def to(self, device: torch.device | str) -> RandomDraws:
        """Return the numbers on a device."""
        halvings = None if self.halvings is None else self.halvings.to(device)
        return RandomDraws(self.prompt.to(device), self.time.to(device), self.noise.to(device), halvings)


class FlowMatching(nn.Module):
    """`cfm`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.bands = config.mel_dim
        self.estimator = DiT(config)

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
        compat: str | None = None,
    ) -> Tensor:
        """Generate mels by integrating the flow.

        Args:
            condition: (B, C, T).
            prompt: (B or 1, M, P), normalized.
            lengths: (B or 1,) valid frames, the prompt's included; frames after them are zero.
            steps: Euler steps.
            guidance: strength of classifier-free guidance; 0 for none.
            temperature: factor of the noise.
            noise: (B, M, T or more); by default torch's global random generator chooses it.
            compat: "reference" lets padding act as in upstream.

        Returns:
            (B, M, T) float32, normalized; zero in the prompt.

        Raises:
            ModelError: "bad_request": no steps, or a prompt longer than the condition.
        """
        return run_to_end(
            self.sample_stepwise(
                condition,
                prompt,
                lengths=lengths,
                steps=steps,
                guidance=guidance,
                temperature=temperature,
                noise=noise,
                compat=compat,
            )
        )

    @torch.inference_mode()
    def sample_stepwise(
        self,
        condition: Tensor,
        prompt: Tensor,
        *,
        lengths: Tensor | None = None,
        steps: int,
        guidance: float = 0.0,
        temperature: float = 1.0,
        noise: Tensor | None = None,
        compat: str | None = None,
    ) -> Generator[None, None, Tensor]:
        """Sample as `sample` does, and pause after each Euler step, so that the device can do something else."""
        batch, _, frames = condition.shape
        prompt_frames = prompt.shape[2]
        if steps < 1:
            raise ModelError("bad_request", f"{steps} steps were asked for; at least one is needed.")
        if prompt_frames > frames:
            raise ModelError("bad_request", f"The prompt has {prompt_frames} frames and the condition only {frames}.")
        mask = frame_mask(lengths, frames, condition.device)
        if noise is None:
            noise = torch.randn(batch, self.bands, frames, device=condition.device)
        x = temperature * noise[:, :, :frames].to(condition.device, torch.float32)
        x[:, :, :prompt_frames] = 0
        canvas = F.pad(prompt.float().expand(batch, -1, -1), (0, frames - prompt_frames))
        guided = guidance > MIN_GUIDANCE
        context = self._context(condition, canvas, mask, compat)
        if guided:  # the unconditional rows are in the same batch
            empty = self._context(torch.zeros_like(condition), torch.zeros_like(canvas), mask, compat)
            context = context.concatenate(empty)
        modulation = self._modulations(steps, condition.device)
        for index in range(steps):
            velocity = context.velocity(x.repeat(2, 1, 1) if guided else x, modulation.row(index)).float()
            if guided:
                velocity, unconditional = velocity.chunk(2)
                velocity = velocity + guidance * (velocity - unconditional)
            x = x + velocity / steps
            x[:, :, :prompt_frames] = 0
            yield
        return x if mask is None or compat == "reference" else x * mask[:, None]

    def loss(
        self, mel: Tensor, lengths: Tensor, condition: Tensor, draws: RandomDraws, *, compat: str | None = None
    ) -> Tensor:
        """Return the training loss, a scalar: the mean squared error of the velocity after the prompt.

        It is averaged over the frames of each item, then over items.

        Args:
            mel: (B, M, T), normalized.
            lengths: (B,) frames of each row.
            condition: (B, C, T).
            draws: the prompt's length, the time, the noise, and whether the flow or self-consistency is learned.
            compat: "reference" lets padding act as in upstream.
        """
        mask = frame_mask(lengths, mel.shape[2], mel.device)
        position = torch.arange(mel.shape[2], device=mel.device)
        prompt_frames = (draws.prompt * (MAX_PROMPT_SHARE * lengths)).long()  # (B,)
        in_prompt = (position < prompt_frames[:, None])[:, None]  # (B, 1, T)
        time, noise = draws.time[:, None, None], draws.noise[:, :, : mel.shape[2]]
        x = (noise + time * (mel - noise)).masked_fill(in_prompt, 0.0)
        context = self._context(condition, mel * in_prompt, mask, compat)
        step, target = torch.zeros_like(draws.time), mel - noise
        if draws.halvings is not None:
            step, target = self._two_steps(x, context, draws.time, draws.halvings)
        velocity = context.velocity(x, self._modulation(draws.time, step))
        counted = (position < lengths[:, None]) & (position >= prompt_frames[:, None])  # (B, T)
        error = (velocity.float() - target).square().mean(dim=1)  # (B, T)
        return ((error * counted).sum(dim=1) / counted.sum(dim=1)).mean()

    @torch.no_grad()
    def _two_steps(self, x: Tensor, context: _FlowContext, time: Tensor, halvings: Tensor) -> tuple[Tensor, Tensor]:
        """Return the size of a double step and the mean velocity of two single ones."""
        size = 0.5 ** halvings.float()
        step = torch.where(size < MIN_STEP, 0.0, size)
        first = context.velocity(x, self._modulation(time, step)).float()
        between = x + size[:, None, None] * first
        second = context.velocity(between, self._modulation(time + size, step)).float()
        return 2 * size, (first + second) / 2

    def _context(self, condition: Tensor, canvas: Tensor, mask: Tensor | None, compat: str | None) -> _FlowContext:
        text = self.estimator.embed_condition(condition, mask, compat=compat)
        return _FlowContext(self.estimator, text, canvas, mask, compat)

    def _modulation(self, time: Tensor, step: Tensor) -> Modulation:
        return self.estimator.modulation(self.estimator.time_vector(time, step))

    def _modulations(self, steps: int, device: torch.device) -> Modulation:
        """Return the modulations of all steps, which all rows share; row k belongs to step k."""
        times, time = [], 0.0
        for _ in range(steps):
            times.append(time)
            time += 1 / steps
        return self._modulation(torch.tensor(times, device=device), torch.tensor([1 / steps], device=device))


@dataclass(frozen=True, slots=True)
class _FlowContext:
    """The estimator's inputs besides the noise: the same for every time, so computed once."""

    estimator: DiT
    text: Tensor
    """(B, T, C), the embedded condition."""
    canvas: Tensor
    """(B, M, T), the prompt's mel and zeros after it."""
    mask: Tensor | None
    """(B or 1, T)."""
    compat: str | None

    def velocity(self, x: Tensor, modulation: Modulation) -> Tensor:
        """Predict the velocity (B, M, T) of a noisy mel (B, M, T)."""
        return self.estimator(x, self.canvas, self.text, modulation, self.mask, compat=self.compat).transpose(1, 2)

    def concatenate(self, other: _FlowContext) -> _FlowContext:
        """Return a batch of both."""
        mask = None if self.mask is None else self.mask.expand(len(self.text), -1).repeat(2, 1)
        text, canvas = torch.cat([self.text, other.text]), torch.cat([self.canvas, other.canvas])
        return _FlowContext(self.estimator, text, canvas, mask, self.compat)


def run_to_end(slices: Generator[object, None, Result]) -> Result:
    """Run a computation that pauses, without the pauses."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: Result = end.value
            return result
