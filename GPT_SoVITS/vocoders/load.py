"""Find and open the vocoder of a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.pretrained import assign_weights, read_config, read_state
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.vocoders.bigvgan import SAMPLE_RATE as BIGVGAN_RATE
from GPT_SoVITS.vocoders.bigvgan import BigVGAN, low_pass_taps
from GPT_SoVITS.vocoders.hifigan import HiFiGAN
from GPT_SoVITS.vocoders.sizes import fold, sizes_from_config, sizes_from_state

BIGVGAN_FILE = "bigvgan_generator.pt"
HIFIGAN_FILE = "vocoder.pth"


class Vocoder(Protocol):
    """Turns log-mels into audio. For half precision run it under autocast."""

    sample_rate: int
    """Hz of the audio."""
    hop: int
    """Samples that one frame becomes."""
    context: int
    """Frames on each side of a frame that can change its samples."""

    def __call__(self, mel: Tensor) -> Tensor:
        """Convert mel (B, M, T), the natural logarithm of magnitudes, not normalized -> (B, 1, T * hop) in [-1, 1]."""


def load_vocoder(version: str, location: Path, *, device: torch.device | str = "cpu") -> Vocoder:
    """Open BigVGAN for v3 or HiFi-GAN for v4, ready for inference, in float32.

    Args:
        location: The models folder, the vocoder's own folder or the file itself.

    Raises:
        ModelError: "no_vocoder" for a version without one, "missing_part", "bad_vocoder", "unsafe_checkpoint".
    """
    if version == "v3":
        path = _weights_file(location, version, BIGVGAN_FILE)
        config = read_config(path.with_name("config.json"), damage_code="bad_vocoder")
        return bigvgan(config, _read_weights(path, entry="generator"), file=path.name).to(device)
    if version == "v4":
        path = _weights_file(location, version, HIFIGAN_FILE)
        return hifigan(_read_weights(path), file=path.name).to(device)
    raise ModelError("no_vocoder", f"{version} needs no vocoder.", hint="v3 and v4 have one.")


def bigvgan(config: Mapping[str, Any], state: Mapping[str, Tensor], *, file: str = "BigVGAN") -> BigVGAN:
    """Build BigVGAN from the contents of its `config.json` and weights with weight norm or folded.

    Raises:
        ModelError: "bad_vocoder".
    """
    sizes = sizes_from_config(config, file=f"The configuration of {file}")
    # These are fixed in the network: other settings would give other audio without any error.
    for name, supported in {"activation": "snakebeta", "snake_logscale": True, "hop_size": sizes.hop}.items():
        if config.get(name, supported) != supported:
            raise ModelError(
                "bad_vocoder", f"The configuration of {file} has {name} = {config[name]!r}; only {supported!r} works."
            )
    rate = config.get("sampling_rate", BIGVGAN_RATE)
    if not isinstance(rate, int) or rate < 1:
        raise ModelError("bad_vocoder", f"The configuration of {file} has sampling_rate = {rate!r}, which is no rate.")
    with torch.device("meta"):
        model = BigVGAN(sizes, sample_rate=rate)
    # A file in half precision has rounded its filters, which are known exactly.
    rounded = [name for name, tensor in state.items() if name.endswith(".filter") and tensor.dtype != torch.float32]
    filters = {name: low_pass_taps().view(1, 1, -1) for name in rounded}
    assign_weights(model, fold(state) | filters, source=file, error_code="bad_vocoder")
    return model


def hifigan(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None, *, file: str = "HiFi-GAN") -> HiFiGAN:
    """Build HiFi-GAN from bare weights, which show its sizes where there is no `config`.

    Raises:
        ModelError: "bad_vocoder".
    """
    folded = fold(state)
    sizes = sizes_from_state(folded, file=file) if config is None else sizes_from_config(config, file=file)
    with torch.device("meta"):
        model = HiFiGAN(sizes)
    assign_weights(model, folded, source=file, error_code="bad_vocoder")
    return model


def _read_weights(path: Path, *, entry: str = "") -> dict[str, Tensor]:
    return read_state(path, entry=entry, damage_code="bad_vocoder", unsafe_code="unsafe_checkpoint")


def _weights_file(location: Path, version: str, name: str) -> Path:
    """Return the file itself, the file of this name in a folder, or the one that is found below the models folder."""
    if location.is_file():
        return location
    if (location / name).is_file():
        return location / name
    part = find_part(location, "vocoder", version)
    return part / name if part.is_dir() else part
