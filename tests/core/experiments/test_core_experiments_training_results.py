"""A training's losses are told while it runs and after it, and its artefacts by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InvalidRequest, NotFound
from core.experiments.training_results import artifact_key, artifacts, read_results
from core.records import StageRecord
from core.storage import Storage

LINES = [
    {"epoch": 1, "step": 1, "loss": 4.0, "learning_rate": 0.1},
    {"epoch": 1, "step": 2, "loss": 2.0, "learning_rate": 0.1},
    {"epoch": 2, "step": 3, "loss": 1.0, "kl": 0.5, "learning_rate": 0.1},
]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path)
    folder = storage.folder("experiments/exp-1/gpt_2")
    whole = "".join(json.dumps(line) + "\n" for line in LINES)
    (folder / "metrics.jsonl").write_text(whole + '{"epoch": 2, "st')
    return storage


def test_a_running_training_tells_the_means_of_its_epochs_so_far(storage):
    running = StageRecord("exp-1", "gpt_train", run=3, work_run=2, metrics={"epoch": 2, "loss": 1.0})

    results = read_results(storage, running)

    assert results.epochs == [{"epoch": 1, "losses": {"loss": 3.0}}, {"epoch": 2, "losses": {"loss": 1.0, "kl": 0.5}}]
    assert (results.steps, results.losses) == ([], {})
    assert results.metrics == {"epoch": 2, "loss": 1.0}
    assert results.checkpoints == []


def test_a_finished_training_tells_its_own_means(storage):
    history = [{"epoch": 1, "loss": 2.9}]
    done = StageRecord(
        "exp-1", "gpt_train", run=2, work_run=2, outputs={"metrics": {"best_epoch": 1, "history": history}}
    )

    results = read_results(storage, done)

    assert results.epochs == [{"epoch": 1, "losses": {"loss": 2.9}}]
    assert results.metrics == {"best_epoch": 1}


@pytest.mark.parametrize(("points", "steps"), [(1, [3]), (2, [1, 3]), (3, [1, 2, 3]), (50, [1, 2, 3])])
def test_single_steps_are_chosen_evenly(storage, points, steps):
    results = read_results(storage, StageRecord("exp-1", "gpt_train", run=2, work_run=2), points)

    assert results.steps == steps
    assert results.losses["loss"] == [LINES[step - 1]["loss"] for step in steps]
    assert results.losses["kl"][-1] == 0.5


def test_a_training_that_never_ran_has_no_losses(storage):
    assert read_results(storage, StageRecord("exp-1", "sovits_train"), points=10).epochs == []


def test_a_stage_that_is_no_training_has_none_either(storage):
    with pytest.raises(InvalidRequest, match="asr is no training"):
        read_results(storage, StageRecord("exp-1", "asr"))


def test_pictures_and_sounds_are_known_by_their_names():
    checkpoints = [{"epoch": 4, "sample": "experiments/exp-1/gpt_1/samples/e4.wav"}, {"epoch": 8, "sample": None}]
    record = StageRecord(
        "exp-1", "gpt_train", outputs={"curves": "experiments/exp-1/gpt_1/loss.png", "checkpoints": checkpoints}
    )

    assert artifacts(record).keys() == {"loss.png", "e4.wav"}
    assert artifact_key(record, "e4.wav") == "experiments/exp-1/gpt_1/samples/e4.wav"
    for name in ("e8.wav", "../e4.wav", ""):
        with pytest.raises(NotFound, match=r"left no") as refused:
            artifact_key(record, name)
        assert "e4.wav" in refused.value.hint
