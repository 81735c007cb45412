"""From logits to a token, in the reference's exact order (specification s1-gpt §6); shapes are (B, V)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError

SMALLEST_TEMPERATURE = 1e-5

Noise = Callable[[int, list[int], int], Tensor]
"""(step, numbers of the rows still alive, width) -> Exponential(1) draws, (rows alive, width)."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How tokens are chosen; a value that cannot work raises ModelError("bad_sampling")."""

    top_k: int | None = 15
    """Most likely tokens that stay, ties included; 1 is greedy, None keeps all."""
    top_p: float | None = 1.0
    """Probability that may stay; 1 and more, or None, switch the rule off."""
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    early_stop_num: int = -1
    """Generation ends once more tokens than this are made: n + 1 of them at most; -1 never."""
    fewest_tokens: int = 11
    """The end token is out of reach for so many steps (§5.2, rule 3)."""

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ModelError("bad_sampling", f"top_k is {self.top_k}; 1 and more, or none at all, work.")
        if not self.temperature >= 0.0:
            raise ModelError("bad_sampling", f"temperature is {self.temperature}; 0 and more work.")
        if self.top_p is not None and not self.top_p >= 0.0:
            raise ModelError("bad_sampling", f"top_p is {self.top_p}; 0 and more work.")
        if not self.repetition_penalty > 0.0:
            raise ModelError("bad_sampling", f"repetition_penalty is {self.repetition_penalty}; above 0 works.")


def penalise(logits: Tensor, factor: Tensor) -> Tensor:
    """Push down tokens that occurred: `factor` is the repetition penalty there and 1 elsewhere."""
    return torch.where(logits < 0, logits * factor, logits / factor)


def probabilities(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Penalised logits -> top-p, temperature, top-k, softmax."""
    z = logits
    if settings.top_p is not None and settings.top_p < 1:
        z = _keep_nucleus(z, settings.top_p)
    if settings.temperature != 1:
        z = z / max(settings.temperature, SMALLEST_TEMPERATURE)
    if settings.top_k is not None and settings.top_k < z.shape[-1]:
        threshold = torch.topk(z, settings.top_k).values[:, -1:]
        z = z.masked_fill(z < threshold, -torch.inf)
    return torch.softmax(z, dim=-1)


def draw(p: Tensor, noise: Tensor) -> Tensor:
    """One token a row, (B,). With Exponential(1) noise the largest p / noise is an exact draw from p."""
    return (p / noise.clamp_min(torch.finfo(noise.dtype).tiny)).argmax(dim=-1)


def generator_noise(generators: list[torch.Generator], device: torch.device) -> Noise:
    """Noise from one generator a row, so that no row depends on who shares its batch."""

    def noise(step: int, alive: list[int], width: int) -> Tensor:
        rows = [torch.empty(width, device=generators[i].device).exponential_(generator=generators[i]) for i in alive]
        return (rows[0][None] if len(rows) == 1 else torch.stack(rows)).to(device)

    return noise


def recorded_noise(recorded: Tensor, device: torch.device) -> Noise:
    """Noise that was written down, (steps, rows, V)."""
    steps = recorded.float().to(device)

    def noise(step: int, alive: list[int], width: int) -> Tensor:
        return steps[step, alive, :width]

    return noise


def _keep_nucleus(z: Tensor, top_p: float) -> Tensor:
    """Remove what lies beyond `top_p` and, unlike the textbook, what crosses it; the first stays."""
    ordered, order = torch.sort(z, dim=-1, descending=True)
    remove = torch.softmax(ordered, dim=-1).cumsum(dim=-1) > top_p
    remove[:, 0] = False
    return z.masked_fill(torch.zeros_like(remove).scatter(1, order, remove), -torch.inf)
