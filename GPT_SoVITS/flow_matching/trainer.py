"""The training of v3 and v4: one plan, from its recordings to its last checkpoint, stopped and resumed anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.build import build_model
from GPT_SoVITS.flow_matching.data import FlowMatchingItem, FlowMatchingItemLoader, collate, find_entries
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.optimizer_step import FlowMatchingOptimizerStep
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.sovits.data import BucketSampler
from GPT_SoVITS.sovits.training_set import TrainingSetEntry, choose_source
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers
from GPT_SoVITS.training.precision import Precision, choose_precision
from GPT_SoVITS.training.prefetch import Prefetcher
from GPT_SoVITS.training.resume import fingerprint
from GPT_SoVITS.training.trainer import BaseTrainer, Emit

logger = logging.getLogger(__name__)

MIN_ITEMS = 2

Work = list[list[TrainingSetEntry]]
"""One update's: its batches' recordings."""


class FlowMatchingTrainer(BaseTrainer):
    """The model, its optimiser and the place in the plan. A step is one update."""

    kind, main_loss = "sovits", "loss"
    plan: FlowMatchingTrainingConfig

    def __init__(self, plan: FlowMatchingTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Read everything and go to where an earlier run stopped. Raises ModelError."""
        super().__init__(plan, emit, stop)
        self.config, model = build_model(plan)
        if plan.export_official:  # before the work, not after it
            check_official(self._checkpoint(model))
        self.settings = self.config["train"]
        self.items = FlowMatchingItemLoader(plan.data, self.config)
        self.left_out: dict[str, str] = {}
        """Name of a recording -> why it is not learned from."""
        entries, repeats = self._usable_entries()
        self.entries = entries * repeats
        self.accumulate = plan.accumulate or 1
        self.sampler = BucketSampler(
            [entry.frames for entry in self.entries],
            plan.batch_size,
            self.settings["length_edges"],
            replicas=self.group.size,
            rank=self.group.rank,
        )
        model.to(self.device).train()
        self.group.share(model)
        if plan.grad_ckpt:
            checkpoint_layers(model.cfm.estimator.transformer_blocks)
        self.precision = Precision(
            choose_precision(plan.precision, self.device, self.config["model"]["dit"]["dim"]), self.device
        )
        self.learn = FlowMatchingOptimizerStep(
            model, self.settings, precision=self.precision, group=self.group, compat=plan.compat
        )
        self.load = Prefetcher(self._load)
        self.rate = 0.0
        """The learning rate of the step before."""
        self.begin(_mark(plan, self.config, entries))
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(entries), len(self.sampler), plan.batch_size, self.total_steps, self.precision.name,
        )  # fmt: skip

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.sampler) // self.accumulate)

    def steps(self, epoch: int) -> Sequence[Work]:
        batches = [[self.entries[i] for i in batch] for batch in self.sampler.epoch(epoch + 1)]
        return [batches[start : start + self.accumulate] for start in range(0, len(batches), self.accumulate)]

    def step(self, work: Work, following: Work | None) -> tuple[dict[str, float], float]:
        with self.timer.loading():
            batches = [self.batch(items) for items in self.load(work, following)]
        self.rate = self.settings["learning_rate"] * self.settings["lr_decay"] ** (self.place.epoch + 1)
        self.learn.set_rate(self.rate)
        with self.timer.step():
            losses = self.learn(batches)
        return losses, 1.0

    def rates(self) -> dict[str, float]:
        return {"learning_rate": self.rate}

    def weights(self) -> dict[str, Tensor]:
        """A LoRA alone, or everything."""
        return self._checkpoint(self.learn.model).state

    def export(self, folder: Path) -> None:
        rank = "" if self.plan.rank is None else f"_l{self.plan.rank}"
        name = f"{self.plan.experiment}_e{self.place.epoch}_s{self.place.step}{rank}.pth"
        info = {"epoch": self.place.epoch, "step": self.place.step}
        write_official(folder / name, replace(self._checkpoint(self.learn.model), info=info))

    def state(self) -> dict[str, Any]:
        """Only what learns: the rest is the base, which the plan names."""
        return {
            "weights": {name: parameter.detach() for name, parameter in self.learn.learning.items()},
            "optimizer": self.learn.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        for name, parameter in self.learn.learning.items():
            parameter.copy_(state["weights"][name])
        self.learn.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])

    def report(self) -> dict[str, Any]:
        return {
            "final_losses": self.place.history[-1],
            "recordings": len({entry.name for entry in self.entries}),
            "left_out": self.left_out,
            "precision": self.precision.name,
            "lora_rank": self.plan.rank,
        }

    def _checkpoint(self, model: FlowMatchingSoVITS) -> Checkpoint:
        state = model.state_dict() if self.plan.rank is None else lora.lora_state(model)
        return Checkpoint(self.kind, self.plan.version, self.config | {"name": self.plan.experiment}, state)

    def batch(self, items: Sequence[FlowMatchingItem]) -> FlowMatchingBatch:
        return collate(items, self.config["model"]["frame_ratio"]).to(self.device)

    def _load(self, work: Work) -> list[list[FlowMatchingItem]]:
        return [[self.items(entry) for entry in entries] for entries in work]

    def _usable_entries(self) -> tuple[list[TrainingSetEntry], int]:
        """Each recording that can be learned from, once, and how often the list counts in an epoch."""
        source = choose_source(self.plan.data, self.plan.source)
        entries, repeats, self.left_out = find_entries(self.plan.data, self.config, self.items, source)
        for name, reason in self.left_out.items():
            logger.warning("Left out %s: %s.", name, reason)
        if len(entries) < MIN_ITEMS:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.left_out.items())[:5])
            raise ModelError(
                "dataset_too_small",
                f"{len(entries)} usable recordings were found, and at least {MIN_ITEMS} are needed."
                + (f" Left out: {reasons}." if reasons else ""),
                hint="Give a longer recording, or check its transcripts.",
            )
        return entries, repeats


def _mark(plan: FlowMatchingTrainingConfig, config: dict[str, Any], entries: list[TrainingSetEntry]) -> str:
    """Tells whether a saved state belongs to this plan."""
    return fingerprint(
        [[entry.name, entry.phones, entry.frames, entry.codes] for entry in entries],
        config,
        [plan.version, plan.batch_size, plan.seed, plan.compat, plan.device, plan.rank, plan.accumulate],
        str(plan.base),
    )
