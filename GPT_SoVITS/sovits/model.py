"""SoVITS: semantic tokens, phonemes and a style to a waveform (specification s2-sovits §12.1, §16, §17).

One class for v1, v2, v2Pro, v2ProPlus and nano; attribute names are official checkpoint keys, sizes are arguments.
nano has no flow and no posterior: its generator speaks from the prior's mean, and finds pitch and noise by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.encoder import Prior, TextEncoder
from GPT_SoVITS.sovits.flow import Flow, IdentityFlow, PosteriorEncoder
from GPT_SoVITS.sovits.frame_generator import FrameGenerator
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.layers import fold_weight_norm, length_mask
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.style import StyleEncoder

TRAINING_ONLY_PREFIXES = ("enc_q.",)
"""Needed for training only; a voice is stored without them."""
NORMAL_BLOCK = 16
"""Torch makes normal numbers in blocks of so many, and a piece that ends within one shifts all that follow."""


@dataclass(frozen=True, slots=True)
class SoVITSBatch:
    """Training items padded to one length; T frames, N samples, S phonemes."""

    spec: Tensor
    """(B, F, T) magnitudes."""
    spec_lengths: Tensor
    """(B,)."""
    wave: Tensor
    """(B, 1, N)."""
    text: Tensor
    """(B, S) phoneme ids."""
    text_lengths: Tensor
    """(B,)."""
    codes: Tensor | None = None
    """(1, B, T // 2) semantic tokens."""
    ssl: Tensor | None = None
    """(B, D, T) content features, from which the codes are found where there are none."""
    speaker: Tensor | None = None
    """(B, V) speaker vectors, v2Pro family."""
    f0: Tensor | None = None
    """(B, T) Hz, 0 where unvoiced; nano."""

    def to(self, device: torch.device | str) -> SoVITSBatch:
        moved = {name: getattr(self, name) for name in self.__slots__}
        return SoVITSBatch(**{name: None if value is None else value.to(device) for name, value in moved.items()})


class SoVITSOutput(NamedTuple):
    """Everything that one training forward computes and a loss or a test reads."""

    wave: Tensor
    """(B, 1, segment * hop), generated."""
    starts: Tensor
    """(B,) first frame of each segment."""
    mask: Tensor
    """(B, 1, T)."""
    z: Tensor
    """(B, C, T), posterior sample."""
    z_p: Tensor
    """(B, C, T), the same seen from the prior."""
    prior: Prior
    mean_q: Tensor
    logs_q: Tensor
    quantized: Tensor
    """(B, D, T)."""
    commitment: Tensor


class DecodedChunk(NamedTuple):
    """One chunk of a streaming decode."""

    wave: Tensor
    """(1, 1, N)."""
    latent: Tensor
    """(1, H, T'); its end is the next chunk's `overlap`."""
    mask: Tensor
    """(1, 1, T)."""


class SoVITS(nn.Module):
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
        posterior_layers: int,
        flow_couplings: int,
        flow_layers: int,
        speaker_vector: bool,
        sv_dim: int,
        upsample_initial_channel: int,
        upsample_rates: list[int],
        upsample_kernel_sizes: list[int],
        resblock: str,
        resblock_kernel_sizes: list[int],
        resblock_dilation_sizes: list[list[int]],
        freeze_quantizer: bool = True,
        frames: dict[str, int] | None = None,
        listener_width: int = 0,
        posterior: bool = True,
    ) -> None:
        """`listener_width`: see TextEncoder. `frames`, the sizes of a FrameGenerator, puts one in the place of
        generator, flow and posterior (nano)."""
        super().__init__()
        if not speaker_vector and mrte_hidden != gin_channels:
            raise ModelError(
                "bad_config", f"Without a speaker vector, mrte_hidden must equal gin_channels ({gin_channels})."
            )
        self.inter_channels = inter_channels
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
            listener_width=listener_width,
        )
        self.dec: Generator | FrameGenerator
        self.flow: Flow | IdentityFlow
        if frames is not None:
            self.dec = FrameGenerator(channels=inter_channels, style=gin_channels, **frames)
            self.flow = IdentityFlow()
        else:
            self.dec = Generator(
                channels=inter_channels,
                width=upsample_initial_channel,
                rates=upsample_rates,
                kernels=upsample_kernel_sizes,
                resblock=resblock,
                resblock_kernels=resblock_kernel_sizes,
                resblock_dilations=resblock_dilation_sizes,
                style=gin_channels,
            )
            if posterior:
                self.enc_q = PosteriorEncoder(
                    spec_channels, inter_channels, hidden_channels, posterior_layers, gin_channels
                )
            self.flow = Flow(inter_channels, hidden_channels, flow_couplings, flow_layers, gin_channels)
        self.ref_enc = StyleEncoder(style_bins, ref_style_hidden, gin_channels)
        self.ssl_proj = nn.Conv1d(ssl_dim, ssl_dim, 2, stride=2)
        self.quantizer = Quantizer(ssl_dim, codebook_bins)
        self.speaker_vector = speaker_vector
        if speaker_vector:
            self.sv_emb = nn.Linear(sv_dim, gin_channels)
            self.ge_to512 = nn.Linear(gin_channels, mrte_hidden)
            self.prelu = nn.PReLU(gin_channels)

    @classmethod
    def from_config(cls, config: dict[str, Any], *, posterior: bool = True) -> SoVITS:
        """Build from a recipe's `model` section; `posterior=False` leaves out what only training needs."""
        return cls(**config["model"], posterior=posterior)

    def train(self, mode: bool = True) -> SoVITS:
        """A frozen quantizer and its projection stay in eval mode: the codebook never moves (§6)."""
        super().train(mode)
        if self.freeze_quantizer:
            self.ssl_proj.eval()
            self.quantizer.eval()
        return self

    def fold_weight_norm(self) -> SoVITS:
        """Make every kernel plain for inference; the model can no longer be trained or saved as a checkpoint."""
        fold_weight_norm(self)
        return self

    def voice_state(self) -> dict[str, Tensor]:
        """The weights that a published voice holds."""
        return {name: t for name, t in self.state_dict().items() if not name.startswith(TRAINING_ONLY_PREFIXES)}

    # Training

    def forward(
        self,
        batch: SoVITSBatch,
        *,
        segment: int,
        slice_u: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> SoVITSOutput:
        """One pass; `segment` in frames. `slice_u` (B,) in [0, 1) and `noise` (B, C, T) replace the random draws."""
        mask = length_mask(batch.spec_lengths, batch.spec.shape[-1])
        ge = self._style_of(batch.spec, mask, batch.speaker)
        quantized, commitment = self._quantized(batch)
        prior = self.enc_p(quantized, batch.spec_lengths, batch.text, batch.text_lengths, self.text_style(ge))
        posterior = self.enc_q(batch.spec, mask, ge.detach(), noise)
        z_p = self.flow(posterior.z, mask, ge)
        u = torch.rand(len(batch.spec_lengths), device=mask.device) if slice_u is None else slice_u
        starts = (u * (batch.spec_lengths - segment + 1).clamp(min=1)).long()
        wave = self.dec(slice_segments(posterior.z, starts, segment), ge)
        return SoVITSOutput(
            wave, starts, mask, posterior.z, z_p, prior, posterior.mean, posterior.logs, quantized, commitment
        )

    def _quantized(self, batch: SoVITSBatch) -> tuple[Tensor, Tensor]:
        """(B, D, T) codebook rows, each repeated twice, and the commitment loss."""
        if batch.codes is not None:
            return _doubled(self.quantizer.decode(batch.codes)), batch.spec.new_zeros(())
        assert batch.ssl is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_quantizer):
            found = self.quantizer(self.ssl_proj(batch.ssl))
        return _doubled(found.vectors), found.commitment

    # Inference

    def extract_codes(self, ssl: Tensor) -> Tensor:
        """Content features (1, D, T) at 50 frames a second -> (1, 1, T // 2) semantic tokens."""
        return self.quantizer.encode(self.ssl_proj(ssl)).transpose(0, 1)

    def style(self, refers: list[Tensor], speakers: list[Tensor] | None = None) -> Tensor:
        """Reference spectrograms (1, F, T) and, in the v2Pro family, their speaker vectors (1, V) -> (1, G, 1).

        The plain mean of what each reference gives alone. A voice computes it once.
        """
        if self.speaker_vector and speakers is None:
            raise ModelError("no_speaker_vector", "This version needs a speaker vector with every reference.")
        if not refers or (speakers is not None and len(speakers) != len(refers)):
            raise ModelError("no_reference", "A style needs at least one reference, and a speaker vector for each.")
        styles = [
            self._style_of(spec, spec.new_ones(1, 1, spec.shape[-1]), None if speakers is None else speakers[i])
            for i, spec in enumerate(refers)
        ]
        return torch.stack(styles).mean(dim=0)

    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        text: Tensor,
        refers: list[Tensor] | None = None,
        *,
        speakers: list[Tensor] | None = None,
        ge: Tensor | None = None,
        noise_scale: float = 0.5,
        speed: float = 1.0,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Speak: codes (1, 1, T), text (1, S) of the sentence itself -> (1, 1, N) in [-1, 1].

        `ge` is a style computed before and takes the place of `refers`. `noise` (1, C, 2T) replaces the draw from
        `generator`. N is 2T frames at speed 1, else int(2T / speed) + 1 frames.
        """
        return self.decode_stream(
            codes,
            text,
            refers,
            speakers=speakers,
            ge=ge,
            noise_scale=noise_scale,
            speed=speed,
            noise=noise,
            generator=generator,
        ).wave

    @torch.inference_mode()
    def decode_stream(
        self,
        codes: Tensor,
        text: Tensor,
        refers: list[Tensor] | None = None,
        *,
        speakers: list[Tensor] | None = None,
        ge: Tensor | None = None,
        noise_scale: float = 0.5,
        speed: float = 1.0,
        result_length: int | None = None,
        overlap: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> DecodedChunk:
        """Speak one chunk: codes are all tokens so far, `result_length` of which (the last) become sound.

        `overlap` (1, H, 2n) is the end of the previous chunk's latent, faded into the first n tokens of this one.
        """
        ge = self.style(refers or [], speakers) if ge is None else ge
        lengths = torch.tensor([2 * codes.shape[-1]], device=codes.device)
        text_lengths = torch.tensor([text.shape[-1]], device=text.device)
        prior = self.enc_p(
            self.frames(codes),
            lengths,
            text,
            text_lengths,
            self.text_style(ge),
            speed=speed,
            result_frames=None if result_length is None else 2 * result_length,
            overlap=overlap,
        )
        return DecodedChunk(
            self.dec(self.latent(prior, ge, noise_scale, noise, generator), ge), prior.latent, prior.mask
        )

    def frames(self, codes: Tensor) -> Tensor:
        """Tokens (1, B, T) -> what the text encoder reads of them, (B, D, 2T)."""
        return _doubled(self.quantizer.decode(codes))

    def latent(
        self,
        prior: Prior,
        ge: Tensor,
        noise_scale: float,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sample the prior and carry it back through the flow: (B, C, T), what the generator reads."""
        if isinstance(self.flow, IdentityFlow):  # all that varies, its generator varies
            return prior.mean * prior.mask
        if noise is None:
            noise = frame_noise(prior.mean.shape, generator).to(prior.mean)
        z_p = prior.mean + noise * prior.logs.exp() * noise_scale
        return self.flow(z_p, prior.mask, ge, reverse=True) * prior.mask

    def _style_of(self, spec: Tensor, mask: Tensor, speaker: Tensor | None) -> Tensor:
        ge = self.ref_enc(spec, mask)
        if not self.speaker_vector:
            return ge
        assert speaker is not None
        return self.prelu(ge + self.sv_emb(speaker)[:, :, None])

    def text_style(self, ge: Tensor) -> Tensor:
        """(B, G, 1) -> the width that the text encoder adds."""
        return self.ge_to512(ge.transpose(1, 2)).transpose(1, 2) if self.speaker_vector else ge


def frame_noise(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """(B, C, T) standard-normal numbers, drawn frame by frame: a frame's do not depend on how many follow it, so that
    speech in chunks draws what speech in one piece draws. On the CPU, so that a seed sounds the same on every device.
    """
    batch, channels, frames = shape
    device = generator.device if generator is not None else "cpu"
    width = -(-channels // NORMAL_BLOCK) * NORMAL_BLOCK
    return torch.randn(batch, frames, width, generator=generator, device=device)[:, :, :channels].transpose(1, 2)


def slice_segments(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """(B, C, T) -> (B, C, length), each item from its own start."""
    index = starts[:, None] + torch.arange(length, device=x.device)  # (B, length)
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))


def _doubled(x: Tensor) -> Tensor:
    """A token lasts two frames."""
    return x.repeat_interleave(2, dim=2)
