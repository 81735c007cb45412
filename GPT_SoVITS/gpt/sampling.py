"""From logits to a token, in the reference's exact order (specification s1-gpt §6); shapes are (B, V)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError

MIN_TEMPERATURE = 1e-5

Noise = Callable[[int, int], Tensor]
"""(step, width) -> Exponential(1) draws for one row, (width,)."""


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


@dataclass(frozen=True, slots=True)
class SamplingRules:
    """The settings of several rows side by side; a rule that no row uses is None and costs nothing."""

    top_p: Tensor | None
    """(B, 1), infinite where the rule is off."""
    temperature: Tensor | None
    """(B, 1)."""
    top_k: Tensor | None
    """(B, 1), the place of the last token that stays, from 0; None if it is `most` - 1 in all rows."""
    everything: Tensor | None
    """(B, 1), true where `top_k` is off."""
    most: int
    """The largest top_k; 0 if all rows keep all."""

    @classmethod
    def of(cls, settings: Sequence[SamplingSettings], device: torch.device) -> SamplingRules:
        """The rules of rows with these settings."""

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)[:, None]

        top_p = [s.top_p if s.top_p is not None and s.top_p < 1 else math.inf for s in settings]
        temperature = [1.0 if s.temperature == 1 else max(s.temperature, MIN_TEMPERATURE) for s in settings]
        top_k = [s.top_k for s in settings]
        most = max((k for k in top_k if k is not None), default=0)
        differ = most > 0 and len(set(top_k)) > 1
        return cls(
            top_p=column(top_p) if any(p < math.inf for p in top_p) else None,
            temperature=column(temperature) if any(t != 1 for t in temperature) else None,
            top_k=column([0 if k is None else k - 1 for k in top_k]) if differ else None,
            everything=column([k is None for k in top_k]) if differ and None in top_k else None,
            most=most,
        )


def apply_repetition_penalty(logits: Tensor, factor: Tensor) -> Tensor:
    """Push down tokens that occurred: `factor` is the repetition penalty there and 1 elsewhere."""
    return torch.where(logits < 0, logits * factor, logits / factor)


def probabilities(logits: Tensor, rules: SamplingRules | SamplingSettings) -> Tensor:
    """Penalised logits -> top-p, temperature, top-k, softmax; one set of rules a row, or settings for all of them.

    A token that is out of the question has a logit of minus infinity.
    """
    z = logits
    if isinstance(rules, SamplingSettings):
        rules = SamplingRules.of([rules], z.device)
    if rules.top_p is not None:
        z = _keep_nucleus(z, rules.top_p)
    if rules.temperature is not None:
        z = z / rules.temperature
    if rules.most:
        threshold = best = torch.topk(z, min(rules.most, z.shape[-1])).values
        if rules.top_k is not None:
            threshold = best.gather(1, rules.top_k.clamp_max(best.shape[-1] - 1))
        threshold = threshold[:, -1:]
        if rules.everything is not None:
            threshold = threshold.masked_fill(rules.everything, -torch.inf)
        z = z.masked_fill(z < threshold, -torch.inf)
    return torch.softmax(z, dim=-1)


def draw(p: Tensor, noise: Tensor) -> Tensor:
    """One token a row, (B,). With Exponential(1) noise the largest p / noise is an exact draw from p."""
    return (p / noise.clamp_min(torch.finfo(noise.dtype).tiny)).argmax(dim=-1)


def generator_noise(generator: torch.Generator) -> Noise:
    """Noise from a row's own generator, so that it depends on nobody who shares its batch."""

    def noise(step: int, width: int) -> Tensor:
        return torch.empty(width, device=generator.device).exponential_(generator=generator)

    return noise


def recorded_noise(recorded: Tensor) -> Noise:
    """Noise of one row that was written down, (steps, V)."""
    steps = recorded.float()

    def noise(step: int, width: int) -> Tensor:
        return steps[step, :width]

    return noise


def _keep_nucleus(z: Tensor, top_p: Tensor) -> Tensor:
    """Remove what lies beyond `top_p` and, unlike the textbook, what crosses it; the first stays."""
    ordered, order = torch.sort(z, dim=-1, descending=True)
    remove = torch.softmax(ordered, dim=-1).cumsum(dim=-1) > top_p
    remove[:, 0] = False
    return z.masked_fill(torch.zeros_like(remove).scatter(1, order, remove), -torch.inf)
