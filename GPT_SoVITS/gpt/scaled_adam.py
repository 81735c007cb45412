"""ScaledAdam: Adam whose step is proportional to a tensor's own size, plus a learned overall scale.

Specification s1-gpt §9.1 and §9.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETA_CHANGE, BETA_SQUARE = 0.9, 0.95
EPS = 1e-8
SCALAR_FACTOR = 0.1
"""Of the learning rate, for one-element tensors and overall scales."""
SMALLEST_RMS, LARGEST_RMS = 1e-5, 3.0
SCALAR_LIMIT = 10.0
SCALE_PERIOD = 4
CLIP_FACTOR = 2.0


class ScaledAdam(torch.optim.Optimizer):
    """The optimizer of upstream. A missing gradient counts as zero."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.002, *, clip_period: int = 1000) -> None:
        super().__init__(params, {"lr": lr})
        if len(self.param_groups) != 1:
            raise ValueError("ScaledAdam takes one group of parameters")
        self.clip_period = clip_period
        self.updates = 0
        self.clip_scale = 1.0
        """The clip factor of the last update; it applies to the scale's gradient alone."""
        self.norms: Tensor | None = None
        self.threshold = 0.0
        # Tensors of one shape are stacked: kernel launches would take longer than the arithmetic.
        shapes: dict[torch.Size, list[Tensor]] = {}
        for parameter in self.param_groups[0]["params"]:
            shapes.setdefault(parameter.shape, []).append(parameter)
        self.stacks = [_Stack(parameters) for parameters in shapes.values()]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure
        """Update all parameters by their gradients."""
        lr = self.param_groups[0]["lr"]
        gradients = [stack.gradients() for stack in self.stacks]
        self.clip_scale = self._clip_scale(gradients)
        for stack, gradient in zip(self.stacks, gradients):
            stack.update(gradient, lr, self.updates, self.clip_scale)
        self.updates += 1

    def _clip_scale(self, gradients: list[Tensor]) -> float:
        """Return the clip factor of this update, from its norm and the median of earlier ones (§9.2)."""
        if self.updates == 0:
            return 1.0
        squares = [stack.scaled_square(gradient) for stack, gradient in zip(self.stacks, gradients)]
        norm = torch.stack(squares).sum().sqrt()
        if self.norms is None:
            self.norms = torch.zeros(self.clip_period, device=norm.device)
        slot = self.updates % self.clip_period
        self.norms[slot] = norm
        if self.updates < self.clip_period:
            return 1.0
        if slot == 0:
            self.threshold = CLIP_FACTOR * float(self.norms.sort().values[self.clip_period // 4 * 2])
        return min(1.0, self.threshold / (float(norm) + 1e-20))

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, which `weights_only` can load."""
        return {
            "updates": self.updates,
            "lr": self.param_groups[0]["lr"],
            "norms": self.norms,
            "threshold": self.threshold,
            "stacks": [stack.state for stack in self.stacks],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.updates = state_dict["updates"]
        self.param_groups[0]["lr"] = state_dict["lr"]
        self.norms = state_dict["norms"]
        self.threshold = state_dict["threshold"]
        for stack, state in zip(self.stacks, state_dict["stacks"], strict=True):
            for name, value in state.items():
                stack.state[name].copy_(value)


class _Stack:
    """Parameters of one shape, their state stacked along a new first axis: (n, *shape)."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.scalar = parameters[0].numel() == 1
        self.axes = tuple(range(1, parameters[0].dim() + 1))
        self.weights = torch.stack([p.detach() for p in parameters])
        """A copy until the first update, from which on the parameters are its parts and need not be copied."""
        w = self.weights.float()
        self.state = {"change": torch.zeros_like(w), "square": torch.zeros_like(w)}
        if not self.scalar:
            self.state |= {
                "rms": self._rms(w),  # (n, 1, …)
                "scale_square": torch.zeros_like(self._rms(w)),
                "scale_gradients": torch.zeros(SCALE_PERIOD, *self._rms(w).shape, device=w.device),
            }

    def gradients(self) -> Tensor:
        return torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters])

    def scaled_square(self, gradient: Tensor) -> Tensor:
        return gradient.square().sum() if self.scalar else (gradient * self.state["rms"]).square_().sum()

    def update(self, gradient: Tensor, lr: float, k: int, clip_scale: float) -> None:
        """Update the parameters; the gradient is used up."""
        w = self._stacked_weights()
        change = self.state["change"].mul_(BETA_CHANGE)
        if self.scalar:
            change.sub_(SCALAR_FACTOR * lr * (1 - BETA_CHANGE) * gradient / self._spread(gradient, k, always=True))
            w.clamp_(-SCALAR_LIMIT, SCALAR_LIMIT)
        else:
            self._rescale(w, gradient if clip_scale == 1 else gradient * clip_scale, lr, k)
            step = lr * (1 - BETA_CHANGE) * self.state["rms"].clamp_min(SMALLEST_RMS)
            spread = self._spread(gradient, k, always=False)
            change.sub_(gradient.mul_(step).div_(spread))
        w.add_(change)

    def _stacked_weights(self) -> Tensor:
        """Return the weights (n, *shape), of which the parameters are views."""
        stack = self.weights
        if any(p.data_ptr() != part.data_ptr() for p, part in zip(self.parameters, stack.unbind())):
            stack = self.weights = torch.stack([p.detach() for p in self.parameters])
            for parameter, part in zip(self.parameters, stack.unbind()):
                parameter.data = part
        return stack

    def _spread(self, gradient: Tensor, k: int, *, always: bool) -> Tensor:
        """Return the root mean square of the gradient over time, corrected for a short history.

        Tensors are corrected only while that matters, scalars always.
        """
        square = self.state["square"].mul_(BETA_SQUARE).addcmul_(gradient, gradient, value=1 - BETA_SQUARE)
        history = 1 - BETA_SQUARE ** (k + 1)
        root = (square / history).sqrt_() if always or history < 0.99 else square.sqrt()
        return root.add_(EPS)

    def _rescale(self, w: Tensor, gradient: Tensor, lr: float, k: int) -> None:
        """Collect the gradient of the overall scale; every fourth time, apply it to the tensor."""
        collected = self.state["scale_gradients"]
        collected[k % SCALE_PERIOD] = (w * gradient).sum(dim=self.axes, keepdim=True)
        if k % SCALE_PERIOD != SCALE_PERIOD - 1:
            return
        rms = self.state["rms"].copy_(self._rms(w))
        beta = BETA_SQUARE**SCALE_PERIOD
        square = self.state["scale_square"].mul_(beta).add_((1 - beta) * collected.square().mean(dim=0))
        history = (1 - beta ** ((k + 1) // SCALE_PERIOD)) ** 0.5
        step = -SCALAR_FACTOR * lr * history * collected.sum(dim=0) / (square.sqrt() + EPS)
        step = step.masked_fill(rms < SMALLEST_RMS, 0.0)
        step = step.masked_fill(rms > LARGEST_RMS, -SCALAR_FACTOR * lr * SCALE_PERIOD)
        self.state["change"].add_((1 - BETA_CHANGE) * step * w)

    def _rms(self, w: Tensor) -> Tensor:
        return w.square().mean(dim=self.axes, keepdim=True).sqrt()
