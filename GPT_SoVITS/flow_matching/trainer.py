"""The trainer of stage 2 for v3 and v4."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from common.json_types import JsonObject
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.build import build_model
from GPT_SoVITS.flow_matching.config import FlowMatchingTrainSettings
from GPT_SoVITS.flow_matching.data import FlowMatchingItem, FlowMatchingItemLoader, as_v2, collate
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.optimizer_step import FlowMatchingOptimizerStep
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.sovits.recording_trainer import RecordingTrainer
from GPT_SoVITS.sovits.recordings import RecordingBatches, StepEntries
from GPT_SoVITS.sovits.training_set import choose_source, select_entries
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers
from GPT_SoVITS.training.prefetch import pin
from GPT_SoVITS.training.resume import TrainerState, fingerprint
from GPT_SoVITS.training.trainer import Emit, StepResult


class FlowMatchingTrainer(RecordingTrainer[FlowMatchingItem]):
    """The network, its optimizer and its data. A step is one update."""

    main_loss = "loss"
    config: FlowMatchingTrainingConfig

    def __init__(self, config: FlowMatchingTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Set up the network, the data and the optimizer, and resume an earlier run. Raises ModelError."""
        super().__init__(config, emit, stop)
        self.recipe, model = build_model(config)
        if config.export_official:  # before the work, not after it
            check_official(self._checkpoint(model))
        self.settings = read_section(FlowMatchingTrainSettings, self.recipe["train"], extra=True)

        source = choose_source(config.data, config.source)
        self.batches = RecordingBatches(
            select_entries(config.data, as_v2(self.recipe), source=source),
            FlowMatchingItemLoader(config.data, self.recipe),
            self.settings.length_edges,
            config,
            self.group,
        )

        model.to(self.device).train()
        self.group.broadcast_weights(model)
        if config.grad_ckpt:
            checkpoint_layers(model.cfm.estimator.transformer_blocks)
        self.precision = self.make_precision(model.config.dit.dim)
        self.optimizer_step = FlowMatchingOptimizerStep(
            model, self.settings, precision=self.precision, group=self.group, compat=config.compat
        )
        self.prepare(
            fingerprint(
                self.batches.fingerprint_content(),
                self.recipe,
                [
                    *(config.version, config.batch_size, config.seed, config.compat, config.device),
                    *(config.rank, config.accumulate),
                ],
                str(config.base),
            )
        )
        self.log_size()

    def step(self, work: StepEntries, following: StepEntries | None) -> StepResult:
        """Update the network once."""
        with self.timer.loading():
            batches = [self.collate(items) for items in self.batches.load(work, following)]
        self.rate = self.settings.learning_rate * self.settings.lr_decay ** (self.progress.epoch + 1)
        self.optimizer_step.set_rate(self.rate)
        with self.timer.step():
            return StepResult(self.optimizer_step(batches))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that a checkpoint holds: a LoRA alone, or everything."""
        return self._checkpoint(self.optimizer_step.model).state

    def export(self, folder: Path) -> None:
        """Write the official file of the epoch that has just ended."""
        rank = "" if self.config.rank is None else f"_l{self.config.rank}"
        name = f"{self.config.experiment}_e{self.progress.epoch}_s{self.progress.step}{rank}.pth"
        info = {"epoch": self.progress.epoch, "step": self.progress.step}
        write_official(folder / name, replace(self._checkpoint(self.optimizer_step.model), info=info))

    def state(self) -> TrainerState:
        """Return only what is trained: the rest is the base, which the config names."""
        return {
            "weights": {name: parameter.detach() for name, parameter in self.optimizer_step.trained.items()},
            "optimizer": self.optimizer_step.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    @torch.no_grad()
    def load_state(self, state: TrainerState) -> None:
        """Restore what `state` returned."""
        for name, parameter in self.optimizer_step.trained.items():
            parameter.copy_(state["weights"][name])
        self.optimizer_step.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])

    def report(self) -> JsonObject:
        """Return the trainer's own part of the metrics of the `done` event."""
        return super().report() | {"lora_rank": self.config.rank}

    def collate(self, items: Sequence[FlowMatchingItem]) -> FlowMatchingBatch:
        """Pad items to a batch on the device."""
        return pin(collate(items, self.recipe["model"]["frame_ratio"]), self.device).to(self.device)

    def _checkpoint(self, model: FlowMatchingSoVITS) -> Checkpoint:
        state = model.state_dict() if self.config.rank is None else lora.lora_state(model)
        return Checkpoint(self.kind, self.config.version, self.recipe | {"name": self.config.experiment}, state)
