"""Voices of random weights: nano as its recipe says, and the official versions in miniature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
from GPT_SoVITS.sovits.model import SoVITS

Voice = tuple[Path, Path]
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


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """The nano recipe with random weights."""
    return write_voice(tmp_path_factory.mktemp("nano"), "nano", load_config("nano_gpt"), load_config("nano"))


@pytest.fixture(scope="session")
def tiny_voice(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Voice]:
    """Writes a tiny voice of an official version."""

    def write(version: str) -> Voice:
        gpt = merge_config(load_config("v1_gpt" if version == "v1" else "v2_gpt"), TINY_GPT)
        sovits = merge_config(load_config(version), {"model": TINY_SOVITS})
        return write_voice(tmp_path_factory.mktemp(version), version, gpt, sovits)

    return write


def write_voice(folder: Path, version: str, gpt: dict[str, Any], sovits: dict[str, Any]) -> Voice:
    torch.manual_seed(1)
    states = {
        "gpt": (gpt, Text2Semantic.from_config(gpt).state_dict()),
        "sovits": (sovits, SoVITS.from_config(sovits).voice_state()),
    }
    for kind, (config, state) in states.items():
        path = folder / f"{kind}.safetensors"
        save_checkpoint(path, Checkpoint(kind=kind, version=version, config=config, state=state, info={}))
    return folder / "gpt.safetensors", folder / "sovits.safetensors"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three and a half seconds of a tone."""
    path = tmp_path_factory.mktemp("recording") / "prompt.wav"
    write_wav(path, 0.3 * np.sin(np.arange(56_000) / 20).astype(np.float32), 16_000)
    return path


@pytest.fixture(scope="session")
def pipeline(voice: Voice) -> Pipeline:
    """nano."""
    return Pipeline.load(*voice)


@pytest.fixture(scope="session")
def prompt(pipeline: Pipeline, recording: Path) -> EncodedPrompt:
    return pipeline.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(20)))


@pytest.fixture(scope="session")
def tiny(tiny_voice: Callable[[str], Voice]) -> Pipeline:
    """v2 in miniature."""
    return Pipeline.load(*tiny_voice("v2"))


@pytest.fixture(scope="session")
def tiny_prompt(tiny: Pipeline, recording: Path) -> EncodedPrompt:
    return tiny.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(20)))
