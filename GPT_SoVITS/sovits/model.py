"""SoVITS: semantic tokens, phonemes and a style to a waveform (specification s2-sovits §12.1, §16, §17).

One class for v1, v2, v2Pro, v2ProPlus and nano; attribute names are official checkpoint keys.
nano has no flow and no posterior: its generator speaks from the prior's mean, and predicts pitch and noise itself.

Shapes: B batch, F bins, T frames of 20 ms, N samples, S phonemes, D width of a token's vector, C latent channels,
H hidden channels, G width of a style, V width of a speaker vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.noise import NoisePurpose, SeededNoise
from GPT_SoVITS.sovits.compiled_generator import CompiledGenerator
from GPT_SoVITS.sovits.config import SoVITSConfig
from GPT_SoVITS.sovits.encoder import Prior, TextEncoder
from GPT_SoVITS.sovits.flow import Flow, IdentityFlow, PosteriorEncoder
from GPT_SoVITS.sovits.frame_generator import FrameGenerator
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.layers import fold_weight_norm, length_mask
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.style import StyleEncoder

NOISE_SCALE = 0.5
"""Of the prior's standard deviation, in synthesis."""
TRAINING_ONLY_PREFIXES = ("enc_q.",)
"""A voice is stored without these parameters."""


@dataclass(frozen=True, slots=True)
class SoVITSBatch:
    """Training items padded to one length."""

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
    """(B, D, T) content features, which are quantized where there are no codes."""
    speaker: Tensor | None = None
    """(B, V) speaker vectors, v2Pro family."""
    f0: Tensor | None = None
    """(B, T) Hz, 0 where unvoiced; nano."""

    def to(self, device: torch.device | str) -> SoVITSBatch:
        """Return the batch on a device."""
        return SoVITSBatch(
            spec=self.spec.to(device, non_blocking=True),
            spec_lengths=self.spec_lengths.to(device, non_blocking=True),
            wave=self.wave.to(device, non_blocking=True),
            text=self.text.to(device, non_blocking=True),
            text_lengths=self.text_lengths.to(device, non_blocking=True),
            codes=None if self.codes is None else self.codes.to(device, non_blocking=True),
            ssl=None if self.ssl is None else self.ssl.to(device, non_blocking=True),
            speaker=None if self.speaker is None else self.speaker.to(device, non_blocking=True),
            f0=None if self.f0 is None else self.f0.to(device, non_blocking=True),
        )


class SoVITSOutput(NamedTuple):
    """The results of one training forward pass."""

    wave: Tensor
    """(B, 1, segment * hop), generated."""
    starts: Tensor
    """(B,) first frame of each segment."""
    mask: Tensor
    """(B, 1, T)."""
    z: Tensor
    """(B, C, T), a sample of the posterior."""
    z_p: Tensor
    """(B, C, T), the same transformed to the latent of the prior."""
    prior: Prior
    mean_q: Tensor
    logs_q: Tensor
    quantized: Tensor
    """(B, D, T)."""
    commitment: Tensor


class SoVITS(nn.Module):
    """The network of stage 2."""

    def __init__(self, config: SoVITSConfig, *, posterior: bool = True) -> None:
        """Build the network with random weights; without `posterior` it cannot be trained."""
        super().__init__()
        self.config = config
        style, latent = config.gin_channels, config.inter_channels
        self.enc_p = TextEncoder(config)
        self.dec: Generator | FrameGenerator | CompiledGenerator
        self.flow: Flow | IdentityFlow
        if config.frames is not None:
            self.dec = FrameGenerator(config.frames, channels=latent, style=style)
            self.flow = IdentityFlow()
        else:
            self.dec = Generator(config)
            if posterior:
                self.enc_q = PosteriorEncoder(
                    config.spec_channels, latent, config.hidden_channels, config.posterior_layers, style
                )
            self.flow = Flow(latent, config.hidden_channels, config.flow_couplings, config.flow_layers, style)
        self.ref_enc = StyleEncoder(config.style_bins, config.ref_style_hidden, style)
        self.ssl_proj = nn.Conv1d(config.ssl_dim, config.ssl_dim, 2, stride=2)
        self.quantizer = Quantizer(config.ssl_dim, config.codebook_bins)
        if config.speaker_vector:
            self.sv_emb = nn.Linear(config.sv_dim, style)
            self.ge_to512 = nn.Linear(style, config.mrte_hidden)
            self.prelu = nn.PReLU(style)

    @classmethod
    def from_config(cls, recipe: Recipe, *, posterior: bool = True) -> SoVITS:
        """Build from a recipe's `model` section. Raises ModelError("bad_config")."""
        return cls(read_section(SoVITSConfig, recipe["model"]), posterior=posterior)

    @property
    def speaker_vector(self) -> bool:
        """Whether a style needs a speaker vector."""
        return self.config.speaker_vector

    def train(self, mode: bool = True) -> SoVITS:
        """Set the mode; a frozen quantizer and its projection stay in eval mode, as the codebook never moves (§6)."""
        super().train(mode)
        if self.config.freeze_quantizer:
            self.ssl_proj.eval()
            self.quantizer.eval()
        return self

    def fold_weight_norm(self) -> SoVITS:
        """Replace every weight-normed layer by a plain one; the model can then not be trained or saved."""
        fold_weight_norm(self)
        return self

    def halve_generator(self) -> SoVITS:
        """Convert the weights of a HiFi-GAN to float16, for inference on a GPU."""
        if isinstance(self.dec, Generator):
            self.dec.half()
        return self

    def voice_state(self) -> dict[str, Tensor]:
        """Return the weights that a published voice holds."""
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
        """Run one training forward pass.

        Args:
            batch: the recordings.
            segment: frames that are synthesized of each.
            slice_u: (B,) in [0, 1), replaces the random draw of where segments begin.
            noise: (B, C, T), replaces the random draw of the posterior.
        """
        mask = length_mask(batch.spec_lengths, batch.spec.shape[-1])
        ge = self.batch_style(batch.spec, mask, batch.speaker)
        quantized, commitment = self.quantize(batch)
        prior = self.enc_p(quantized, batch.spec_lengths, batch.text, batch.text_lengths, self.text_style(ge))
        posterior = self.enc_q(batch.spec, mask, ge.detach(), noise)
        z_p = self.flow(posterior.z, mask, ge)
        u = torch.rand(len(batch.spec_lengths), device=mask.device) if slice_u is None else slice_u
        starts = (u * (batch.spec_lengths - segment + 1).clamp(min=1)).long()
        wave = self.dec(slice_segments(posterior.z, starts, segment), ge)
        return SoVITSOutput(
            wave, starts, mask, posterior.z, z_p, prior, posterior.mean, posterior.logs, quantized, commitment
        )

    def quantize(self, batch: SoVITSBatch) -> tuple[Tensor, Tensor]:
        """Return the vectors of a batch's tokens, (B, D, T), each repeated twice, and the commitment loss."""
        if batch.codes is not None:
            return self.token_vectors(batch.codes), batch.spec.new_zeros(())
        assert batch.ssl is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_quantizer):
            quantized = self.quantizer(self.ssl_proj(batch.ssl))
        return quantized.vectors.repeat_interleave(2, dim=2), quantized.commitment

    def batch_style(self, spec: Tensor, mask: Tensor, speaker: Tensor | None) -> Tensor:
        """Encode spectrograms (B, F, T) with masks (B, 1, T), and speaker vectors (B, V), as styles (B, G, 1)."""
        ge = self.ref_enc(spec, mask)
        if not self.config.speaker_vector:
            return ge
        assert speaker is not None
        return self.prelu(ge + self.sv_emb(speaker)[:, :, None])

    # Inference

    def extract_codes(self, ssl: Tensor) -> Tensor:
        """Return the semantic tokens (1, 1, T // 2) of content features (1, D, T) at 50 frames a second."""
        return self.quantizer.encode(self.ssl_proj(ssl)).transpose(0, 1)

    def style(self, refers: Sequence[Tensor], speakers: Sequence[Tensor] | None = None) -> Tensor:
        """Return the style (1, G, 1) of reference recordings: the mean of what each gives alone.

        Args:
            refers: spectrograms (1, F, T) of magnitudes.
            speakers: a speaker vector (1, V) for each, in the v2Pro family.

        Raises:
            ModelError: "no_reference" or "no_speaker_vector".
        """
        if self.config.speaker_vector and speakers is None:
            raise ModelError("no_speaker_vector", "This version needs a speaker vector with every reference.")
        if not refers or (speakers is not None and len(speakers) != len(refers)):
            raise ModelError("no_reference", "A style needs at least one reference, and a speaker vector for each.")
        styles = [
            self.batch_style(spec, spec.new_ones(1, 1, spec.shape[-1]), None if speakers is None else speakers[i])
            for i, spec in enumerate(refers)
        ]
        return torch.stack(styles).mean(dim=0)

    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        text: Tensor,
        ge: Tensor,
        *,
        noise_scale: float = NOISE_SCALE,
        noise: Tensor | SeededNoise | None = None,
    ) -> Tensor:
        """Synthesize one sentence.

        Args:
            codes: (1, 1, T) semantic tokens.
            text: (1, S) phoneme ids of the sentence itself.
            ge: (1, G, 1) style.
            noise_scale: of the prior's standard deviation.
            noise: seeded, or recorded (1, C, 2T); by default torch's global random generator chooses a seed.

        Returns:
            (1, 1, 2T * hop) in [-1, 1].
        """
        lengths = torch.tensor([2 * codes.shape[-1]], device=codes.device)
        text_lengths = torch.tensor([text.shape[-1]], device=text.device)
        prior = self.enc_p(self.token_vectors(codes), lengths, text, text_lengths, self.text_style(ge))
        return self.dec(self.sample_latent(prior, ge, noise_scale, noise), ge)

    def token_vectors(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, 2T) of semantic tokens (1, B, T); a token lasts two frames."""
        return self.quantizer.decode(codes).repeat_interleave(2, dim=2)

    def sample_latent(
        self,
        prior: Prior,
        ge: Tensor,
        noise_scale: float,
        noise: Tensor | SeededNoise | None = None,
    ) -> Tensor:
        """Sample the prior and transform it back through the flow, to what the generator reads, (B, C, T).

        The noise is (B, C, T), or one row's seed; by default torch's global random generator chooses that.
        """
        if isinstance(self.flow, IdentityFlow):  # its generator makes all variation
            return prior.mean * prior.mask
        if not isinstance(noise, Tensor):
            _, channels, frames = prior.mean.shape
            noise = frame_noise(noise or SeededNoise.random(), 0, frames, channels, prior.mean.device)
        z_p = prior.mean + noise * prior.logs.exp() * noise_scale
        return self.flow(z_p, prior.mask, ge, reverse=True) * prior.mask

    def text_style(self, ge: Tensor) -> Tensor:
        """Project a style (B, G, 1) to the width that the text encoder adds, (B, I, 1)."""
        return self.ge_to512(ge.transpose(1, 2)).transpose(1, 2) if self.config.speaker_vector else ge


def frame_noise(noise: SeededNoise, start: int, frames: int, channels: int, device: torch.device | str) -> Tensor:
    """Return standard-normal numbers (1, C, T) of frames `start` to `start + frames`.

    A frame's numbers do not depend on how many frames follow, so that streamed speech draws what speech in one piece
    draws.
    """
    return noise.normal(NoisePurpose.LATENT, start, frames, channels, device).T[None]


def slice_segments(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """Slice (B, C, T) to (B, C, length), each item from its own start."""
    index = starts[:, None] + torch.arange(length, device=x.device)  # (B, length)
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))
