"""SoVITS v3 and v4: semantic tokens, phonemes and a style to a log-mel (specification s2-v3v4 §1-§7).

Both versions have the same tensors; the recipe's ratios tell them apart. Attribute names are official checkpoint keys.
Encoders are those of v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.cfm import FlowMatching, RandomDraws
from GPT_SoVITS.flow_matching.wavenet import WaveNet
from GPT_SoVITS.sovits.encoder import TextEncoder, stretch
from GPT_SoVITS.sovits.layers import fold_weight_norm, length_mask
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.style import StyleEncoder

FROZEN_PREFIXES = ("enc_p.", "ssl_proj.", "quantizer.")
"""What a training leaves as it is when the quantizer is frozen, as it officially is."""


@dataclass(frozen=True, slots=True)
class FlowMatchingBatch:
    """Training items padded to one length: T encoder frames of 20 ms, F mel frames, S phonemes."""

    spec: Tensor
    """(B, R or more, T) magnitudes."""
    spec_lengths: Tensor
    """(B,)."""
    mel: Tensor
    """(B, M, F) normalised."""
    mel_lengths: Tensor
    """(B,)."""
    text: Tensor
    """(B, S) phoneme ids."""
    text_lengths: Tensor
    """(B,)."""
    codes: Tensor | None = None
    """(1, B, T / 2) semantic tokens."""
    ssl: Tensor | None = None
    """(B, D, T) content features, from which the codes are found where there are none."""

    def to(self, device: torch.device | str) -> FlowMatchingBatch:
        moved = {name: getattr(self, name) for name in self.__slots__}
        return FlowMatchingBatch(**{name: None if value is None else value.to(device) for name, value in moved.items()})


class FlowMatchingSoVITS(nn.Module):
    def __init__(
        self,
        *,
        symbols: int,
        spec_channels: int,
        style_bins: int,
        ssl_dim: int,
        codebook_bins: int,
        inter_channels: int,
        hidden_channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel_size: int,
        p_dropout: float,
        gin_channels: int,
        mrte_hidden: int,
        mrte_heads: int,
        ref_style_hidden: int,
        bridge_channels: int,
        frame_ratio: float,
        reference_ratio: float,
        wns1_layers: int,
        wns1_kernel: int,
        mel: int,
        dit: dict[str, Any],
        freeze_quantizer: bool = True,
    ) -> None:
        super().__init__()
        if mrte_hidden != gin_channels:
            raise ModelError("bad_config", f"mrte_hidden must equal gin_channels ({gin_channels}).")
        self.frame_ratio, self.reference_ratio = frame_ratio, reference_ratio
        self.freeze_quantizer = freeze_quantizer
        self.enc_p = TextEncoder(
            symbols=symbols,
            ssl_dim=ssl_dim,
            inter_channels=inter_channels,
            hidden_channels=hidden_channels,
            filter_channels=filter_channels,
            n_heads=n_heads,
            n_layers=n_layers,
            kernel_size=kernel_size,
            p_dropout=p_dropout,
            mrte_hidden=mrte_hidden,
            mrte_heads=mrte_heads,
        )
        self.ref_enc = StyleEncoder(style_bins, ref_style_hidden, gin_channels)
        self.ssl_proj = nn.Conv1d(ssl_dim, ssl_dim, 2, stride=2)
        self.quantizer = Quantizer(ssl_dim, codebook_bins)
        self.bridge = nn.Sequential(nn.Conv1d(hidden_channels, bridge_channels, 1), nn.LeakyReLU())
        self.wns1 = WaveNet(bridge_channels, wns1_layers, wns1_kernel, gin_channels)
        self.linear_mel = nn.Conv1d(bridge_channels, mel, 1)  # in every file, and never used
        self.cfm = FlowMatching(**dit)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FlowMatchingSoVITS:
        """Build from a recipe's `model` section."""
        return cls(**config["model"])

    def train(self, mode: bool = True) -> FlowMatchingSoVITS:
        """What learns nothing stays in eval mode: the condition is then the one that inference will see."""
        super().train(mode)
        if self.freeze_quantizer:
            for module in (self.enc_p, self.ssl_proj, self.quantizer, self.ref_enc):
                module.eval()
        return self

    def fold_weight_norm(self) -> FlowMatchingSoVITS:
        """Make every kernel plain for inference; the model can no longer be trained or saved as a checkpoint."""
        fold_weight_norm(self)
        return self

    def halve(self, dtype: torch.dtype = torch.float16) -> FlowMatchingSoVITS:
        """Store the transformer, nine tenths of the weights, at half precision. What comes before it costs little
        and stays float32, as do angles, norms and softmax within it."""
        self.cfm.to(dtype)
        return self

    # Training

    def forward(self, batch: FlowMatchingBatch, draws: RandomDraws, *, compat: str | None = None) -> Tensor:
        """The loss of one batch, a scalar; every random number but dropout's is in `draws`."""
        condition, mel, lengths = self.training_condition(batch)
        return self.cfm.loss(mel, lengths, condition, draws, compat=compat)

    def training_condition(self, batch: FlowMatchingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(condition (B, C, F), mel (B, M, F), lengths (B,)), cut to the shorter of features and mel.

        The style comes from the target's own spectrogram. In float32 under autocast, too.
        """
        with torch.autocast(batch.spec.device.type, enabled=False):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_quantizer):
                mask = length_mask(batch.spec_lengths, batch.spec.shape[2])
                ge = self.ref_enc(batch.spec, mask)
                y = self._encode(self._quantized(batch), batch.spec_lengths, batch.text, batch.text_lengths, ge)
            y = self._widened(y)
            frames = min(y.shape[2], batch.mel.shape[2])
            lengths = batch.mel_lengths.clamp(max=frames)
            condition = self.wns1(y[:, :, :frames], length_mask(lengths, frames), ge)
        return condition, batch.mel[:, :, :frames], lengths

    def _quantized(self, batch: FlowMatchingBatch) -> Tensor:
        """(B, D, T) codebook rows, each of which lasts two frames."""
        if batch.codes is not None:
            return self.quantizer.decode(batch.codes).repeat_interleave(2, dim=2)
        assert batch.ssl is not None
        return self.quantizer(self.ssl_proj(batch.ssl)).vectors.repeat_interleave(2, dim=2)

    # Inference

    @torch.inference_mode()
    def extract_codes(self, ssl: Tensor) -> Tensor:
        """Content features (1, D, T) at 50 frames a second -> (1, 1, T // 2) semantic tokens."""
        return self.quantizer.encode(self.ssl_proj(ssl)).transpose(0, 1)

    @torch.inference_mode()
    def style(self, refers: list[Tensor]) -> Tensor:
        """Reference spectrograms (1, F, T) of magnitudes -> (1, G, 1), the mean of what each gives alone."""
        if not refers:
            raise ModelError("no_reference", "A style needs at least one reference.")
        return torch.stack([self.ref_enc(spec, spec.new_ones(1, 1, spec.shape[2])) for spec in refers]).mean(dim=0)

    @torch.inference_mode()
    def condition(
        self, codes: Tensor, text: Tensor, ge: Tensor, *, speed: float = 1.0, compat: str | None = None
    ) -> Tensor:
        """codes (1, 1, N), text (1, L) of the same sentence, ge (1, G, 1) -> (1, C, T), T mel frames (§5).

        T is floor(2 N * ratio) at speed 1, else floor((int(2 N / speed) + 1) * ratio). `compat="reference"` counts
        valid frames as the original does, which may silence the last two in v4.
        """
        lengths = torch.tensor([2 * codes.shape[2]], device=codes.device)
        text_lengths = torch.tensor([text.shape[1]], device=text.device)
        quantized = self.quantizer.decode(codes.transpose(0, 1)).repeat_interleave(2, dim=2)
        y = self._encode(quantized, lengths, text, text_lengths, ge)  # (1, H, 2N)
        y = self._widened(stretch(y, speed))
        valid = y.shape[2]
        if compat == "reference":
            counted = codes.shape[2] * self.reference_ratio
            valid = int(counted) if speed == 1 else int(counted / speed) + 1
        mask = length_mask(torch.tensor([valid], device=y.device), y.shape[2])
        return self.wns1(y, mask, ge)

    def sample(
        self,
        condition: Tensor,
        prompt: Tensor,
        *,
        lengths: Tensor | None = None,
        steps: int,
        guidance: float = 0.0,
        temperature: float = 1.0,
        noise: Tensor | None = None,
        generators: Sequence[torch.Generator] | None = None,
        compat: str | None = None,
    ) -> Tensor:
        """condition (B, C, T), prompt (B or 1, M, P) -> (B, M, T) normalised; see FlowMatching.sample."""
        return self.cfm.sample(
            condition,
            prompt,
            lengths=lengths,
            steps=steps,
            guidance=guidance,
            temperature=temperature,
            noise=noise,
            generators=generators,
            compat=compat,
        )

    def _encode(self, quantized: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, ge: Tensor) -> Tensor:
        """(B, H, T); the encoder's projection to a prior is in every file, and unused."""
        mask = length_mask(lengths, quantized.shape[2])
        return self.enc_p.encode(quantized, mask, self.enc_p.read_text(text, text_lengths), ge)

    def _widened(self, y: Tensor) -> Tensor:
        """Encoder frames (B, H, T) to mel frames (B, C, floor(T * ratio)), each repeated as the ratio asks."""
        return F.interpolate(self.bridge(y), scale_factor=self.frame_ratio, mode="nearest")
