"""One update of nano: losses of spectra, pitch and voicing, without a discriminator.

The generator filters pulses and noise, so distances of spectra suffice to teach it; a discriminator, which takes days
to be of use, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.sovits.config import SoVITSTrainSettings
from GPT_SoVITS.sovits.frame_generator import REFERENCE_PITCH, FrameGenerator, Pitch
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, slice_segments
from GPT_SoVITS.sovits.token_noise import TokenNoise
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.gradient_reducer import GradientReducer
from GPT_SoVITS.training.precision import Precision

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""Size and hop of each spectrum that is compared, in samples."""
WEIGHTS = {"spectral": 1.0, "pitch": 1.0, "voiced": 0.3}
NOT_TRAINED_PREFIXES = ("ssl_proj.", "quantizer.", "enc_p.listener.")
"""Tokens, and the phonemes that they are classified as, must not depend on the voice."""


class FrameOptimizerStep:
    """The network, its optimizer and its losses."""

    def __init__(
        self,
        generator: SoVITS,
        recipe: Recipe,
        *,
        precision: Precision | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        """Set up the optimizer; `precision` is fp32 and `group` a lone process by default."""
        self.generator = generator
        self.settings = settings = read_section(SoVITSTrainSettings, recipe["train"], extra=True)
        device = next(generator.parameters()).device
        self.precision = precision or Precision("fp32", device)
        self.group = group or ProcessGroup(device)
        self.reducer = GradientReducer(self.group, generator.parameters())
        self.segment = settings.segment_size // int(recipe["data"]["hop_length"])
        """Frames of a segment."""
        self.noise = TokenNoise(generator.quantizer, settings.token_noise)
        trained = [p for name, p in generator.named_parameters() if not name.startswith(NOT_TRAINED_PREFIXES)]
        self.optimizers = {
            "generator": torch.optim.AdamW(
                trained, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay, fused=True
            )
        }

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in self.optimizers["generator"].param_groups:
            group["lr"] = rate

    def __call__(self, batches: Sequence[SoVITSBatch], *, adversarial: bool = False) -> dict[str, float]:
        """Update the network from batches as if they were one.

        Args:
            batches: the recordings.
            adversarial: has no effect, as there is no discriminator.

        Returns:
            The losses by name, averaged over batches and processes.
        """
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad()
        history: list[dict[str, Tensor]] = []
        for batch in batches:
            losses = self.losses(batch)
            total = torch.zeros((), device=batch.spec.device)
            for name, weight in WEIGHTS.items():
                total = total + losses[name] * weight
            losses["total"] = total
            with self.reducer.overlapping(last=batch is batches[-1]):
                self.precision.backward(total / len(batches))
            history.append({name: loss.detach() for name, loss in losses.items()})
        self.reducer.reduce(mean=True)
        self.precision.unscale(optimizer)
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.generator.parameters(), self.settings.clip_norm)
        self.precision.step(optimizer)
        self.precision.update()
        means = {name: torch.stack([losses[name] for losses in history]).mean().item() for name in history[0]}
        return self.group.mean(means)

    def losses(self, batch: SoVITSBatch) -> dict[str, Tensor]:
        """Return the losses of a batch, unweighted."""
        with self.precision.autocast():
            ge = self.shifted_styles(batch)
            return frame_losses(synthesize_segments(self.generator, batch, ge, segment=self.segment, noise=self.noise))

    def shifted_styles(self, batch: SoVITSBatch) -> Tensor:
        """Return the style (B, G, 1) of the row before each, so that a style says nothing about the words."""
        ge: Tensor = self.generator.ref_enc(batch.spec, length_mask(batch.spec_lengths, batch.spec.shape[-1]))
        return ge.roll(1, dims=0)


@dataclass(frozen=True, slots=True)
class SynthesizedSegments:
    """What the network made of a batch, beside what was recorded."""

    wave: Tensor
    """(B, N) synthesized samples of a random segment of each row."""
    recorded: Tensor
    """(B, N) the same segments as they were recorded."""
    pitch: Pitch
    """Predicted of all frames."""
    f0: Tensor
    """(B, T) Hz, recorded; 0 where unvoiced."""
    mask: Tensor
    """(B, T)."""


def synthesize_segments(
    model: SoVITS, batch: SoVITSBatch, ge: Tensor, *, segment: int, noise: TokenNoise
) -> SynthesizedSegments:
    """Synthesize a random segment of each row.

    The phonemes are aligned by the true tokens and synthesized from noisy ones, as a GPT's are.

    Args:
        model: a SoVITS of nano.
        batch: recordings with codes and pitch.
        ge: (B, G, 1) style of each row.
        segment: frames that are synthesized of each row.
        noise: replaces tokens by wrong ones.
    """
    assert batch.codes is not None
    assert batch.f0 is not None
    assert isinstance(model.dec, FrameGenerator)
    lengths = batch.spec_lengths
    inside = length_mask(lengths, batch.f0.shape[1])  # (B, 1, T)
    text = model.enc_p.encode_text(batch.text, batch.text_lengths)
    alignment = model.enc_p.align_phonemes(model.token_vectors(batch.codes), inside, text)
    y = model.enc_p.encode(model.token_vectors(noise(batch.codes)), inside, text, ge, alignment=alignment)
    z, f0, mask = model.enc_p.prior(y, inside).mean, batch.f0, inside[:, 0]
    pitch = model.dec.pitch(z, ge)
    hop = model.dec.hop
    starts = (torch.rand(len(lengths), device=z.device) * (lengths - segment + 1).clamp(min=1)).long()
    z, f0_padded, inside = (F.pad(x, (0, segment)) for x in (z, f0, mask))  # a recording may be shorter than a segment
    z = slice_segments(z, starts, segment) * slice_segments(inside[:, None], starts, segment)
    wave = model.dec(z, ge, f0=slice_segments(f0_padded[:, None], starts, segment)[:, 0])[:, 0]
    recorded = slice_segments(F.pad(batch.wave, (0, segment * hop)), starts * hop, segment * hop)[:, 0]
    return SynthesizedSegments(wave, recorded, pitch, f0, mask)


def frame_losses(segments: SynthesizedSegments) -> dict[str, Tensor]:
    """Return the losses of a batch, unweighted."""
    pitch, f0, mask = segments.pitch, segments.f0, segments.mask
    voiced = (f0 > 0).float() * mask
    log_pitch = (f0.clamp_min(40) / REFERENCE_PITCH).log()
    return {
        "spectral": spectral_loss(segments.wave.float(), segments.recorded),
        "pitch": ((pitch.log - log_pitch).abs() * voiced).sum() / voiced.sum().clamp_min(1),
        "voiced": F.binary_cross_entropy_with_logits(pitch.voiced, (f0 > 0).float(), weight=mask),
    }


def spectral_loss(generated: Tensor, real: Tensor) -> Tensor:
    """Compare waveforms (B, N) by their spectra at four resolutions.

    The sum of L1 of log magnitudes and half the spectral convergence (Yamamoto et al. 2020).
    """
    losses = []
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size, device=generated.device)
        a, b = (
            torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp_min(1e-4)
            for x in (generated, real)
        )
        losses.append((a.log() - b.log()).abs().mean() + 0.5 * (a - b).norm() / b.norm().clamp_min(1e-3))
    return torch.stack(losses).mean()
