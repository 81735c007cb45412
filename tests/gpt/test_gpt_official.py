"""From an official file to an official file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig


def train(plan: Path) -> None:
    training = GPTTrainer(GPTTrainingConfig.read(plan), lambda *_, **__: None, threading.Event())
    training.fit()
    training.finish()


def test_an_official_base_is_fine_tuned_into_official_files(plan_file, tmp_path, tiny):
    torch.manual_seed(3)
    start = Text2Semantic.from_config(tiny).state_dict()
    write_official(tmp_path / "s1.ckpt", Checkpoint("gpt", "v2", tiny, start))
    plan = plan_file(version="v2Pro", base=str(tmp_path / "s1.ckpt"), epochs=2, export_official=True, name="Anna")

    train(plan)

    written = read_official(tmp_path / "output" / "Anna-e2.ckpt")
    Text2Semantic.from_config(written.config).load_state_dict(
        {n: t.float() for n, t in written.state.items()}, strict=True
    )
    assert (written.kind, written.info["official"]) == ("gpt", "GPT-e2")
    assert {tensor.dtype for tensor in written.state.values()} == {torch.float16}
    name = "model.ar_predict_layer.weight"
    assert not torch.equal(written.state[name], start[name].half())


def test_nano_has_no_official_form_and_says_so_before_the_work(plan_file, tmp_path):
    with pytest.raises(ModelError) as refused:
        train(plan_file(export_official=True))

    assert refused.value.code == "no_official_form"
    assert not (tmp_path / "output" / "metrics.jsonl").exists()
