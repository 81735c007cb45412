"""The sections of a SoVITS recipe: the dimensions of the network, its audio, its discriminator and its training."""

from __future__ import annotations

from dataclasses import dataclass

from GPT_SoVITS.configs.sections import check_positive
from GPT_SoVITS.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Dimensions of the encoders and the quantizer, which all versions share. Raises ModelError("bad_config")."""

    symbols: int
    """Phonemes."""
    spec_channels: int
    """Bins of a spectrogram."""
    style_bins: int
    """The lowest bins, which the style encoder reads."""
    ssl_dim: int
    """Width of content features."""
    codebook_bins: int
    """Semantic tokens."""
    inter_channels: int
    hidden_channels: int
    filter_channels: int
    n_heads: int
    n_layers: int
    kernel_size: int
    p_dropout: float
    gin_channels: int
    """Width of a style."""
    mrte_hidden: int
    mrte_heads: int
    ref_style_hidden: int
    freeze_quantizer: bool = True
    listener_width: int = 0
    """Width of a TokenPhonemeClassifier, which takes the place of the attention to phonemes (nano); 0 for none."""

    def __post_init__(self) -> None:
        check_positive(
            self, "symbols", "spec_channels", "style_bins", "ssl_dim", "codebook_bins", "inter_channels",
            "hidden_channels", "filter_channels", "n_heads", "kernel_size", "gin_channels", "mrte_hidden", "mrte_heads",
            "ref_style_hidden",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FrameGeneratorConfig:
    """Sizes of a generator that works frame by frame (the `frames` of nano)."""

    rate: int
    """Samples per second."""
    hop: int
    """Samples per frame."""
    width: int
    layers: int
    fine_width: int
    """Of the layers at two frames per frame."""
    fine_layers: int
    pitch_width: int
    pitch_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoVITSConfig(EncoderConfig):
    """The `model` section of v1, v2, v2Pro, v2ProPlus and nano. Raises ModelError("bad_config")."""

    posterior_layers: int
    flow_couplings: int
    flow_layers: int
    speaker_vector: bool
    """Whether a speaker vector joins the style (the v2Pro family)."""
    sv_dim: int
    """Width of a speaker vector."""
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    frames: FrameGeneratorConfig | None = None
    """Puts a FrameGenerator in the place of generator, flow and posterior (nano)."""

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_positive(self, "sv_dim", "upsample_initial_channel")
        if not self.speaker_vector and self.mrte_hidden != self.gin_channels:
            raise ModelError(
                "bad_config", f"Without a speaker vector, mrte_hidden must equal gin_channels ({self.gin_channels})."
            )
        if self.resblock not in ("1", "2"):
            raise ModelError("bad_config", f"resblock is {self.resblock!r}; '1' and '2' work.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrogramConfig:
    """What the `data` sections of all versions say of recordings and their spectrograms."""

    sampling_rate: int
    filter_length: int
    hop_length: int
    win_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MelConfig(SpectrogramConfig):
    """The `data` section of a version whose training compares mels."""

    n_mel_channels: int
    mel_fmin: float
    mel_fmax: float | None


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """The `discriminator` section."""

    waveform_channels: tuple[int, ...]
    waveform_groups: tuple[int, ...]
    period_channels: tuple[int, ...]
    periods: tuple[int, ...]
    """Samples per row of the image that each sub-discriminator sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """What the `train` sections of all versions say of the optimizer."""

    learning_rate: float
    lr_decay: float
    """Per epoch."""
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip_norm: float | None = None
    """Largest 2-norm of a gradient; None and 0 do not clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoVITSTrainSettings(OptimizerSettings):
    """The `train` section of v1, v2, v2Pro, v2ProPlus and nano."""

    encoder_lr_rate: float
    """Share of the learning rate for the text encoder."""
    text_low_lr_rate: float
    """Share of that for its text side."""
    segment_size: int
    """Samples that are synthesized of each recording."""
    crop_frames: int | None
    """An even number crops recordings to random stretches of it."""
    c_mel: float
    c_kl: float
    c_fm: float
    discriminator_lr_rate: float
    """Share of the learning rate for the discriminator."""
    discriminator_start: float
    """Share of the run that passes before the discriminator joins."""
    warmup_steps: int
    """Updates over which the rate rises."""
    final_lr_fraction: float
    """Share of the rate that is reached in the last step along a cosine; 1 keeps it level."""
    token_noise: float = 0.0
    """Largest share of a recording's tokens that are replaced by wrong ones (nano)."""
