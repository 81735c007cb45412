"""AP-BWE in miniature, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from GPT_SoVITS.vocoders import SuperResolution
from GPT_SoVITS.vocoders.super_resolution import WEIGHTS_FILE, super_resolution_sizes

CONFIG = {
    "n_fft": 64,
    "hop_size": 8,
    "win_size": 32,
    "hr_sampling_rate": 48_000,
    "ConvNeXt_channels": 16,
    "ConvNeXt_layers": 2,
}


def small_super_resolution() -> SuperResolution:
    """Return the network; every call returns the same weights."""
    torch.manual_seed(4)
    return SuperResolution(super_resolution_sizes(CONFIG)).eval().requires_grad_(False)


def write_small_super_resolution(folder: Path) -> None:
    """Write its files as they are published."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.save({"generator": small_super_resolution().state_dict()}, folder / WEIGHTS_FILE)
