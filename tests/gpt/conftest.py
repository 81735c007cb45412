"""A tiny GPT and a training-set folder of random words, for tests that need no particular numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gpt_training_set import write_gpt_training_set

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.gpt.model import Text2Semantic

TINY = {
    "model": {
        "vocab_size": 65,
        "phoneme_vocab_size": 732,
        "embedding_dim": 32,
        "hidden_dim": 32,
        "head": 2,
        "n_layer": 2,
        "dropout": 0,
        "EOS": 64,
    }
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


@pytest.fixture
def tiny_model() -> Text2Semantic:
    """Random weights whose logits are far enough apart that rounding decides nothing."""
    torch.manual_seed(7)
    model = Text2Semantic.from_config(TINY).eval()
    with torch.no_grad():
        model.model.ar_predict_layer.weight.mul_(4)
    return model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Weights of a tiny model, to begin a training from."""
    torch.manual_seed(3)
    state = Text2Semantic.from_config(TINY).state_dict()
    path = tmp_path / "base.safetensors"
    save_checkpoint(path, Checkpoint(kind="gpt", version="nano", config=TINY, state=state, info={}))
    return path


@pytest.fixture
def training_set(tmp_path: Path) -> Path:
    """Twelve usable recordings of 1 to 2 s."""
    folder = tmp_path / "experiment"
    folder.mkdir()
    write_gpt_training_set(folder, "v2")
    return folder


@pytest.fixture
def plan_file(tmp_path: Path, training_set: Path, base: Path):
    """Write a RUN.json with changes to a small plan; a different `output` is another run."""

    def write(**changes) -> Path:
        plan = {
            "trainer": "gpt",
            "version": "nano",
            "data": str(training_set),
            "output": str(tmp_path / changes.pop("output", "output")),
            "epochs": 3,
            "batch_size": 24,
            "save_every_epoch": 2,
            "base": str(base),
            "base_discriminator": None,
            "precision": "fp32",
            "train": {"update_every": 3, "learning_rate": 0.02},
        }
        path = tmp_path / "run.json"
        path.write_text(json.dumps(plan | changes))
        return path

    return write
