"""Two processes, started by torchrun, train what one process would."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from two_processes import run_in_two_processes

from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig

pytestmark = pytest.mark.slow

WITHOUT_DROPOUT = {"update_every": 3, "learning_rate": 0.02, "layer_dropout": 0.0}


@pytest.fixture
def outputs(plan_file, tmp_path) -> Path:
    """Return the folder in which `alone` was trained here, and `whole` and `parts` by two processes."""
    for name in ("whole", "parts"):
        shutil.copy(plan_file(output=name, batch_size=12, train=WITHOUT_DROPOUT), tmp_path / f"{name}.json")
    run_in_two_processes(Path(__file__).parent / "gpt_worker.py", tmp_path)
    plan = GPTTrainingConfig.read(plan_file(output="alone", batch_size=24, train=WITHOUT_DROPOUT))
    GPTTrainer(plan, lambda *_, **__: None, threading.Event()).fit()
    return tmp_path


def curve(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_does_and_go_on_after_a_stop(outputs):
    alone, whole, parts = (curve(outputs / name) for name in ("alone", "whole", "parts"))

    assert len(alone) == len(whole) == len(parts) > 5
    for line, line_of_two in zip(alone, whole, strict=True):
        assert line_of_two == pytest.approx(line, rel=1e-5)
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    weights = {name: load_checkpoint(outputs / name / "gpt-e3.safetensors").state for name in ("alone", "whole")}
    for name, tensor in weights["alone"].items():
        if not name.endswith("in_proj_bias"):  # whose middle third is rounding (specification s1-gpt §9.4)
            assert (weights["whole"][name] - tensor).abs().max() <= 2e-3 * tensor.abs().max(), name
