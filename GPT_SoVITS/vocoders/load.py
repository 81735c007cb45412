"""Finds and opens the vocoder of a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.vocoders.bigvgan import SAMPLE_RATE as BIGVGAN_RATE
from GPT_SoVITS.vocoders.bigvgan import BigVGAN, low_pass_taps
from GPT_SoVITS.vocoders.files import fill, read_config, read_weights
from GPT_SoVITS.vocoders.hifigan import HiFiGAN
from GPT_SoVITS.vocoders.sizes import fold, sizes_from_config, sizes_from_state

BIGVGAN_FILE = "bigvgan_generator.pt"
HIFIGAN_FILE = "vocoder.pth"


class Vocoder(Protocol):
    """Turns log-mels into sound; a torch module, so `to` moves it. For half precision run it under autocast."""

    sample_rate: int
    """Hz, of what it makes."""
    hop: int
    """Samples that one frame becomes."""
    context: int
    """Frames on each side of a frame that can change its samples."""

    def __call__(self, mel: Tensor) -> Tensor:
        """mel (B, M, T), the natural logarithm of magnitudes, not normalized -> (B, 1, T * hop) in [-1, 1]."""

    def to(self, device: torch.device | str) -> Self: ...


def load_vocoder(version: str, where: Path, *, device: torch.device | str = "cpu") -> Vocoder:
    """Open BigVGAN for v3 or HiFi-GAN for v4, ready for inference, in float32.

    `where` is the models folder, the vocoder's own folder or the file itself. Raises ModelError: "no_vocoder" for a
    version without one, "missing_part", "bad_vocoder", "unsafe_checkpoint".
    """
    opened = {"v3": _open_bigvgan, "v4": _open_hifigan}
    if version not in opened:
        raise ModelError("no_vocoder", f"{version} needs no vocoder.", hint="v3 and v4 have one.")
    return opened[version](where).to(device)


def bigvgan(config: Mapping[str, Any], state: Mapping[str, Tensor], *, file: str = "BigVGAN") -> BigVGAN:
    """From the contents of `config.json` and weights with weight norm or folded. Raises ModelError("bad_vocoder")."""
    sizes = sizes_from_config(config, file=f"The configuration of {file}")
    _check_bigvgan(config, sizes.hop, file)
    with torch.device("meta"):
        model = BigVGAN(sizes, sample_rate=config.get("sampling_rate", BIGVGAN_RATE))
    fill(model, fold(state) | _exact_filters(state), file=file)
    return model


def hifigan(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None, *, file: str = "HiFi-GAN") -> HiFiGAN:
    """From bare weights; the sizes come from them where there is no `config`. Raises ModelError("bad_vocoder")."""
    folded = fold(state)
    sizes = sizes_from_state(folded, file=file) if config is None else sizes_from_config(config, file=file)
    with torch.device("meta"):
        model = HiFiGAN(sizes)
    fill(model, folded, file=file)
    return model


def _open_bigvgan(where: Path) -> BigVGAN:
    path = _weights_file(where, "v3", BIGVGAN_FILE)
    config = read_config(path.with_name("config.json"))
    return bigvgan(config, read_weights(path, entry="generator"), file=path.name)


def _open_hifigan(where: Path) -> HiFiGAN:
    path = _weights_file(where, "v4", HIFIGAN_FILE)
    return hifigan(read_weights(path), file=path.name)


def _weights_file(where: Path, version: str, name: str) -> Path:
    if where.is_file():
        return where
    if (where / name).is_file():
        return where / name
    found = find_part(where, "vocoder", version)
    return found / name if found.is_dir() else found


def _exact_filters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In the place of the filters of a file in half precision, which has rounded them."""
    rounded = [name for name, tensor in state.items() if name.endswith(".filter") and tensor.dtype != torch.float32]
    return {name: low_pass_taps().view(1, 1, -1) for name in rounded}


def _check_bigvgan(config: Mapping[str, Any], hop: int, file: str) -> None:
    """What is fixed in the network, so that another setting would give another sound without a word."""
    for name, wanted in {"activation": "snakebeta", "snake_logscale": True, "hop_size": hop}.items():
        if config.get(name, wanted) != wanted:
            raise ModelError(
                "bad_vocoder", f"The configuration of {file} has {name} = {config[name]!r}; only {wanted!r} works."
            )
    rate = config.get("sampling_rate", BIGVGAN_RATE)
    if not isinstance(rate, int) or rate < 1:
        raise ModelError("bad_vocoder", f"The configuration of {file} has sampling_rate = {rate!r}, which is no rate.")
