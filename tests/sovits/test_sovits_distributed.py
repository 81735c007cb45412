"""Two processes, started by torchrun, make the gradients that one process makes of both their batches."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from one_step import assert_same_gradients, gradients_of, make_step
from two_processes import run_in_two_processes

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture
def outputs(plan, tmp_path) -> Path:
    for name in ("whole", "parts"):
        run = replace(plan, output=tmp_path / name, batch_size=2, epochs=3, precision="fp32", accumulate=2)
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(run), default=str))
    run_in_two_processes(HERE / "sovits_worker.py", tmp_path)
    return tmp_path


def test_two_processes_learn_as_one_does_and_go_on_after_a_stop(outputs, metrics):
    alone = gradients_of(make_step())
    together = torch.load(outputs / "gradients.pt", weights_only=True)
    whole, parts = metrics(outputs / "whole"), metrics(outputs / "parts")

    assert_same_gradients(together, alone)
    assert [line["step"] for line in parts] == [line["step"] for line in whole] == list(range(1, len(whole) + 1))
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
