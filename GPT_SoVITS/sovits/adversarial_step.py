"""One adversarial update: generator forward, discriminator update, generator update (specification s2-sovits §12.3).

The generator runs forward once; the discriminator judges it twice, before and after its own update.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.features.mel import mel_spectrogram, spectrogram
from GPT_SoVITS.sovits.config import MelConfig, SoVITSTrainSettings
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.losses import adversarial_loss, discriminator_loss, feature_loss, kl_loss
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, SoVITSOutput, slice_segments
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.gradient_reducer import GradientReducer
from GPT_SoVITS.training.precision import Precision

ENCODER_PREFIX = "enc_p."
"""Trained at `encoder_lr_rate` of the learning rate: from nothing, its layers collapse at a rate for convolutions."""
LOW_RATE_PREFIXES = ("enc_p.text_embedding.", "enc_p.encoder_text.", "enc_p.mrte.")
"""Trained at `text_low_lr_rate` of that (§13)."""
NOT_TRAINED_PREFIXES = ("ssl_proj.", "quantizer.")
"""Tokens are computed once per file, and must not depend on the voice (§25.5)."""


class ForwardDraws(TypedDict, total=False):
    """Numbers in place of what `SoVITS.forward` draws."""

    slice_u: Tensor
    noise: Tensor


class AdversarialOptimizerStep:
    """Generator and discriminator, their optimizers and the losses between them."""

    def __init__(
        self,
        generator: SoVITS,
        discriminator: Discriminator,
        recipe: Recipe,
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
        compat: str | None = None,
    ) -> None:
        """Set up the optimizers of both networks.

        Args:
            generator: the network.
            discriminator: the network that judges it.
            recipe: its `data` and `train` sections are read.
            precision: fp32 by default.
            group: a lone process by default.
            compat: "reference" compares the outer frames of a segment's mel with real ones although they depend on the
                segment alone, as upstream does (§12.2).
        """
        self.generator = generator
        self.discriminator = discriminator
        self.data = read_section(MelConfig, recipe["data"], extra=True)
        self.settings = settings = read_section(SoVITSTrainSettings, recipe["train"], extra=True)
        device = next(generator.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        networks: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        self.reducers = {name: GradientReducer(self.group, network.parameters()) for name, network in networks.items()}
        self.segment = settings.segment_size // self.data.hop_length
        """Frames of a segment."""
        reach = (self.data.filter_length - self.data.hop_length) / 2 / self.data.hop_length
        self.edge = 0 if compat == "reference" else math.ceil(reach)
        """Frames at either end of a segment that are not compared."""
        discriminator_group = {
            "params": list(discriminator.parameters()),
            "share": settings.discriminator_lr_rate,
        }
        self.optimizers = {
            name: torch.optim.AdamW(
                groups, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay, fused=True
            )
            for name, groups in (
                ("generator", _parameter_groups(generator, settings)),
                ("discriminator", [discriminator_group]),
            )
        }

    def set_rate(self, rate: float) -> None:
        """Set the learning rate, of which every parameter group takes its share."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]

    def __call__(
        self,
        batches: Sequence[SoVITSBatch],
        *,
        adversarial: bool = True,
        draws: Sequence[ForwardDraws] | None = None,
    ) -> dict[str, float]:
        """Update both networks from batches as if they were one.

        Of several batches, only one has its graph in memory at a time. The generator is judged by the discriminator
        that was updated from all of them, so its forward passes run a second time, with the same random numbers.

        Args:
            batches: the recordings.
            adversarial: False leaves the discriminator out.
            draws: numbers in place of what `SoVITS.forward` draws, per batch.

        Returns:
            The losses by name, averaged over batches and processes.
        """
        draws = draws or [ForwardDraws() for _ in batches]
        devices = [self.group.device] if self.group.device.type == "cuda" else []
        losses: list[dict[str, Tensor]] = [{} for _ in batches]
        output = None
        with torch.random.fork_rng(devices, enabled=adversarial and len(batches) > 1):
            if adversarial:
                output = self._update_discriminator(batches, draws, losses)
        self.optimizers["generator"].zero_grad()
        for batch, draw, batch_losses in zip(batches, draws, losses):
            out = self._forward(batch, draw) if output is None else output
            with self.reducers["generator"].overlapping(last=batch is batches[-1]):
                batch_losses |= self._backward_generator(batch, out, share=1 / len(batches), adversarial=adversarial)
        self._update("generator", self.generator, self.settings.clip_norm)
        self.precision.update()
        means = {name: torch.stack([batch_losses[name] for batch_losses in losses]).mean() for name in losses[0]}
        return self.group.mean(dict(zip(means, torch.stack(list(means.values())).tolist())))

    def _forward(self, batch: SoVITSBatch, draw: ForwardDraws) -> SoVITSOutput:
        with self.precision.autocast():
            output: SoVITSOutput = self.generator(batch, segment=self.segment, **draw)
        return output

    def _update_discriminator(
        self, batches: Sequence[SoVITSBatch], draws: Sequence[ForwardDraws], losses: Sequence[dict[str, Tensor]]
    ) -> SoVITSOutput | None:
        """Update the discriminator and add its losses.

        Returns:
            The forward pass of a lone batch, whose graph the generator's own update uses.
        """
        alone = len(batches) == 1
        self.optimizers["discriminator"].zero_grad()
        for batch, draw, batch_losses in zip(batches, draws, losses):
            with torch.set_grad_enabled(alone):
                out = self._forward(batch, draw)
            with self.precision.autocast():
                real = self.discriminator(self._real_segments(batch, out))
                generated = self.discriminator(out.wave.detach())
            loss = discriminator_loss(real, generated)
            with self.reducers["discriminator"].overlapping(last=batch is batches[-1]):
                self.precision.backward(loss / len(batches))
            batch_losses["disc"] = loss.detach()
        self._update("discriminator", self.discriminator, None)
        return out if alone else None

    def _backward_generator(
        self, batch: SoVITSBatch, out: SoVITSOutput, *, share: float, adversarial: bool
    ) -> dict[str, Tensor]:
        """Add the gradients of a batch, times `share`, and return its losses."""
        losses = self.generator_losses(batch, out)
        settings = self.settings
        weights = {"mel": settings.c_mel, "kl": settings.c_kl, "fm": settings.c_fm, "gen": 1.0, "kl_ssl": 1.0}
        with frozen(self.discriminator):
            if adversarial:  # judged by the updated discriminator, whose parameters need no gradient here
                with self.precision.autocast():
                    with torch.no_grad():
                        real = self.discriminator(self._real_segments(batch, out))
                    generated = self.discriminator(out.wave)
                losses |= {"gen": adversarial_loss(generated), "fm": feature_loss(real, generated)}
            total = sum((weights[name] * loss for name, loss in losses.items()), start=out.wave.new_zeros(()))
            self.precision.backward(total * share)
        return {"total": total.detach()} | {name: loss.detach() for name, loss in losses.items()}

    def _update(self, name: str, model: nn.Module, clip_norm: float | None) -> None:
        optimizer = self.optimizers[name]
        self.reducers[name].reduce(mean=True)
        self.precision.unscale(optimizer)
        if clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        self.precision.step(optimizer)

    def _real_segments(self, batch: SoVITSBatch, out: SoVITSOutput) -> Tensor:
        """Return the recorded segments that the generated ones imitate, (B, 1, N)."""
        return slice_segments(batch.wave, out.starts * self.data.hop_length, self.settings.segment_size)

    def generator_losses(self, batch: SoVITSBatch, out: SoVITSOutput) -> dict[str, Tensor]:
        """Return the losses that need no discriminator, unweighted."""
        real = slice_segments(self.mel(batch.spec), out.starts, self.segment)
        inner = slice(self.edge, self.segment - self.edge)
        return {
            "mel": (real[:, :, inner] - self.wave_mel(out.wave)[:, :, inner]).abs().mean(),
            "kl": kl_loss(out.z_p, out.logs_q, out.prior.mean, out.prior.logs, out.mask),
            "kl_ssl": out.commitment,
        }

    def mel(self, spec: Tensor) -> Tensor:
        """Return the mel spectrogram (B, M, T) of magnitudes (B, F, T)."""
        return mel_spectrogram(
            spec,
            sampling_rate=self.data.sampling_rate,
            n_fft=self.data.filter_length,
            n_mels=self.data.n_mel_channels,
            fmin=self.data.mel_fmin,
            fmax=self.data.mel_fmax,
        )

    def wave_mel(self, wave: Tensor) -> Tensor:
        """Return the mel spectrogram (B, M, T) of a waveform (B, 1, N)."""
        data = self.data
        return self.mel(spectrogram(wave[:, 0], n_fft=data.filter_length, hop=data.hop_length, win=data.win_length))


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients of a module's parameters; gradients still pass through it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _parameter_groups(generator: SoVITS, settings: SoVITSTrainSettings) -> list[dict[str, Any]]:
    """Return the parameters with their `share` of the learning rate."""
    encoder_rate = settings.encoder_lr_rate
    full: list[nn.Parameter] = []
    encoder: list[nn.Parameter] = []
    low: list[nn.Parameter] = []
    for name, parameter in generator.named_parameters():
        if name.startswith(NOT_TRAINED_PREFIXES) and generator.config.freeze_quantizer:
            continue
        group = low if name.startswith(LOW_RATE_PREFIXES) else encoder if name.startswith(ENCODER_PREFIX) else full
        group.append(parameter)
    return [
        {"params": full, "share": 1.0},
        {"params": encoder, "share": encoder_rate},
        {"params": low, "share": encoder_rate * settings.text_low_lr_rate},
    ]
