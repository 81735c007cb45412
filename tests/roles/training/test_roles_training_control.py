"""A training obeys: it pauses and goes on as if nothing had been, ends early, stops at once, and makes do with less."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evaluated_run import asked_voices, write_script
from training_experiments import TrainingExperiments, saved

from core.jobs.job import JobStatus
from core.settings import Settings, read_settings
from core.stages.status import StageStatus
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker
from roles.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 12
"""Of an epoch: few recordings are counted several times."""
HELD_AT = 18
"""A step in the middle of the second epoch."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        data_path=tmp_path,
        redis_prefix=f"{tmp_path.name}:",
        worker_retry_delay_seconds=0,
        evaluation_sentences=0,
    )


@pytest.fixture
def trained(services: WorkerServices, monkeypatch: pytest.MonkeyPatch) -> TrainingExperiments:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr("common.programs.PROGRAMS", ("held_training",))
    monkeypatch.setattr("roles.training.train.TRAINING", "held_training")
    return TrainingExperiments(services)


@pytest.fixture
def worker(trained: TrainingExperiments, services: WorkerServices, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """Run a trainer in a thread."""
    monkeypatch.setattr("roles.runtime.worker.CLAIM_SECONDS", 0.1)  # a drain waits for it
    monkeypatch.setattr("roles.training.control.POLL_SECONDS", 0.1)
    worker = Worker(Trainer(), services, f"trainer-test-{services.settings.redis_prefix}")
    worker.role.start(services)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.drain()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Trainings that begin after this wait at a step until they are asked something; 0: none does."""
    return lambda step: monkeypatch.setenv("TEST_HOLD_AT_STEP", str(step))


def test_a_paused_training_goes_on_to_the_same_curve_and_weights(trained, worker, hold):
    whole, parts = trained.experiment(), trained.experiment()
    unbroken = trained.train(whole)
    trained.end(unbroken)
    hold(HELD_AT)

    run = trained.train(parts)
    trained.until(parts, saved(1))
    trained.control(parts, "pause")
    ended = trained.end(run)
    paused = trained.record(parts)
    hold(0)
    again = trained.control(parts, "resume")
    trained.end(again)

    assert ended.status is JobStatus.CANCELLED, "the run that resumes has a job of its own"
    assert (paused.status, paused.control) == (StageStatus.PAUSED, "")
    assert len(trained.curve(parts).splitlines()) == 3 * STEPS
    assert trained.curve(parts) == trained.curve(whole)
    assert [checkpoint.epoch for checkpoint in trained.checkpoints(parts)] == [1, 2, 3]
    for checkpoint, other in zip(trained.checkpoints(whole), trained.checkpoints(parts), strict=True):
        assert checkpoint.sha256 == other.sha256
    assert trained.record(parts).outputs["metrics"]["steps"] == 3 * STEPS


def test_an_epoch_is_judged_once_and_heard_while_the_next_one_is_trained(trained, worker, hold, monkeypatch):
    monkeypatch.setattr("common.programs.PROGRAMS", ("held_training", "toy_evaluation"))
    monkeypatch.setattr("roles.training.evaluation.EVALUATION", "toy_evaluation")
    monkeypatch.setattr("roles.training.spare_threads.available_memory_mb", lambda: 8000)
    services = trained.services
    services.settings = services.settings.model_copy(update={"evaluation_sentences": 1})
    services.threads = 2
    hold(HELD_AT)
    exp_id = trained.experiment()
    trained.complete_sovits(exp_id)
    write_script(trained.folder(exp_id) / "gpt_1", {f"epoch {epoch}": {"wer": 0.3 - epoch / 10} for epoch in (1, 2, 3)})

    run = trained.train(exp_id)
    trained.until(exp_id, lambda event: event.kind == "preview" and event.data["epoch"] == 1)
    held = trained.record(exp_id)
    trained.control(exp_id, "pause")
    trained.end(run)
    hold(0)
    trained.end(trained.control(exp_id, "resume"))

    record = trained.record(exp_id)
    assert (held.status, [preview["epoch"] for preview in held.previews]) == (StageStatus.RUNNING, [1])
    assert [preview["epoch"] for preview in record.previews] == [1, 2, 3]
    assert [checkpoint["sample"] for checkpoint in record.outputs["checkpoints"]] == [
        preview["sample"] for preview in record.previews
    ]
    assert (record.outputs["metrics"]["best_epoch"], record.outputs["metrics"]["chosen_by"]) == (3, "evaluation")
    voices = asked_voices(trained.folder(exp_id) / "gpt_1")
    assert [voice["name"] for voice in voices] == ["epoch 1", "epoch 2", "epoch 3"]


def test_what_a_training_leaves_can_be_traced_and_looked_at(trained, worker):
    exp_id = trained.experiment()

    trained.end(trained.train(exp_id, save_every_epoch=2))

    record = trained.record(exp_id)
    outputs, checkpoints = record.outputs, trained.checkpoints(exp_id)
    assert [checkpoint["epoch"] for checkpoint in outputs["checkpoints"]] == [2, 3]
    assert outputs["checkpoint_id"] == checkpoints[-1].id, "nothing was judged, so the last one is taken"
    assert (outputs["metrics"]["best_epoch"], outputs["metrics"]["chosen_by"]) == (3, "last epoch")
    assert [epoch["epoch"] for epoch in outputs["metrics"]["history"]] == [1, 2, 3]
    for checkpoint in checkpoints:
        weights = trained.storage.path(checkpoint.storage_key).read_bytes()
        assert checkpoint.sha256 == hashlib.sha256(weights).hexdigest()
        assert checkpoint.lineage["data"] == {"audio_file_id": "file-1", "segments": 12, "sha256": "0" * 64}
        assert checkpoint.lineage["parameters"]["save_every_epoch"] == 2
        assert len(checkpoint.lineage["base"]["gpt"]["sha256"]) == 64
        assert checkpoint.lineage["code"]["version"]
    assert trained.storage.path(outputs["curves"]).read_bytes().startswith(b"\x89PNG")
    assert list(trained.storage.path(outputs["tensorboard"]).iterdir())
    assert record.metrics["total_epochs"] == 3
    assert record.metrics["loss"] > 0


def test_a_training_that_is_asked_to_stop_after_its_epoch_is_completed_with_it(trained, worker, hold):
    hold(HELD_AT)
    exp_id = trained.experiment()
    run = trained.train(exp_id)
    trained.until(exp_id, saved(1))

    trained.control(exp_id, "stop_after_epoch")
    trained.end(run)

    record = trained.record(exp_id)
    assert record.status is StageStatus.COMPLETED
    assert record.outputs["metrics"]["epochs"] == 2
    assert [checkpoint["epoch"] for checkpoint in record.outputs["checkpoints"]] == [1, 2]
    assert len(trained.curve(exp_id).splitlines()) == 2 * STEPS


def test_a_cancel_is_heard_during_a_drain_even_when_the_training_itself_is_deaf(trained, worker, hold, monkeypatch):
    hold(HELD_AT)
    monkeypatch.setenv("TEST_DEAF", "1")
    exp_id = trained.experiment()
    run = trained.train(exp_id)
    trained.until(exp_id, saved(1))

    worker.drain()
    trained.call(trained.experiments.stages.cancel, exp_id, "gpt_train")
    ended = trained.end(run)

    assert ended.status is JobStatus.CANCELLED
    assert trained.record(exp_id).status is StageStatus.CANCELLED
    assert [checkpoint.epoch for checkpoint in trained.checkpoints(exp_id)] == [1], "what was finished is kept"


def test_a_batch_is_halved_until_memory_can_hold_it_and_that_is_said(trained, worker, monkeypatch, caplog):
    monkeypatch.setenv("TEST_LARGEST_BATCH", "2")
    exp_id = trained.experiment()

    trained.end(trained.train(exp_id, total_epoch=1))

    record = trained.record(exp_id)
    assert record.status is StageStatus.COMPLETED, record.error
    assert record.outputs["notes"] == ["batch_size 2: 8 did not fit into memory."]
    assert "Trying again with batch_size 4: 8 did not fit into memory." in caplog.text
    assert trained.checkpoints(exp_id)[0].lineage["parameters"]["batch_size"] == 2
    plan = json.loads((trained.folder(exp_id) / "gpt_1" / "run.json").read_bytes())
    assert (plan["batch_size"], plan["grad_ckpt"]) == (2, False)


def test_a_batch_of_one_that_memory_cannot_hold_is_computed_twice(trained, worker, monkeypatch):
    monkeypatch.setenv("TEST_LARGEST_BATCH", "0")
    exp_id = trained.experiment()

    trained.end(trained.train(exp_id, total_epoch=1, batch_size=1))

    record = trained.record(exp_id)
    assert record.status is StageStatus.COMPLETED, record.error
    assert record.outputs["notes"] == ["grad_ckpt: batch_size 1 did not fit into memory."]


def test_a_training_that_fits_in_no_way_fails_with_what_would_help(trained, worker, monkeypatch):
    monkeypatch.setenv("TEST_LARGEST_BATCH", "0")
    monkeypatch.setenv("TEST_LARGEST_RECOMPUTED", "0")
    exp_id = trained.experiment()

    ended = trained.end(trained.train(exp_id, total_epoch=1, batch_size=1))

    assert ended.status is JobStatus.DEAD
    assert ended.error["code"] == "out_of_memory"
    assert ended.error["message"] == "The training does not fit into memory, not even with batch_size 1 and grad_ckpt."
    assert "shorter segments" in ended.error["hint"]


@pytest.mark.parametrize(("is_half", "precision"), [(True, "bf16"), (False, "fp32")])
def test_half_precision_is_used_where_it_is_faster_unless_the_experiment_says_no(
    trained, worker, monkeypatch, is_half, precision
):
    monkeypatch.setenv("TEST_FASTEST_PRECISION", "bf16")
    exp_id = trained.experiment(is_half=is_half)

    trained.end(trained.train(exp_id, total_epoch=1))

    assert trained.record(exp_id).outputs["metrics"]["precision"] == precision
