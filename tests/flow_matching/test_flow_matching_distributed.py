"""Two processes, started by torchrun, learn from two halves of a batch what one learns from the whole."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from tiny_flow import learned
from two_processes import run_in_two_processes

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture
def outputs(plan, tmp_path) -> Path:
    run = replace(plan, batch_size=2, epochs=1)
    (tmp_path / "run.json").write_text(json.dumps(asdict(run), default=str))
    run_in_two_processes(HERE / "flow_worker.py", tmp_path)
    return tmp_path


def test_two_processes_learn_as_one_does_and_stay_equal(outputs, run, plan):
    alone = learned(slice(0, 4))
    together = torch.load(outputs / "weights.pt", weights_only=True)
    trained = [torch.load(outputs / f"trained-{rank}.pt", weights_only=True) for rank in (0, 1)]

    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        assert torch.allclose(together[name], tensor, atol=1e-6), name
        assert torch.equal(trained[0][name], trained[1][name]), name
    assert len(run.metrics(plan.output)) == 3
