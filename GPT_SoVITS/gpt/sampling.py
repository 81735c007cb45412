"""Sampling: logits to a token, in upstream's exact order (specification s1-gpt §6). Shapes: B rows, V tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.noise import SeededNoise

MIN_TEMPERATURE = 1e-5

NoiseSource = SeededNoise | Tensor
"""Where a row's Exponential(1) noise comes from: a seed of its own, or a record (steps, V)."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How tokens are drawn. Raises ModelError("bad_sampling") for a value out of range."""

    top_k: int | None = 15
    """Number of likeliest tokens that are kept, ties included; 1 is greedy, None keeps all."""
    top_p: float | None = 1.0
    """Cumulative probability that is kept; None, and 1 or more, keep all."""
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    early_stop_num: int = -1
    """Generation ends once there are more tokens than this: after n + 1 of them at most; -1 sets no limit."""
    min_tokens: int = 11
    """The end token cannot be drawn for so many steps (§5.2, rule 3)."""

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ModelError("bad_sampling", f"top_k is {self.top_k}; 1 and more, or none at all, work.")
        if not self.temperature >= 0.0:
            raise ModelError("bad_sampling", f"temperature is {self.temperature}; 0 and more work.")
        if self.top_p is not None and not self.top_p >= 0.0:
            raise ModelError("bad_sampling", f"top_p is {self.top_p}; 0 and more work.")
        if not self.repetition_penalty > 0.0:
            raise ModelError("bad_sampling", f"repetition_penalty is {self.repetition_penalty}; above 0 works.")

    @property
    def nucleus(self) -> float:
        """What `top_p` keeps; infinity where it keeps all."""
        return self.top_p if self.top_p is not None and self.top_p < 1 else math.inf

    @property
    def divisor(self) -> float:
        """What the temperature divides logits by."""
        return 1.0 if self.temperature == 1 else max(self.temperature, MIN_TEMPERATURE)


@dataclass(frozen=True, slots=True)
class SamplingRules:
    """The settings of the rows of a batch; a rule that no row uses is None and costs nothing."""

    top_p: Tensor | None
    """(B, 1), infinity where the rule is off."""
    temperature: Tensor | None
    """(B, 1)."""
    top_k: Tensor | None
    """(B, 1), the rank of the last token that is kept, from 0; None if it is `max_top_k` - 1 in all rows."""
    keep_all: Tensor | None
    """(B, 1), true where `top_k` is off."""
    max_top_k: int
    """The largest top_k; 0 if all rows keep all."""

    @classmethod
    def of(cls, settings: Sequence[SamplingSettings], device: torch.device) -> SamplingRules:
        """Collect the settings of rows."""

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)[:, None]

        top_p = [s.nucleus for s in settings]
        temperature = [s.divisor for s in settings]
        top_k = [s.top_k for s in settings]
        max_top_k = max((k for k in top_k if k is not None), default=0)
        differ = max_top_k > 0 and len(set(top_k)) > 1
        return cls(
            top_p=column(top_p) if any(p < math.inf for p in top_p) else None,
            temperature=column(temperature) if any(t != 1 for t in temperature) else None,
            top_k=column([0 if k is None else k - 1 for k in top_k]) if differ else None,
            keep_all=column([k is None for k in top_k]) if differ and None in top_k else None,
            max_top_k=max_top_k,
        )


def apply_repetition_penalty(logits: Tensor, factor: Tensor) -> Tensor:
    """Lower the logits (B, V) of tokens that occurred: `factor` (B, V) is the penalty there and 1 elsewhere."""
    return torch.where(logits < 0, logits * factor, logits / factor)


def probabilities(logits: Tensor, rules: SamplingRules | SamplingSettings) -> Tensor:
    """Return the probabilities (B, V) after top-p, temperature and top-k, by rules per row or settings for all.

    A token that cannot be drawn has a logit of minus infinity.
    """
    z = logits
    if isinstance(rules, SamplingSettings):
        rules = SamplingRules.of([rules], z.device)
    if rules.top_p is not None:
        z = _keep_nucleus(z, rules.top_p)
    if rules.temperature is not None:
        z = z / rules.temperature
    if rules.max_top_k:
        threshold = best = torch.topk(z, min(rules.max_top_k, z.shape[-1])).values
        if rules.top_k is not None:
            threshold = best.gather(1, rules.top_k.clamp_max(best.shape[-1] - 1))
        threshold = threshold[:, -1:]
        if rules.keep_all is not None:
            threshold = threshold.masked_fill(rules.keep_all, -torch.inf)
        z = z.masked_fill(z < threshold, -torch.inf)
    return torch.softmax(z, dim=-1)


def draw(p: Tensor, noise: Tensor) -> Tensor:
    """Draw a token of every row, (B,), from p (B, V): with Exponential(1) noise the largest p / noise is a draw."""
    return (p / noise.clamp_min(torch.finfo(noise.dtype).tiny)).argmax(dim=-1)


def _keep_nucleus(z: Tensor, top_p: Tensor) -> Tensor:
    """Remove the tokens beyond `top_p` and, unlike the textbook, the one that crosses it; the first is kept."""
    ordered, order = torch.sort(z, dim=-1, descending=True)
    remove = torch.softmax(ordered, dim=-1).cumsum(dim=-1) > top_p
    remove[:, 0].zero_()
    return z.masked_fill(torch.zeros_like(remove).scatter(1, order, remove), -torch.inf)
