"""SoVITS v3 and v4: semantic tokens, phonemes and a style to a log-mel (specification s2-v3v4 §1-§7).

Both versions have the same tensors; the recipe's ratios tell them apart. Attribute names are official checkpoint keys.
Encoders are those of v2.

Shapes: B batch, T encoder frames of 20 ms, F mel frames, M mel bands, S phonemes, C condition width, G style width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.cfm import FlowMatching, RandomDraws
from GPT_SoVITS.flow_matching.config import FlowMatchingConfig
from GPT_SoVITS.flow_matching.wavenet import WaveNet
from GPT_SoVITS.sovits.encoder import TextEncoder, stretch
from GPT_SoVITS.sovits.layers import fold_weight_norm, length_mask
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.style import StyleEncoder

FROZEN_PREFIXES = ("enc_p.", "ssl_proj.", "quantizer.")
"""Not trained when the quantizer is frozen, as it officially is."""


@dataclass(frozen=True, slots=True)
class FlowMatchingBatch:
    """Training items padded to one length."""

    spec: Tensor
    """(B, R or more, T) magnitudes."""
    spec_lengths: Tensor
    """(B,)."""
    mel: Tensor
    """(B, M, F) normalized."""
    mel_lengths: Tensor
    """(B,)."""
    text: Tensor
    """(B, S) phoneme ids."""
    text_lengths: Tensor
    """(B,)."""
    codes: Tensor | None = None
    """(1, B, T / 2) semantic tokens."""
    ssl: Tensor | None = None
    """(B, D, T) content features, which are quantized where there are no codes."""

    def to(self, device: torch.device | str) -> FlowMatchingBatch:
        """Return the batch on a device."""
        return FlowMatchingBatch(
            spec=self.spec.to(device, non_blocking=True),
            spec_lengths=self.spec_lengths.to(device, non_blocking=True),
            mel=self.mel.to(device, non_blocking=True),
            mel_lengths=self.mel_lengths.to(device, non_blocking=True),
            text=self.text.to(device, non_blocking=True),
            text_lengths=self.text_lengths.to(device, non_blocking=True),
            codes=None if self.codes is None else self.codes.to(device, non_blocking=True),
            ssl=None if self.ssl is None else self.ssl.to(device, non_blocking=True),
        )


class FlowMatchingSoVITS(nn.Module):
    """The network of stage 2 for v3 and v4."""

    def __init__(self, config: FlowMatchingConfig) -> None:
        super().__init__()
        self.config = config
        bridge = config.bridge_channels
        self.enc_p = TextEncoder(config)
        self.ref_enc = StyleEncoder(config.style_bins, config.ref_style_hidden, config.gin_channels)
        self.ssl_proj = nn.Conv1d(config.ssl_dim, config.ssl_dim, 2, stride=2)
        self.quantizer = Quantizer(config.ssl_dim, config.codebook_bins)
        self.bridge = nn.Sequential(nn.Conv1d(config.hidden_channels, bridge, 1), nn.LeakyReLU())
        self.wns1 = WaveNet(bridge, config.wns1_layers, config.wns1_kernel, config.gin_channels)
        self.linear_mel = nn.Conv1d(bridge, config.mel, 1)  # in every file, and never used
        self.cfm = FlowMatching(config.dit)

    @classmethod
    def from_config(cls, recipe: Recipe) -> FlowMatchingSoVITS:
        """Build from a recipe's `model` section. Raises ModelError("bad_config")."""
        return cls(read_section(FlowMatchingConfig, recipe["model"]))

    def train(self, mode: bool = True) -> FlowMatchingSoVITS:
        """Set the mode; what is not trained stays in eval mode, so that the condition is that of inference."""
        super().train(mode)
        if self.config.freeze_quantizer:
            for module in (self.enc_p, self.ssl_proj, self.quantizer, self.ref_enc):
                module.eval()
        return self

    def fold_weight_norm(self) -> FlowMatchingSoVITS:
        """Replace every weight-normed layer by a plain one; the model can then not be trained or saved."""
        fold_weight_norm(self)
        return self

    shared_base: object = None
    """What owns the weights that a LoRA voice shares with others."""

    def halve(self, dtype: torch.dtype = torch.float16) -> FlowMatchingSoVITS:
        """Convert the transformer, nine tenths of the weights, to half precision.

        What precedes it costs little and stays float32, as do angles, norms and softmax within it.
        """
        self.cfm.to(dtype)
        return self

    # Training

    def forward(self, batch: FlowMatchingBatch, draws: RandomDraws, *, compat: str | None = None) -> Tensor:
        """Return the loss of one batch, a scalar; `draws` holds every random number except those of dropout."""
        condition, mel, lengths = self.training_condition(batch)
        return self.cfm.loss(mel, lengths, condition, draws, compat=compat)

    def training_condition(self, batch: FlowMatchingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the condition (B, C, F), the mel (B, M, F) and its lengths (B,), cut to the shorter of the two.

        The style comes from the target's own spectrogram. In float32 under autocast, too.
        """
        with torch.autocast(batch.spec.device.type, enabled=False):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_quantizer):
                mask = length_mask(batch.spec_lengths, batch.spec.shape[2])
                ge = self.ref_enc(batch.spec, mask)
                if batch.codes is not None:
                    vectors = self.quantizer.decode(batch.codes)
                else:
                    assert batch.ssl is not None
                    vectors = self.quantizer(self.ssl_proj(batch.ssl)).vectors  # (B, D, T / 2)
                y = self._encode(vectors, batch.spec_lengths, batch.text, batch.text_lengths, ge)
            y = self._to_mel_frames(y)
            frames = min(y.shape[2], batch.mel.shape[2])
            lengths = batch.mel_lengths.clamp(max=frames)
            condition = self.wns1(y[:, :, :frames], length_mask(lengths, frames), ge)
        return condition, batch.mel[:, :, :frames], lengths

    # Inference

    @torch.inference_mode()
    def extract_codes(self, ssl: Tensor) -> Tensor:
        """Return the semantic tokens (1, 1, T // 2) of content features (1, D, T) at 50 frames a second."""
        return self.quantizer.encode(self.ssl_proj(ssl)).transpose(0, 1)

    @torch.inference_mode()
    def style(self, refers: Sequence[Tensor]) -> Tensor:
        """Return the style (1, G, 1) of reference spectrograms (1, R, T): the mean of what each gives alone.

        Raises:
            ModelError: "no_reference": there is none.
        """
        if not refers:
            raise ModelError("no_reference", "A style needs at least one reference.")
        return torch.stack([self.ref_enc(spec, spec.new_ones(1, 1, spec.shape[2])) for spec in refers]).mean(dim=0)

    @torch.inference_mode()
    def condition(
        self, codes: Tensor, text: Tensor, ge: Tensor, *, speed: float = 1.0, compat: str | None = None
    ) -> Tensor:
        """Return the condition of one sentence as `condition_aligned` does, without its path through the phonemes."""
        return self.condition_aligned(codes, text, ge, speed=speed, compat=compat)[0]

    @torch.inference_mode()
    def condition_aligned(
        self, codes: Tensor, text: Tensor, ge: Tensor, *, speed: float = 1.0, compat: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the condition of one sentence (§5), and which phoneme each of its encoded frames speaks.

        Args:
            codes: (1, 1, N) semantic tokens.
            text: (1, S) phoneme ids of the same sentence.
            ge: (1, G, 1) style.
            speed: factor of the speaking rate.
            compat: "reference" counts valid frames as upstream does, which may silence the last two in v4.

        Returns:
            (1, C, F) with floor(2 N * ratio) mel frames at speed 1, else floor((int(2 N / speed) + 1) * ratio), and
            indices (2 N,) into the phonemes.
        """
        lengths = torch.tensor([2 * codes.shape[2]], device=codes.device)
        text_lengths = torch.tensor([text.shape[1]], device=text.device)
        vectors = self.quantizer.decode(codes.transpose(0, 1)).repeat_interleave(2, dim=2)
        encoded_text = self.enc_p.encode_text(text, text_lengths)
        y, path = self.enc_p.encode_aligned(  # (1, H, 2N)
            vectors, length_mask(lengths, vectors.shape[2]), encoded_text, ge
        )
        y = self._to_mel_frames(stretch(y, speed))
        valid = y.shape[2]
        if compat == "reference":
            counted = codes.shape[2] * self.config.reference_ratio
            valid = int(counted) if speed == 1 else int(counted / speed) + 1
        mask = length_mask(torch.tensor([valid], device=y.device), y.shape[2])
        return self.wns1(y, mask, ge), path[0]

    def _encode(self, vectors: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, ge: Tensor) -> Tensor:
        """Encode token vectors (B, D, T / 2) as (B, H, T); the projection to a prior is in every file, and unused."""
        doubled = vectors.repeat_interleave(2, dim=2)  # a token lasts two frames
        mask = length_mask(lengths, doubled.shape[2])
        return self.enc_p.encode(doubled, mask, self.enc_p.encode_text(text, text_lengths), ge)

    def _to_mel_frames(self, y: Tensor) -> Tensor:
        """Repeat encoder frames (B, H, T) to mel frames (B, C, floor(T * ratio))."""
        return F.interpolate(self.bridge(y), scale_factor=self.config.frame_ratio, mode="nearest")
