"""One training step: generator forward, discriminator update, generator update (specification s2-sovits §12.3).

The generator's forward is shared; the discriminator sees it twice, before and after its own update.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from GPT_SoVITS.features.mel import mel_spectrogram, spectrogram
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.losses import adversarial_loss, discriminator_loss, feature_loss, kl_loss
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, SoVITSOutput, slice_segments
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.precision import Precision

ENCODER_PREFIX = "enc_p."
"""Learns at `encoder_lr_rate` of the base rate: from nothing, its layers collapse at a rate that suits convolutions."""
LOW_RATE_PREFIXES = ("enc_p.text_embedding.", "enc_p.encoder_text.", "enc_p.mrte.")
"""These learn at `text_low_lr_rate` of that (§13)."""
NOT_TRAINED_PREFIXES = ("ssl_proj.", "quantizer.")
"""Their work is done once per file, and tokens must not depend on the voice (§25.5)."""


class AdversarialOptimizerStep:
    """Both models, both optimisers and the losses between them."""

    def __init__(
        self,
        generator: SoVITS,
        discriminator: Discriminator,
        config: dict[str, Any],
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
        compat: str | None = None,
    ) -> None:
        """`precision` is fp32 and `group` a lone process unless said otherwise. `compat="reference"` compares the
        outer frames of a segment's mel with real ones although they saw only the segment, as the reference does
        (§12.2)."""
        self.generator = generator
        self.discriminator = discriminator
        self.data = config["data"]
        self.settings = config["train"]
        device = next(generator.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        self.segment = self.settings["segment_size"] // self.data["hop_length"]
        reach = (self.data["filter_length"] - self.data["hop_length"]) / 2 / self.data["hop_length"]
        self.edge = 0 if compat == "reference" else math.ceil(reach)
        options = {
            "betas": tuple(self.settings["betas"]),
            "eps": self.settings["eps"],
            "weight_decay": self.settings["weight_decay"],
            "fused": True,
        }
        self.optimizers = {
            "generator": torch.optim.AdamW(_groups(generator, self.settings), **options),
            "discriminator": torch.optim.AdamW(
                [{"params": list(discriminator.parameters()), "share": self.settings["discriminator_lr_rate"]}],
                **options,
            ),
        }

    def set_rate(self, rate: float) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]

    def __call__(
        self,
        batches: Sequence[SoVITSBatch],
        *,
        adversarial: bool = True,
        draws: Sequence[dict[str, Tensor]] | None = None,
    ) -> dict[str, float]:
        """Learn from batches as if they were one: their losses are averaged, over the processes of the group, too.

        `adversarial=False` leaves the discriminator out. `draws` replaces what `SoVITS.forward` draws, batch by
        batch. Returns every loss by name.

        Of several batches, only one has its graph in memory at a time. The generator is judged by the discriminator
        that has learned from all of them, so their forwards are made a second time, with the same chance.
        """
        draws = draws or [{}] * len(batches)
        devices = [self.group.device] if self.group.device.type == "cuda" else []
        losses: list[dict[str, Tensor]] = [{} for _ in batches]
        kept = None
        with torch.random.fork_rng(devices, enabled=adversarial and len(batches) > 1):
            if adversarial:
                kept = self._teach_discriminator(batches, draws, losses)
        self.optimizers["generator"].zero_grad()
        for batch, draw, told in zip(batches, draws, losses):
            out = self._forward(batch, draw) if kept is None else kept
            self._collect_generator_gradients(batch, out, told, share=1 / len(batches), adversarial=adversarial)
        self._update("generator", self.generator, self.settings["clip_norm"])
        self.precision.update()
        means = {name: torch.stack([told[name] for told in losses]).mean() for name in losses[0]}
        return self.group.mean(dict(zip(means, torch.stack(list(means.values())).tolist())))

    def _forward(self, batch: SoVITSBatch, draw: dict[str, Tensor]) -> SoVITSOutput:
        with self.precision.autocast():
            return self.generator(batch, segment=self.segment, **draw)

    def _teach_discriminator(
        self, batches: Sequence[SoVITSBatch], draws: Sequence[dict[str, Tensor]], losses: list[dict[str, Tensor]]
    ) -> SoVITSOutput | None:
        """Its update. Returns the forward of a lone batch, whose graph the generator's own update goes on with."""
        alone = len(batches) == 1
        self.optimizers["discriminator"].zero_grad()
        for batch, draw, told in zip(batches, draws, losses):
            with torch.set_grad_enabled(alone):
                out = self._forward(batch, draw)
            with self.precision.autocast():
                verdicts = self.discriminator(self._real(batch, out)), self.discriminator(out.wave.detach())
            loss = discriminator_loss(*verdicts)
            self.precision.backward(loss / len(batches))
            told["disc"] = loss.detach()
        self._update("discriminator", self.discriminator, None)
        return out if alone else None

    def _collect_generator_gradients(
        self, batch: SoVITSBatch, out: SoVITSOutput, told: dict[str, Tensor], *, share: float, adversarial: bool
    ) -> None:
        losses = self.generator_losses(batch, out)
        with frozen(self.discriminator):
            if adversarial:
                losses |= self._adversarial_losses(self._real(batch, out), out.wave)
            weights = {"mel": self.settings["c_mel"], "kl": self.settings["c_kl"]}
            weights |= {"fm": self.settings["c_fm"], "gen": 1.0, "kl_ssl": 1.0}
            total = sum(weights[name] * loss for name, loss in losses.items())
            self.precision.backward(total * share)
        told |= {"total": total.detach()} | {name: loss.detach() for name, loss in losses.items()}

    def _update(self, which: str, model: nn.Module, clip_norm: float | None) -> None:
        optimizer = self.optimizers[which]
        self.group.join_gradients(model.parameters(), mean=True)
        self.precision.unscale(optimizer)
        if clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        self.precision.step(optimizer)

    def _real(self, batch: SoVITSBatch, out: SoVITSOutput) -> Tensor:
        """(B, 1, N): the recorded segments that the generated ones stand against."""
        return slice_segments(batch.wave, out.starts * self.data["hop_length"], self.settings["segment_size"])

    def generator_losses(self, batch: SoVITSBatch, out: SoVITSOutput) -> dict[str, Tensor]:
        """The losses that need no discriminator, unweighted."""
        wanted = slice_segments(self.mel(batch.spec), out.starts, self.segment)
        losses = {
            "mel": self._mel_distance(wanted, out.wave),
            "kl": kl_loss(out.z_p, out.logs_q, out.prior.mean, out.prior.logs, out.mask),
            "kl_ssl": out.commitment,
        }
        return losses

    def mel(self, spec: Tensor) -> Tensor:
        """(B, F, T) magnitudes -> (B, M, T)."""
        return mel_spectrogram(
            spec,
            sampling_rate=self.data["sampling_rate"],
            n_fft=self.data["filter_length"],
            n_mels=self.data["n_mel_channels"],
            fmin=self.data["mel_fmin"],
            fmax=self.data["mel_fmax"],
        )

    def wave_mel(self, wave: Tensor) -> Tensor:
        """(B, 1, N) -> (B, M, T)."""
        shape = {"n_fft": "filter_length", "hop": "hop_length", "win": "win_length"}
        return self.mel(spectrogram(wave[:, 0], **{name: self.data[key] for name, key in shape.items()}))

    def _mel_distance(self, wanted: Tensor, wave: Tensor) -> Tensor:
        inner = slice(self.edge, self.segment - self.edge)
        return (wanted[:, :, inner] - self.wave_mel(wave)[:, :, inner]).abs().mean()

    def _adversarial_losses(self, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """What the updated discriminator says; its own parameters need no gradient here."""
        with self.precision.autocast():
            with torch.no_grad():
                of_real = self.discriminator(real)
            of_generated = self.discriminator(generated)
        return {"gen": adversarial_loss(of_generated), "fm": feature_loss(of_real, of_generated)}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Spare the gradients of a module's parameters; gradients still pass through it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _groups(generator: SoVITS, settings: dict[str, Any]) -> list[dict[str, Any]]:
    encoder = settings["encoder_lr_rate"]
    usual, middle, low = [], [], []
    for name, parameter in generator.named_parameters():
        if name.startswith(NOT_TRAINED_PREFIXES) and generator.freeze_quantizer:
            continue
        group = low if name.startswith(LOW_RATE_PREFIXES) else middle if name.startswith(ENCODER_PREFIX) else usual
        group.append(parameter)
    return [
        {"params": usual, "share": 1.0},
        {"params": middle, "share": encoder},
        {"params": low, "share": encoder * settings["text_low_lr_rate"]},
    ]
