"""One training step of v3 and v4: an update from one batch, or from several as if they were one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from GPT_SoVITS.flow_matching.cfm import RandomDraws
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.precision import Precision


class FlowMatchingOptimizerStep:
    """The model and its optimiser, which holds whatever of it learns."""

    def __init__(
        self,
        model: FlowMatchingSoVITS,
        settings: dict[str, Any],
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
        compat: str | None = None,
    ) -> None:
        """`precision` is fp32 and `group` a lone process unless said otherwise."""
        self.model, self.settings, self.compat = model, settings, compat
        device = next(model.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        self.learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            list(self.learning.values()),
            betas=tuple(settings["betas"]),
            eps=settings["eps"],
            weight_decay=settings["weight_decay"],
            fused=True,
        )

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def __call__(
        self, batches: Sequence[FlowMatchingBatch], draws: Sequence[RandomDraws] | None = None
    ) -> dict[str, float]:
        """Learn from batches, over the processes of the group, too; `draws` replaces those of the global state.

        Returns `loss`, the mean; `flow` or `consistency`, or both, those of this process alone by what was learned;
        and `grad_norm`, unless half precision overflowed and the update was left out.
        """
        self.optimizer.zero_grad()
        told: dict[str, list[Tensor]] = {"loss": []}
        for batch, draw in zip(batches, draws or [self.draw(batch) for batch in batches]):
            with self.precision.autocast():
                loss = self.model(batch, draw.to(batch.mel.device), compat=self.compat)
            self.precision.backward(loss / len(batches))
            told["loss"].append(loss.detach())
            told.setdefault("flow" if draw.halvings is None else "consistency", []).append(loss.detach())
        norm = self._update()
        means = {name: float(torch.stack(losses).mean()) for name, losses in told.items()}
        means |= self.group.mean({"loss": means["loss"]})
        overflowed = self.precision.name == "fp16" and not math.isfinite(norm)
        return means if overflowed else means | {"grad_norm": norm}

    def draw(self, batch: FlowMatchingBatch) -> RandomDraws:
        return RandomDraws.random(*batch.mel.shape, consistency_share=self.settings["consistency_share"])

    def _update(self) -> float:
        """Returns the gradients' 2-norm; nothing is clipped unless the recipe says so."""
        parameters = list(self.learning.values())
        self.group.join_gradients(parameters, mean=True)
        self.precision.unscale(self.optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, self.settings["clip_norm"] or math.inf)
        self.precision.step(self.optimizer)
        self.precision.update()
        return float(norm)
