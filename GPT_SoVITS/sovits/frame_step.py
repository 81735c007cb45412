"""One training step of nano: spectra, pitch and voicing of what the tokens become; nothing adversarial.

The generator filters pulses and noise, so distances of spectra suffice to teach it; a discriminator, which takes days
to be of use, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.frame_generator import REFERENCE_PITCH, FrameGenerator
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, slice_segments
from GPT_SoVITS.sovits.token_noise import TokenNoise
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.precision import Precision

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""Size and hop of each spectrum that is compared, in samples."""
WEIGHTS = {"spectral": 1.0, "pitch": 1.0, "voiced": 0.3}
NOT_TRAINED_PREFIXES = ("ssl_proj.", "quantizer.", "enc_p.listener.")
"""Tokens, and what is heard in them, must not depend on the voice."""


class FrameOptimizerStep:
    """The model, its optimiser and its losses."""

    def __init__(
        self,
        generator: SoVITS,
        config: dict[str, Any],
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        """`precision` is fp32 and `group` a lone process unless said otherwise."""
        self.generator = generator
        self.settings = config["train"]
        device = next(generator.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        self.segment = self.settings["segment_size"] // config["data"]["hop_length"]
        self.noise = TokenNoise(generator.quantizer, self.settings["token_noise"])
        trained = [p for name, p in generator.named_parameters() if not name.startswith(NOT_TRAINED_PREFIXES)]
        self.optimizers = {
            "generator": torch.optim.AdamW(
                trained,
                betas=tuple(self.settings["betas"]),
                eps=self.settings["eps"],
                weight_decay=self.settings["weight_decay"],
                fused=True,
            )
        }

    def set_rate(self, rate: float) -> None:
        for group in self.optimizers["generator"].param_groups:
            group["lr"] = rate

    def __call__(self, batches: Sequence[SoVITSBatch], *, adversarial: bool = False) -> dict[str, float]:
        """Learn from batches as if they were one: their losses are averaged, over the processes of the group, too.

        There is no discriminator, whatever `adversarial` says. Returns every loss by name.
        """
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad()
        told: list[dict[str, Tensor]] = []
        for batch in batches:
            losses = self.losses(batch)
            losses["total"] = sum(losses[name] * weight for name, weight in WEIGHTS.items())
            self.precision.backward(losses["total"] / len(batches))
            told.append({name: loss.detach() for name, loss in losses.items()})
        self.group.join_gradients(self.generator.parameters(), mean=True)
        self.precision.unscale(optimizer)
        if self.settings["clip_norm"]:
            nn.utils.clip_grad_norm_(self.generator.parameters(), self.settings["clip_norm"])
        self.precision.step(optimizer)
        self.precision.update()
        means = {name: torch.stack([one[name] for one in told]).mean().item() for name in told[0]}
        return self.group.mean(means)

    def losses(self, batch: SoVITSBatch) -> dict[str, Tensor]:
        """Unweighted. The style comes from `batch.spec`, of another recording where that is possible."""
        with self.precision.autocast():
            ge = self._styles(batch)
            return frame_losses(self.generator, batch, ge, segment=self.segment, noise=self.noise)

    def _styles(self, batch: SoVITSBatch) -> Tensor:
        """(B, G, 1): each row takes that of the row before, so that a style says nothing about the words."""
        ge = self.generator.ref_enc(batch.spec, length_mask(batch.spec_lengths, batch.spec.shape[-1]))
        return ge.roll(1, dims=0)


def frame_losses(
    model: SoVITS, batch: SoVITSBatch, ge: Tensor, *, segment: int, noise: TokenNoise
) -> dict[str, Tensor]:
    """What a batch teaches, with a style (B, G, 1) for each row; `segment` frames of each are made into sound.

    The phonemes are placed by the true tokens and spoken from noisy ones, as a GPT's are."""
    assert batch.codes is not None
    assert batch.f0 is not None
    assert isinstance(model.dec, FrameGenerator)
    lengths = batch.spec_lengths
    inside = length_mask(lengths, batch.f0.shape[1])
    text = model.enc_p.read_text(batch.text, batch.text_lengths)
    where = model.enc_p.align_phonemes(model.frames(batch.codes), inside, text)
    y = model.enc_p.encode(model.frames(noise(batch.codes)), inside, text, ge, where=where)
    z, f0, mask = model.enc_p.prior(y, inside).mean, batch.f0, inside[:, 0]
    pitch = model.dec.pitch(z, ge)
    hop = model.dec.hop
    starts = (torch.rand(len(lengths), device=z.device) * (lengths - segment + 1).clamp(min=1)).long()
    z, f0_part, inside = (F.pad(x, (0, segment)) for x in (z, f0, mask))  # a recording may be shorter than a segment
    z = slice_segments(z, starts, segment) * slice_segments(inside[:, None], starts, segment)
    wave = model.dec(z, ge, f0=slice_segments(f0_part[:, None], starts, segment)[:, 0])[:, 0]
    real = slice_segments(F.pad(batch.wave, (0, segment * hop)), starts * hop, segment * hop)[:, 0]
    voiced = (f0 > 0).float() * mask
    wanted = (f0.clamp_min(40) / REFERENCE_PITCH).log()
    return {
        "spectral": spectral_loss(wave.float(), real),
        "pitch": ((pitch.log - wanted).abs() * voiced).sum() / voiced.sum().clamp_min(1),
        "voiced": F.binary_cross_entropy_with_logits(pitch.voiced, (f0 > 0).float(), weight=mask),
    }


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """(B, N) twice: L1 of log magnitudes and spectral convergence (Yamamoto et al. 2020), at four resolutions."""
    losses = []
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size, device=made.device)
        a, b = (
            torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp_min(1e-4) for x in (made, wanted)
        )
        losses.append((a.log() - b.log()).abs().mean() + 0.5 * (a - b).norm() / b.norm().clamp_min(1e-3))
    return torch.stack(losses).mean()
