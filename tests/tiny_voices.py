"""Voices of random weights: any recipe, and the official versions in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.sovits.model import SoVITS

VoiceFiles = tuple[Path, Path]
"""A GPT and a SoVITS file."""
TINY_GPT = {
    "model": {"embedding_dim": 16, "hidden_dim": 16, "head": 2, "linear_units": 64, "n_layer": 1},
}
TINY_SOVITS = {
    "ssl_dim": 16,
    "inter_channels": 16,
    "hidden_channels": 16,
    "filter_channels": 24,
    "n_layers": 2,
    "gin_channels": 24,
    "mrte_hidden": 24,
    "mrte_heads": 2,
    "ref_style_hidden": 8,
    "posterior_layers": 2,
    "flow_couplings": 2,
    "flow_layers": 2,
    "sv_dim": 12,
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
}


def write_tiny_voice(folder: Path, version: str) -> VoiceFiles:
    """Write a voice of v1, v2, v2Pro or v2ProPlus in miniature."""
    gpt = merge_config(load_config("v1_gpt" if version == "v1" else "v2_gpt"), TINY_GPT)
    return write_voice(folder, version, gpt, merge_config(load_config(version), {"model": TINY_SOVITS}))


def write_voice(folder: Path, version: str, gpt: dict[str, Any], sovits: dict[str, Any]) -> VoiceFiles:
    """Write a voice of two recipes."""
    torch.manual_seed(1)
    states = {
        "gpt": (gpt, Text2Semantic.from_config(gpt).state_dict()),
        "sovits": (sovits, SoVITS.from_config(sovits).voice_state()),
    }
    for kind, (config, state) in states.items():
        save_checkpoint(folder / f"{kind}.safetensors", Checkpoint(kind, version, config, state))
    return folder / "gpt.safetensors", folder / "sovits.safetensors"
