"""The trainer of stage 2 for v1, v2, v2Pro, v2ProPlus and nano."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import check_official, write_official
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.sovits.adversarial_step import AdversarialOptimizerStep
from GPT_SoVITS.sovits.build import build_models
from GPT_SoVITS.sovits.config import SoVITSTrainSettings, SpectrogramConfig
from GPT_SoVITS.sovits.data import SoVITSItem, SoVITSItemLoader, boundaries, collate, crop, cut_item
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.frame_step import FrameOptimizerStep
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch
from GPT_SoVITS.sovits.preview import preview
from GPT_SoVITS.sovits.recording_trainer import RecordingTrainer
from GPT_SoVITS.sovits.recordings import RecordingBatches, StepEntries
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.sovits.training_set import choose_source, select_entries
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers
from GPT_SoVITS.training.prefetch import pin
from GPT_SoVITS.training.resume import TrainerState, fingerprint
from GPT_SoVITS.training.trainer import AudioSample, Emit, StepResult

PREVIEW_FRAMES = 250
"""Of the beginning of a recording, which is synthesized after each epoch."""


class SoVITSTrainer(RecordingTrainer[SoVITSItem]):
    """The generator, the discriminator where there is one, their optimizers and their data. A step is one update."""

    config: SoVITSTrainingConfig

    def __init__(self, config: SoVITSTrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Set up the networks, the data and the optimizers, and resume an earlier run. Raises ModelError."""
        super().__init__(config, emit, stop)
        self.recipe, generator, discriminator = build_models(config)
        if config.export_official:  # before the work, not after it
            check_official(Checkpoint(self.kind, config.version, self.recipe, generator.voice_state()))
        self.settings = read_section(SoVITSTrainSettings, self.recipe["train"], extra=True)
        self.spectrogram = read_section(SpectrogramConfig, self.recipe["data"], extra=True)

        self.source = choose_source(config.data, config.source)
        """`codes` or `ssl`."""
        self.load_item = SoVITSItemLoader(config.data, self.recipe)
        self.batches = RecordingBatches(
            select_entries(config.data, self.recipe, source=self.source),
            self.load_item,
            boundaries(),
            config,
            self.group,
        )

        generator.to(self.device).train()
        self.group.broadcast_weights(generator)
        self.precision = self.make_precision(self.recipe["model"]["hidden_channels"])
        self.optimizer_step = self._make_optimizer_step(generator, discriminator)
        self.prepare(
            fingerprint(
                self.batches.fingerprint_content(),
                self.recipe,
                [config.version, config.batch_size, config.seed, config.compat, config.device],
                [str(config.base), str(config.base_discriminator)],
                config.accumulate,
            )
        )
        self.log_size()

    def _make_optimizer_step(
        self, generator: SoVITS, discriminator: Discriminator | None
    ) -> AdversarialOptimizerStep | FrameOptimizerStep:
        if self.config.grad_ckpt:
            checkpoint_layers(costly_layers(generator, discriminator))
        if discriminator is None:
            return FrameOptimizerStep(generator, self.recipe, precision=self.precision, group=self.group)
        discriminator.to(self.device).train()
        self.group.broadcast_weights(discriminator)
        return AdversarialOptimizerStep(
            generator,
            discriminator,
            self.recipe,
            precision=self.precision,
            group=self.group,
            compat=self.config.compat,
        )

    @property
    def main_loss(self) -> str:
        """The mel or spectral loss: the total jumps when a discriminator joins, and says little."""
        return "mel" if isinstance(self.optimizer_step, AdversarialOptimizerStep) else "spectral"

    def step(self, work: StepEntries, following: StepEntries | None) -> StepResult:
        """Update all networks once."""
        with self.timer.loading():
            batches = [self._collate(items) for items in self.batches.load(work, following)]
        self.rate = learning_rate(
            self.settings, epoch=self.progress.epoch + 1, step=self.progress.step, total=self.total_steps
        )
        self.optimizer_step.set_rate(self.rate)
        adversarial = self.progress.step >= self.settings.discriminator_start * self.total_steps
        with self.timer.step():
            return StepResult(self.optimizer_step(batches, adversarial=adversarial))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that a checkpoint holds."""
        return self.optimizer_step.generator.voice_state()

    def export(self, folder: Path) -> None:
        """Write the official file of the epoch that has just ended."""
        info = {"epoch": self.progress.epoch, "step": self.progress.step}
        name = f"{self.config.experiment}_e{self.progress.epoch}_s{self.progress.step}.pth"
        recipe = self.recipe | {"name": self.config.experiment}
        write_official(folder / name, Checkpoint(self.kind, self.config.version, recipe, self.weights(), info))

    def state(self) -> TrainerState:
        """Return the networks and optimizers."""
        step = self.optimizer_step
        return {
            "generator": step.generator.state_dict(),
            "discriminator": step.discriminator.state_dict() if isinstance(step, AdversarialOptimizerStep) else {},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in step.optimizers.items()},
            "precision": self.precision.state_dict(),
        }

    def load_state(self, state: TrainerState) -> None:
        """Restore what `state` returned."""
        step = self.optimizer_step
        step.generator.load_state_dict(state["generator"])
        if isinstance(step, AdversarialOptimizerStep):
            step.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in step.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.precision.load_state_dict(state["precision"])

    def audio_samples(self) -> Iterator[AudioSample]:
        """Yield the first recording as it is, once, and as the model speaks it now."""
        rate, hop = self.spectrogram.sampling_rate, self.spectrogram.hop_length
        item = self.load_item(self.batches.entries[0])
        item = cut_item(item, 0, min(PREVIEW_FRAMES, item.spec.shape[1]), hop)
        if self.progress.epoch == 1:
            yield AudioSample("recorded", item.wave[0], rate)
        spoken = preview(self.optimizer_step.generator, collate([item]).to(self.device)).wave
        yield AudioSample("spoken", spoken[0, 0, : item.wave.shape[1]], rate)

    def _collate(self, items: Sequence[SoVITSItem]) -> SoVITSBatch:
        frames = self.settings.crop_frames
        if frames:
            items = [crop(item, frames, self.spectrogram.hop_length) for item in items]
        return pin(collate(items), self.device).to(self.device)


def costly_layers(generator: SoVITS, discriminator: Discriminator | None) -> list[nn.Module]:
    """Return the layers that keep most activations for the gradient."""
    encoder = generator.enc_p
    layers: list[nn.Module] = [encoder.encoder_ssl, encoder.encoder_text, encoder.encoder2]
    if discriminator is not None:
        assert isinstance(generator.dec, Generator)
        layers += [generator.enc_q, *generator.dec.resblocks, *discriminator.discriminators]
    return layers


def learning_rate(settings: SoVITSTrainSettings, *, epoch: int, step: int, total: int) -> float:
    """Return the rate of one step: decayed by the epoch (from 1), risen over the warm-up, fallen along a cosine."""
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    final = settings.final_lr_fraction
    cosine = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / total))
    rate: float = settings.learning_rate * settings.lr_decay**epoch * warmup * cosine
    return rate
