"""One update of v3 and v4, from one batch or from several as if they were one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from GPT_SoVITS.flow_matching.cfm import RandomDraws
from GPT_SoVITS.flow_matching.config import FlowMatchingTrainSettings
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.gradient_reducer import GradientReducer
from GPT_SoVITS.training.precision import Precision


class FlowMatchingOptimizerStep:
    """The network and the optimizer of the parameters that are trained."""

    def __init__(
        self,
        model: FlowMatchingSoVITS,
        settings: FlowMatchingTrainSettings,
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
        compat: str | None = None,
    ) -> None:
        """Set up the optimizer; `precision` is fp32 and `group` a lone process by default."""
        self.model, self.settings, self.compat = model, settings, compat
        device = next(model.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.reducer = GradientReducer(self.group, self.trained.values())
        self.optimizer = torch.optim.AdamW(
            list(self.trained.values()),
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def __call__(
        self, batches: Sequence[FlowMatchingBatch], draws: Sequence[RandomDraws] | None = None
    ) -> dict[str, float]:
        """Update the network from batches.

        Args:
            batches: the recordings.
            draws: random numbers of each batch, in place of those of the global random generator.

        Returns:
            `loss`, the mean over batches and processes; `flow` or `consistency`, or both, the means of this process's
            batches that learned it; and `grad_norm`, the 2-norm of the gradients, unless half precision overflowed and
            the update was skipped.
        """
        self.optimizer.zero_grad()
        losses: dict[str, list[Tensor]] = {"loss": []}
        for batch, batch_draws in zip(batches, draws or [self.draw(batch) for batch in batches]):
            with self.precision.autocast():
                loss = self.model(batch, batch_draws.to(batch.mel.device), compat=self.compat)
            with self.reducer.overlapping(last=batch is batches[-1]):
                self.precision.backward(loss / len(batches))
            losses["loss"].append(loss.detach())
            losses.setdefault("flow" if batch_draws.halvings is None else "consistency", []).append(loss.detach())
        parameters = list(self.trained.values())
        self.reducer.reduce(mean=True)
        self.precision.unscale(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm or math.inf))
        self.precision.step(self.optimizer)
        self.precision.update()
        means = {name: float(torch.stack(values).mean()) for name, values in losses.items()}
        means |= self.group.mean({"loss": means["loss"]})
        overflowed = self.precision.name == "fp16" and not math.isfinite(norm)
        return means if overflowed else means | {"grad_norm": norm}

    def draw(self, batch: FlowMatchingBatch) -> RandomDraws:
        """Draw the random numbers of a batch from the global random generator."""
        rows, bands, frames = batch.mel.shape
        return RandomDraws.random(rows, bands, frames, consistency_share=self.settings.consistency_share)
