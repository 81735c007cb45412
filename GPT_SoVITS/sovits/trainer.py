"""The training of stage 2: one plan, from its recordings to its last checkpoint, stopped and resumed anywhere."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.adversarial_step import AdversarialOptimizerStep
from GPT_SoVITS.sovits.build import build_models
from GPT_SoVITS.sovits.data import (
    BucketSampler,
    SoVITSItem,
    SoVITSItemLoader,
    boundaries,
    collate,
    crop,
    load_usable,
    stretch,
)
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.frame_step import FrameOptimizerStep
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch
from GPT_SoVITS.sovits.preview import preview
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.sovits.training_set import TrainingSetEntry, choose_source, select_entries
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers
from GPT_SoVITS.training.prefetch import Prefetcher
from GPT_SoVITS.training.resume import fingerprint
from GPT_SoVITS.training.trainer import BaseTrainer, Emit

logger = logging.getLogger(__name__)

MIN_ITEMS = 2
PREVIEW_FRAMES = 250
"""The beginning of a recording that is listened to after each epoch."""

Work = list[list[TrainingSetEntry]]
"""One update's: its batches' recordings."""


class SoVITSTrainer(BaseTrainer):
    """Both models, their optimisers and the place in the plan. A step is one update of both."""

    kind = "sovits"

    def __init__(self, plan: SoVITSTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Read everything and go to where an earlier run stopped. Raises ModelError."""
        super().__init__(plan, emit, stop)
        self.config, generator, discriminator = build_models(plan)
        if plan.export_official:  # before the work, not after it
            check_official(Checkpoint(self.kind, plan.version, self.config, generator.voice_state()))
        self.items = SoVITSItemLoader(plan.data, self.config)
        self.left_out: dict[str, str] = {}
        """Name of a recording -> why it is not learned from."""
        self.source = choose_source(plan.data, plan.source)
        entries, repeats = self._usable_entries()
        self.entries = entries * repeats
        self.accumulate = plan.accumulate or 1
        frames = [entry.frames for entry in self.entries]
        self.sampler = BucketSampler(
            frames, plan.batch_size, boundaries(), replicas=self.group.size, rank=self.group.rank
        )
        generator.to(self.device).train()
        self.group.share(generator)
        self.precision = self.choose_precision(self.config["model"]["hidden_channels"])
        self.learn = self._learner(generator, discriminator)
        self.load = Prefetcher(self._load)
        self.rate = 0.0
        """The learning rate of the step before."""
        self.begin(_mark(plan, self.config, entries))
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(entries), len(self.sampler), plan.batch_size, self.total_steps, self.precision.name,
        )  # fmt: skip

    def _learner(
        self, generator: SoVITS, discriminator: Discriminator | None
    ) -> AdversarialOptimizerStep | FrameOptimizerStep:
        """What takes the steps."""
        if discriminator is None:
            if self.plan.grad_ckpt:
                checkpoint_layers(_encoders(generator))
            return FrameOptimizerStep(generator, self.config, precision=self.precision, group=self.group)
        discriminator.to(self.device).train()
        self.group.share(discriminator)
        if self.plan.grad_ckpt:
            checkpoint_layers(_costly_layers(generator, discriminator))
        return AdversarialOptimizerStep(
            generator,
            discriminator,
            self.config,
            precision=self.precision,
            group=self.group,
            compat=self.plan.compat,
        )

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.sampler) // self.accumulate)

    def steps(self, epoch: int) -> Sequence[Work]:
        batches = [[self.entries[i] for i in batch] for batch in self.sampler.epoch(epoch + 1)]
        return [batches[start : start + self.accumulate] for start in range(0, len(batches), self.accumulate)]

    def step(self, work: Work, following: Work | None) -> tuple[dict[str, float], float]:
        """One update of both models."""
        settings = self.config["train"]
        with self.timer.loading():
            batches = [self._batch(items) for items in self.load(work, following)]
        self.rate = learning_rate(settings, epoch=self.place.epoch + 1, step=self.place.step, total=self.total_steps)
        self.learn.set_rate(self.rate)
        with self.timer.step():
            losses = self.learn(
                batches, adversarial=self.place.step >= settings["discriminator_start"] * self.total_steps
            )
        return losses, 1.0

    @property
    def main_loss(self) -> str:  # the total jumps when a discriminator joins, and says little
        return "mel" if isinstance(self.learn, AdversarialOptimizerStep) else "spectral"

    def rates(self) -> dict[str, float]:
        return {"learning_rate": self.rate}

    def weights(self) -> dict[str, Tensor]:
        return self.learn.generator.voice_state()

    def export(self, folder: Path) -> None:
        info = {"epoch": self.place.epoch, "step": self.place.step}
        name = f"{self.plan.experiment}_e{self.place.epoch}_s{self.place.step}.pth"
        config = self.config | {"name": self.plan.experiment}
        write_official(folder / name, Checkpoint(self.kind, self.plan.version, config, self.weights(), info))

    def state(self) -> dict[str, Any]:
        return {
            "generator": self.learn.generator.state_dict(),
            "discriminator": self.learn.discriminator.state_dict()
            if isinstance(self.learn, AdversarialOptimizerStep)
            else {},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.learn.optimizers.items()},
            "precision": self.precision.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.learn.generator.load_state_dict(state["generator"])
        if isinstance(self.learn, AdversarialOptimizerStep):
            self.learn.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.learn.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.precision.load_state_dict(state["precision"])

    def sounds(self) -> Iterator[tuple[str, Tensor, int]]:
        """The first recording as it is, once, and as the model speaks it now."""
        rate, hop = self.config["data"]["sampling_rate"], self.config["data"]["hop_length"]
        item = self.items(self.entries[0])
        item = stretch(item, 0, min(PREVIEW_FRAMES, item.spec.shape[1]), hop)
        if self.place.epoch == 1:
            yield "recorded", item.wave[0], rate
        spoken = preview(self.learn.generator, collate([item]).to(self.device)).wave
        yield "spoken", spoken[0, 0, : item.wave.shape[1]], rate

    def report(self) -> dict[str, Any]:
        return {
            "final_losses": self.place.history[-1],
            "recordings": len({entry.name for entry in self.entries}),
            "left_out": self.left_out,
            "precision": self.precision.name,
        }

    def _load(self, work: Work) -> list[list[SoVITSItem]]:
        return [[self.items(entry) for entry in entries] for entries in work]

    def _batch(self, items: list[SoVITSItem]) -> SoVITSBatch:
        frames = self.config["train"]["crop_frames"]
        if frames:
            items = [crop(item, frames, self.config["data"]["hop_length"]) for item in items]
        return collate(items).to(self.device)

    def _usable_entries(self) -> tuple[list[TrainingSetEntry], int]:
        """Each recording that can be learned from, once, and how often the list counts in an epoch."""
        selection = select_entries(self.plan.data, self.config, source=self.source)
        self.left_out |= selection.left_out
        edges = boundaries()
        fitting = []
        for entry in selection.entries:
            if edges[0] < entry.frames <= edges[-1]:
                fitting.append(entry)
            else:
                self.left_out[entry.name] = f"it has {entry.frames} frames; {edges[0] + 1} to {edges[-1]} work"
        entries, failed = load_usable(fitting, self.items)
        self.left_out |= failed
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
        return entries, selection.repeats


def learning_rate(settings: dict[str, Any], *, epoch: int, step: int, total: int) -> float:
    """The rate of one step: decayed by the epoch (from 1), risen over the warm-up, fallen along a cosine."""
    rise = min(1.0, (step + 1) / max(1, settings["warmup_steps"]))
    last = settings["final_lr_fraction"]
    fall = last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / total))
    return settings["learning_rate"] * settings["lr_decay"] ** epoch * rise * fall


def _costly_layers(generator: SoVITS, discriminator: Discriminator) -> list[Any]:
    """What keeps most for the gradient."""
    return [*_encoders(generator), generator.enc_q, *generator.dec.resblocks, *discriminator.discriminators]


def _encoders(generator: SoVITS) -> list[Any]:
    encoder = generator.enc_p
    return [encoder.encoder_ssl, encoder.encoder_text, encoder.encoder2]


def _mark(plan: SoVITSTrainingConfig, config: dict[str, Any], entries: list[TrainingSetEntry]) -> str:
    """Tells whether a saved state belongs to this plan."""
    return fingerprint(
        [[entry.name, entry.phones, entry.frames, entry.codes] for entry in entries],
        config,
        [plan.version, plan.batch_size, plan.seed, plan.compat, plan.device],
        [str(plan.base), str(plan.base_discriminator)],
        plan.accumulate,
    )
