"""The sections of a v3 or v4 recipe: the dimensions of the network, its mels and its training."""

from __future__ import annotations

from dataclasses import dataclass

from GPT_SoVITS.configs.sections import check_positive
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import LogMelConfig
from GPT_SoVITS.sovits.config import EncoderConfig, OptimizerSettings, SpectrogramConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DiTConfig:
    """Dimensions of the diffusion transformer. Raises ModelError("bad_config")."""

    dim: int
    """Width."""
    depth: int
    heads: int
    dim_head: int
    ff_mult: int
    """Width of feed-forward layers, in widths of the transformer."""
    mel_dim: int
    text_dim: int
    """Width of the condition."""
    conv_layers: int
    """Blocks of the condition's embedding."""
    conv_kernel: int = 7
    time_features: int = 256
    position_kernel: int = 31
    position_groups: int = 16
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_positive(
            self, "dim", "depth", "heads", "dim_head", "ff_mult", "mel_dim", "text_dim", "conv_kernel", "time_features",
            "position_kernel", "position_groups",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatchingConfig(EncoderConfig):
    """The `model` section of v3 and v4. Raises ModelError("bad_config")."""

    bridge_channels: int
    frame_ratio: float
    """Mel frames per encoder frame of 20 ms."""
    reference_ratio: float
    """Mel frames per token where upstream counts the valid ones."""
    wns1_layers: int
    wns1_kernel: int
    mel: int
    """Mel bands."""
    dit: DiTConfig

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_positive(self, "bridge_channels", "frame_ratio", "reference_ratio", "wns1_kernel", "mel")
        if self.mrte_hidden != self.gin_channels:
            raise ModelError("bad_config", f"mrte_hidden must equal gin_channels ({self.gin_channels}).")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatchingAudioConfig(SpectrogramConfig):
    """The `data` section of v3 and v4."""

    mel: LogMelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatchingTrainSettings(OptimizerSettings):
    """The `train` section of v3 and v4."""

    consistency_share: float
    """Share of the batches that learn to take two steps at once."""
    length_edges: tuple[int, ...]
    """Of the length buckets, in frames of 20 ms."""
