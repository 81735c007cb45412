"""The training of stage 1: one plan, from its data to its last checkpoint, stopped and resumed anywhere.

Differences from the reference are deliberate (specification s1-gpt §14.2 to §14.4): rows do not influence one
another, every batch reaches an update, and no update is larger than the others. `compat="reference"` undoes
them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.alignment import align_items
from GPT_SoVITS.gpt.data import GPTItem, bucket_order, collate, effective_batch_size, read_items, repeat_small
from GPT_SoVITS.gpt.guided_attention import GuidedAttention
from GPT_SoVITS.gpt.loss import GPTBatch, GPTLoss, compute_loss
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.scaled_adam import ScaledAdam
from GPT_SoVITS.gpt.schedule import UpdateSchedule
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.text.symbols import symbols
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers
from GPT_SoVITS.training.base_weights import load_base_weights, open_base
from GPT_SoVITS.training.prefetch import Prefetcher
from GPT_SoVITS.training.resume import fingerprint
from GPT_SoVITS.training.trainer import BaseTrainer, Emit

logger = logging.getLogger(__name__)

MIN_ITEMS = 2
LIKE_V2 = ("v2", "v2Pro", "v2ProPlus", "v3", "v4")
FIRST_SCALE = 2.0**6
"""Of float16: the loss is a sum over thousands of tokens, which the usual scale would carry out of range at once."""


def recipe_name(version: str) -> str:
    """The recipe of a version's GPT; those that followed v2 kept its."""
    return "v2_gpt" if version in LIKE_V2 else f"{version}_gpt"


class GPTTrainer(BaseTrainer):
    """Model, optimiser and place in the plan. A step is one batch; an update may collect several."""

    kind, main_loss = "gpt", "loss"

    def __init__(self, plan: GPTTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Read everything and go to where an earlier run stopped. Raises ModelError."""
        super().__init__(plan, emit, stop)
        self.dpo = plan.dpo
        self.config, self.model = _build(plan)
        if plan.export_official:  # before the work, not after it
            check_official(self._checkpoint())
        self.model.to(self.device).train()
        self.group.share(self.model)
        if plan.grad_ckpt:
            checkpoint_layers(self.model.model.h.layers)
        items = _usable_items(plan, self.config, self.model)
        self.items = repeat_small(items)
        self.lengths = [len(item.tokens) for item in self.items]
        self.batch_size = effective_batch_size(plan.batch_size, len(self.items), preference=plan.dpo)
        mine = -(-len(self.items) // self.group.size)
        self.schedule = _schedule(plan, self.config, batches=-(-mine // self.batch_size))
        self.optimizer = ScaledAdam(self.model.parameters())
        self.precision = self.choose_precision(self.model.dimensions.width, first_scale=FIRST_SCALE)
        self.load = Prefetcher(collate)
        self.rate = 0.0
        """The learning rate of the step before."""
        self.begin(_mark(plan, self.config, items))
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(items), self.schedule.batches, self.batch_size, self.planned_updates, self.precision.name,
        )  # fmt: skip

    @property
    def steps_per_epoch(self) -> int:
        return self.schedule.batches

    @property
    def planned_updates(self) -> int:
        return self.schedule.planned_updates

    def steps(self, epoch: int) -> Sequence[list[GPTItem]]:
        group, size = self.group, self.batch_size
        order = bucket_order(self.lengths, size, epoch=epoch, replicas=group.size, rank=group.rank)
        return [[self.items[i] for i in order[start : start + size]] for start in range(0, len(order), size)]

    def step(self, work: list[GPTItem], following: list[GPTItem] | None) -> tuple[dict[str, float], float]:
        """One batch, and an update where the schedule wants one; the losses are per token."""
        with self.timer.loading():
            batch = self.load(work, following).to(self.device)
        with self.timer.step():
            with self.precision.autocast():
                result = self.compute_loss(work, batch)
            self.precision.backward(result.loss)
            loss = float(result.cross_entropy)
            seen = [loss, result.asked, *result.top3_hits(self.model.dimensions.end)]
            self.rate = self.schedule.rate(self.optimizer.updates)
            if self.schedule.is_due(self.place.epoch, self.place.batch):
                self._update()
        preference = float(result.loss.detach()) - loss
        seen = self.group.sum(torch.tensor([*seen, preference], dtype=torch.float64)).tolist()
        loss, asked, found, counted, preference = seen
        losses = {"loss": loss / asked, "top3_accuracy": found / counted}
        if self.dpo:
            losses["preference_loss"] = preference / self.group.size
        return losses, asked

    @cached_property
    def guide(self) -> GuidedAttention | None:
        """Tells a model that has pointers where they should be."""
        if not self.model.dimensions.pointers:
            return None
        return GuidedAttention(self.model, align_items(self.items, BASE_FOLDER / "sovits.safetensors"))

    def compute_loss(self, work: list[GPTItem], batch: GPTBatch) -> GPTLoss:
        """What a batch, the items of `work`, is to be learnt by."""
        if self.guide is not None:
            return self.guide.compute_loss(work, batch, preference=self.dpo)
        return compute_loss(self.model, batch, preference=self.dpo, compat=self.plan.compat)

    def rates(self) -> dict[str, float]:
        return {"learning_rate": self.rate}

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        write_official(folder / f"{self.plan.experiment}-e{self.place.epoch}.ckpt", self._checkpoint(self.place.epoch))

    def state(self) -> dict[str, Any]:
        """Gradients of a half-collected update are among it: the first process takes over what the others have."""
        self.group.join_gradients(self.model.parameters(), mean=False)
        if not self.group.main:
            self.optimizer.zero_grad()
        return {
            "model": self.model.state_dict(),
            "gradients": {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None},
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=True)
        for name, parameter in self.model.named_parameters():
            gradient = state["gradients"].get(name) if self.group.main else None
            parameter.grad = None if gradient is None else gradient.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])

    def report(self) -> dict[str, Any]:
        return {
            "final_top3_accuracy": self.place.history[-1]["top3_accuracy"],
            "updates": self.optimizer.updates,
            "recordings": len({item.name for item in self.items}),
        }

    def _checkpoint(self, epoch: int = 0) -> Checkpoint:
        return Checkpoint(self.kind, self.plan.version, self.config, self.weights(), {"epoch": epoch})

    def _update(self) -> None:
        """Losses are sums, so several processes, as several batches, make the gradients of one large batch."""
        self.group.join_gradients(self.model.parameters(), mean=False)
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.precision.unscale(self.optimizer)
        self.precision.step(self.optimizer)
        self.precision.update()
        self.optimizer.zero_grad()


def _build(plan: GPTTrainingConfig) -> tuple[dict[str, Any], Text2Semantic]:
    """The recipe and its model, begun from the base's weights and dimensions where there is a base."""
    config = load_config(recipe_name(plan.version))
    config["train"] |= plan.train
    dropout = {name: config["train"][name] for name in ("layer_dropout", "inner_dropout")}
    if plan.base is None:
        return config, Text2Semantic(config, **dropout)
    base = open_base(plan.base, "gpt", plan.version)
    config = merge_config(config, {"model": {"pointers": []} | base.config["model"]})
    model = Text2Semantic(config, **dropout)
    load_base_weights(model, base.state, plan.base)
    return config, model


def _usable_items(plan: GPTTrainingConfig, config: dict[str, Any], model: Text2Semantic) -> list[GPTItem]:
    items, left_out = read_items(plan.data, symbols(plan.version), max_seconds=config["data"]["max_sec"])
    reasons = ", ".join(f"{count} for {reason}" for reason, count in left_out.most_common())
    if left_out:
        logger.warning("Left out %d recordings: %s.", left_out.total(), reasons)
    if len(items) < MIN_ITEMS:
        raise ModelError(
            "dataset_too_small",
            f"{len(items)} usable recordings were found, and at least {MIN_ITEMS} are needed."
            + (f" Left out: {reasons}." if reasons else ""),
            hint="Give a longer recording, or check its transcripts.",
        )
    dimensions = model.dimensions
    highest = max(max(item.tokens) for item in items), max(max(item.phones) for item in items)
    if highest[0] >= dimensions.end or highest[1] >= dimensions.phones:
        raise ModelError(
            "wrong_base" if plan.base else "bad_dataset",
            f"The training set holds tokens up to {highest[0]} and phonemes up to {highest[1]}; "
            f"the model knows {dimensions.end} and {dimensions.phones}.",
        )
    return items


def _schedule(plan: GPTTrainingConfig, config: dict[str, Any], batches: int) -> UpdateSchedule:
    train = config["train"]
    return UpdateSchedule(
        epochs=plan.epochs,
        batches=batches,
        update_every=plan.accumulate or train["update_every"],
        learning_rate=train["learning_rate"],
        warmup_updates=train["warmup_updates"],
        final_factor=train["final_rate_factor"],
        compat=plan.compat,
    )


def _mark(plan: GPTTrainingConfig, config: dict[str, Any], items: list[GPTItem]) -> str:
    """Tells whether a saved state belongs to this plan."""
    return fingerprint(
        [[item.name, item.phones, item.tokens, item.bert is not None] for item in items],
        config,
        [plan.version, plan.batch_size, plan.seed, str(plan.base), plan.dpo, plan.compat, plan.device],
        plan.accumulate,
    )
