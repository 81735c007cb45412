"""The trainer of stage 1, the GPT.

Differences from upstream are deliberate (specification s1-gpt §14.2 to §14.4): rows do not influence one another, every
batch reaches an update, and no update is larger than the others. `compat="reference"` undoes them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from common.json_types import JsonObject
from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.configs import Recipe, load_config, merge_config
from GPT_SoVITS.configs.sections import read_section
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
from GPT_SoVITS.training.gradient_reducer import GradientReducer
from GPT_SoVITS.training.prefetch import Prefetcher, pin
from GPT_SoVITS.training.resume import TrainerState, fingerprint
from GPT_SoVITS.training.trainer import BaseTrainer, Emit, StepResult

logger = logging.getLogger(__name__)

MIN_ITEMS = 2
LIKE_V2 = ("v2", "v2Pro", "v2ProPlus", "v3", "v4")
FIRST_SCALE = 2.0**6
"""Of float16: the loss is a sum over thousands of tokens, which would overflow at once at the usual scale."""


@dataclass(frozen=True, slots=True)
class GPTTrainSettings:
    """The `train` section of a recipe."""

    layer_dropout: float
    inner_dropout: float
    """Of attention weights and hidden units."""
    update_every: int
    """Batches whose gradients are summed, counted across epochs."""
    learning_rate: float
    warmup_updates: int
    final_rate_factor: float


def recipe_name(version: str) -> str:
    """Return the recipe of a version's GPT; versions after v2 kept its GPT."""
    return "v2_gpt" if version in LIKE_V2 else f"{version}_gpt"


class GPTTrainer(BaseTrainer[list[GPTItem]]):
    """The GPT, its optimizer and its data. A step is one batch; an update may collect several."""

    kind = "gpt"
    main_loss = "loss"
    config: GPTTrainingConfig

    def __init__(self, config: GPTTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Set up the model, the data and the optimizer, and resume an earlier run. Raises ModelError."""
        super().__init__(config, emit, stop)
        self.recipe, self.model = _build_model(config)
        if config.export_official:  # before the work, not after it
            check_official(self._checkpoint())
        self.model.to(self.device).train()
        self.group.broadcast_weights(self.model)
        if config.grad_ckpt:
            checkpoint_layers(self.model.model.h.layers)

        items = _read_usable_items(config, self.recipe, self.model)
        self.items = repeat_small(items)
        self.lengths = [len(item.tokens) for item in self.items]
        self.batch_size = effective_batch_size(config.batch_size, len(self.items), preference=config.dpo)
        self.load = Prefetcher[list[GPTItem], GPTBatch](lambda items: pin(collate(items), self.device))

        settings = read_section(GPTTrainSettings, self.recipe["train"], extra=True)
        items_per_process = -(-len(self.items) // self.group.size)
        self.schedule = UpdateSchedule(
            epochs=config.epochs,
            batches=-(-items_per_process // self.batch_size),
            update_every=config.accumulate or settings.update_every,
            learning_rate=settings.learning_rate,
            warmup_updates=settings.warmup_updates,
            final_factor=settings.final_rate_factor,
            compat=config.compat,
        )
        self.reducer = GradientReducer(self.group, self.model.parameters())
        self.optimizer = ScaledAdam(self.model.parameters())
        self.precision = self.make_precision(self.model.config.embedding_dim, first_scale=FIRST_SCALE)
        self.rate = 0.0
        """The learning rate of the last step."""
        self.prepare(
            fingerprint(
                [[item.name, item.phonemes, item.tokens, item.bert is not None] for item in items],
                self.recipe,
                [
                    *(config.version, config.batch_size, config.seed, str(config.base)),
                    *(config.dpo, config.compat, config.device),
                ],
                config.accumulate,
            )
        )
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(items), self.schedule.batches, self.batch_size, self.planned_updates, self.precision.name,
        )  # fmt: skip

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.schedule.batches

    @property
    def planned_updates(self) -> int:
        """Updates of the whole training."""
        return self.schedule.planned_updates

    def steps(self, epoch: int) -> Sequence[list[GPTItem]]:
        """Return the batches of an epoch, which counts from 0."""
        group, size = self.group, self.batch_size
        order = bucket_order(self.lengths, size, epoch=epoch, replicas=group.size, rank=group.rank)
        return [[self.items[i] for i in order[start : start + size]] for start in range(0, len(order), size)]

    def step(self, work: list[GPTItem], following: list[GPTItem] | None) -> StepResult:
        """Learn from one batch, and update where the schedule has an update; the losses are per token."""
        with self.timer.loading():
            batch = self.load(work, following).to(self.device)
        with self.timer.step():
            with self.precision.autocast():
                result = self.compute_loss(work, batch)
            due = self.schedule.is_due(self.progress.epoch, self.progress.batch)
            with self.reducer.overlapping(last=due):
                self.precision.backward(result.loss)
            cross_entropy = float(result.cross_entropy)
            hits, counted = result.top3_hits(self.model.config.end_token)
            totals = [cross_entropy, result.target_count, hits, counted]
            self.rate = self.schedule.rate(self.optimizer.updates)
            if due:
                self._update()
        totals.append(float(result.loss.detach()) - cross_entropy)
        cross_entropy, targets, hits, counted, preference = self.group.sum(
            torch.tensor(totals, dtype=torch.float64)
        ).tolist()
        losses = {"loss": cross_entropy / targets, "top3_accuracy": hits / counted}
        if self.config.dpo:
            losses["preference_loss"] = preference / self.group.size
        return StepResult(losses, targets)

    @cached_property
    def guided_attention(self) -> GuidedAttention | None:
        """The training of a model's pointers; None for a model without pointers."""
        if not self.model.config.pointers:
            return None
        return GuidedAttention(self.model, align_items(self.items, BASE_FOLDER / "sovits.safetensors"))

    def compute_loss(self, items: list[GPTItem], batch: GPTBatch) -> GPTLoss:
        """Compute the loss of a batch, which holds these items."""
        if self.guided_attention is not None:
            return self.guided_attention.compute_loss(items, batch, preference=self.config.dpo)
        return compute_loss(self.model, batch, preference=self.config.dpo, compat=self.config.compat)

    def rates(self) -> dict[str, float]:
        """Return the learning rate of the last step."""
        return {"learning_rate": self.rate}

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that a checkpoint holds."""
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        """Write the official file of the epoch that has just ended."""
        epoch = self.progress.epoch
        write_official(folder / f"{self.config.experiment}-e{epoch}.ckpt", self._checkpoint(epoch))

    def state(self) -> TrainerState:
        """Return the state with the gradients of a half-collected update, which move to the main process."""
        self.reducer.reduce(mean=False)
        if not self.group.main:
            self.optimizer.zero_grad()
        return {
            "model": self.model.state_dict(),
            "gradients": {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None},
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    def load_state(self, state: TrainerState) -> None:
        """Restore what `state` returned."""
        self.model.load_state_dict(state["model"], strict=True)
        for name, parameter in self.model.named_parameters():
            gradient = state["gradients"].get(name) if self.group.main else None
            parameter.grad = None if gradient is None else gradient.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])

    def report(self) -> JsonObject:
        """Return the GPT's own part of the metrics of the `done` event."""
        return {
            "final_top3_accuracy": self.progress.history[-1]["top3_accuracy"],
            "updates": self.optimizer.updates,
            "recordings": len({item.name for item in self.items}),
            "precision": self.precision.name,
        }

    def _checkpoint(self, epoch: int = 0) -> Checkpoint:
        return Checkpoint(self.kind, self.config.version, self.recipe, self.weights(), {"epoch": epoch})

    def _update(self) -> None:
        """Update the weights. Losses are sums, so gradients of several processes or batches add up."""
        self.reducer.reduce(mean=False)
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.precision.unscale(self.optimizer)
        self.precision.step(self.optimizer)
        self.precision.update()
        self.optimizer.zero_grad()


def _build_model(config: GPTTrainingConfig) -> tuple[Recipe, Text2Semantic]:
    """Return the recipe and its model, with the base's weights and dimensions where there is a base."""
    recipe = load_config(recipe_name(config.version))
    recipe["train"] |= config.train
    settings = read_section(GPTTrainSettings, recipe["train"], extra=True)
    base = None if config.base is None else open_base(config.base, "gpt", config.version)
    if base is not None:
        recipe = merge_config(recipe, {"model": {"pointers": []} | base.config["model"]})
    model = Text2Semantic.from_config(
        recipe, layer_dropout=settings.layer_dropout, inner_dropout=settings.inner_dropout
    )
    if base is not None and config.base is not None:
        load_base_weights(model, base.state, config.base)
    return recipe, model


def _read_usable_items(config: GPTTrainingConfig, recipe: Recipe, model: Text2Semantic) -> list[GPTItem]:
    """Return the recordings that the model can learn from. Raise ModelError where they are too few or do not fit."""
    items, left_out = read_items(config.data, symbols(config.version), max_seconds=recipe["data"]["max_sec"])
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
    tokens, phonemes = model.config.end_token, model.config.phoneme_vocab_size
    highest = max(max(item.tokens) for item in items), max(max(item.phonemes) for item in items)
    if highest[0] >= tokens or highest[1] >= phonemes:
        raise ModelError(
            "wrong_base" if config.base else "bad_dataset",
            f"The training set holds tokens up to {highest[0]} and phonemes up to {highest[1]}; "
            f"the model knows {tokens} and {phonemes}.",
        )
    return items
