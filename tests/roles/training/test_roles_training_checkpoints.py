"""Checkpoints are judged beside their training, each once, and heard at once; what fails costs nobody a training."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from evaluated_run import asked_voices, evaluated_run, is_marked, speak, write_script
from mark_table import DOCUMENTS, Delivery, documented, measured
from redis_servers import wait_until

from core.errors import Draining, StorageUnavailable
from core.limits import GpuInfo, HostInfo, LimitService
from core.stages.outputs import PreviewOutput
from GPT_SoVITS.evaluation.best_checkpoint import best_checkpoint
from roles.stages.stage_run import StageRun
from roles.training import checkpoint_evaluator
from roles.training.checkpoint_evaluator import CheckpointEvaluator, EvaluationReport
from roles.training.checkpoints import CheckpointRow
from roles.training.control import Paused
from roles.training.spare_threads import EVALUATION_MB, spare_threads

EARLY, LATE = {"wer": 0.1, "similarity": 0.8, "dnsmos": 3.0}, {"wer": 0.4, "similarity": 0.9, "dnsmos": 3.1}
SCRIPT = {"epoch 4": EARLY, "epoch 8": LATE}


def checkpoint(epoch: int) -> CheckpointRow:
    name = f"ckpt-{epoch}"
    path = f"checkpoints/{name}.safetensors"
    return {"epoch": epoch, "checkpoint_id": name, "model_path": path, "sha256": "0" * 64, "loss": 8.0 / epoch}


class PreviewRecorder:
    """What a run says can be heard, and the events about it."""

    def __init__(self, run: Any) -> None:
        self.previews: list[PreviewOutput] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        call = run.services.call
        update = run.services.experiments.runs.update_previews = object()

        def called(function: object, *arguments: Any, **named: Any) -> Any:
            if function is update:
                self.previews = arguments[-1]
                return None
            return call(function, *arguments, **named)

        run.services.call = called
        run.context.event = lambda kind, data: self.events.append((kind, data))

    @property
    def epochs(self) -> list[int]:
        return [preview["epoch"] for preview in self.previews]


@pytest.fixture
def folder(run: StageRun) -> Path:
    return run.folder / "gpt_1"


@pytest.fixture
def recorder(run: StageRun) -> PreviewRecorder:
    return PreviewRecorder(run)


def evaluator_of(
    run: StageRun, folder: Path, *, spare_threads: int = 0, kind: str = "gpt"
) -> closing[CheckpointEvaluator]:
    return closing(CheckpointEvaluator(run, kind, folder, spare_threads=spare_threads))


def judged(run: StageRun, folder: Path, script: dict[str, Any]) -> tuple[EvaluationReport, list[CheckpointRow]]:
    """Return report and rows of checkpoints that are judged at the training's end."""
    write_script(folder, script)
    rows = [checkpoint(4), checkpoint(8)]
    with evaluator_of(run, folder) as evaluator:
        evaluator.begin(Path("base"))
        return evaluator.finish(rows, lambda fraction, message: None), rows


def until_heard(evaluator: CheckpointEvaluator, recorder: PreviewRecorder, epochs: list[int]) -> None:
    def polled() -> bool:
        evaluator.poll()
        return recorder.epochs == epochs

    wait_until(polled, f"the samples of {epochs}", seconds=240)


def test_each_checkpoint_gets_its_numbers_and_its_sample(run, folder, recorder):
    report, rows = judged(run, folder, SCRIPT)

    assert report == {"sentences": 3, "language": "en", "sovits_model": "ckpt-s", "error": ""}
    assert [(row["epoch"], row["wer"], row["similarity"]) for row in rows] == [(4, 0.1, 0.8), (8, 0.4, 0.9)]
    assert rows[0]["sample"] == "experiments/exp-tiny/gpt_1/samples/e4.wav"
    assert is_marked(run, rows[0]["sample"])
    sample = Delivery(run.services.storage.path(rows[0]["sample"]).read_bytes(), "wav")
    for document in DOCUMENTS:
        table = documented(document)
        assert measured(sample) == table["GET /api/v1/experiments/{exp_id}/stages/{stage}/artefacts/{name}", "wav"]
        assert measured(sample) == table["GET /api/v1/task/{task_id}/files/download/{filename}", "wav"]
    assert best_checkpoint(rows)["checkpoint_id"] == "ckpt-4", "more epochs learnt the recording and forgot the words"
    request = json.loads((folder / "evaluation.json").read_bytes())
    assert (request["count"], request["threads"]) == (3, 1)
    assert [voice["name"] for voice in asked_voices(folder)] == ["epoch 4", "epoch 8"]
    assert asked_voices(folder)[0]["sovits"].endswith("checkpoints/ckpt-s.safetensors")


def test_a_checkpoint_is_heard_while_the_training_goes_on_and_the_rest_at_its_end(run, folder, recorder):
    write_script(folder, SCRIPT)
    rows = [checkpoint(4), checkpoint(8)]

    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        evaluator.submit(rows[0])
        until_heard(evaluator, recorder, [4])
        early = recorder.previews[0]
        report = evaluator.finish(rows, lambda fraction, message: None)

    assert early == {
        **rows[0], **dict.fromkeys(("cer", "rtf", "f0_low", "f0_high", "repeated", "skipped")), **EARLY,
        "sample": "experiments/exp-tiny/gpt_1/samples/e4.wav", "text": "We watched the sun go down.",
    }  # fmt: skip
    assert recorder.events[0] == ("preview", {"stage": "gpt_train", **early})
    assert recorder.epochs == [4, 8]
    assert report["error"] == ""
    assert [row["wer"] for row in rows] == [0.1, 0.4]
    assert len({voice["process"] for voice in asked_voices(folder)}) == 1, "its models are loaded once"


def test_a_training_that_goes_on_judges_only_what_was_not_judged(run, folder, recorder):
    write_script(folder, SCRIPT | {"epoch 12": LATE})
    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        evaluator.submit(checkpoint(4))
        until_heard(evaluator, recorder, [4])
    with evaluator_of(run, folder) as stopped:  # before it judged the next one
        stopped.begin(Path("base"))
        stopped.submit(checkpoint(8))

    rows = [checkpoint(epoch) for epoch in (4, 8, 12)]
    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        until_heard(evaluator, recorder, [4, 8])
        evaluator.submit(rows[2])
        report = evaluator.finish(rows, lambda fraction, message: None)

    assert [voice["name"] for voice in asked_voices(folder)] == ["epoch 4", "epoch 8", "epoch 12"]
    assert [row["wer"] for row in rows] == [0.1, 0.4, 0.4]
    assert report["error"] == ""


def test_another_host_finds_what_was_judged(run, folder, recorder, tmp_path, monkeypatch):
    judged(run, folder, SCRIPT)
    other = evaluated_run(tmp_path / "other", monkeypatch, "gpt_train")
    there = PreviewRecorder(other)
    shutil.copytree(folder, other.folder / "gpt_1")

    _, rows = judged(other, other.folder / "gpt_1", SCRIPT)

    assert [row["wer"] for row in rows] == [0.1, 0.4]
    assert [voice["name"] for voice in asked_voices(other.folder / "gpt_1")] == ["epoch 4", "epoch 8"]
    assert there.events == []


def test_a_bucket_that_is_away_postpones_what_is_judged(run, folder, recorder, monkeypatch):
    write_script(folder, SCRIPT)
    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        with monkeypatch.context() as patch:
            patch.setattr(run.services.storage, "path", away)
            evaluator.submit(checkpoint(4))
        report = evaluator.finish([checkpoint(4)], lambda fraction, message: None)

    assert (report["error"], recorder.epochs) == ("", [4])
    monkeypatch.setattr(run.services.storage, "path", away)
    with pytest.raises(StorageUnavailable):  # the training begins when it is there again
        evaluator_of(run, folder)


def away(key: str) -> Path:
    raise StorageUnavailable(f"{key} cannot be read.")


def test_what_was_judged_with_another_model_is_judged_again_and_the_base_does_not_speak_again(tmp_path, monkeypatch):
    run = evaluated_run(tmp_path, monkeypatch, "sovits_train")
    recorder, folder = PreviewRecorder(run), run.folder / "sovits_1"
    write_script(folder, SCRIPT)
    with evaluator_of(run, folder, kind="sovits", spare_threads=1) as evaluator:
        evaluator.begin(Path("base.pth"))
        evaluator.submit(checkpoint(4))
        until_heard(evaluator, recorder, [0, 4])
    run.outputs["gpt_train"] |= {"model_path": "checkpoints/ckpt-2.safetensors", "checkpoint_id": "ckpt-2"}

    rows = [checkpoint(4), checkpoint(8)]
    with evaluator_of(run, folder, kind="sovits", spare_threads=1) as evaluator:
        evaluator.begin(Path("base.pth"))
        evaluator.submit(rows[1])
        report = evaluator.finish(rows, lambda fraction, message: None)

    assert report["gpt_model"] == "ckpt-2"
    assert [(voice["name"], Path(voice["gpt"]).stem) for voice in asked_voices(folder)] == [
        ("the base", "ckpt-g"), ("epoch 4", "ckpt-g"), ("epoch 4", "ckpt-2"), ("epoch 8", "ckpt-2"),
    ]  # fmt: skip
    assert recorder.epochs == [0, 4, 8]
    run.outputs["asr"]["prompt"]["text"] = "Good evening."
    with evaluator_of(run, folder, kind="sovits") as evaluator:
        evaluator.begin(Path("base.pth"))
    assert asked_voices(folder)[-1]["name"] == "the base", "it speaks with the prompt"


def test_a_training_that_begins_anew_forgets_what_was_judged(run, folder, recorder):
    write_script(folder, SCRIPT)

    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        evaluator.submit(checkpoint(4))
        until_heard(evaluator, recorder, [4])
        evaluator.forget()
        forgotten = recorder.epochs
        evaluator.submit(checkpoint(4))
        until_heard(evaluator, recorder, [4])

    assert forgotten == []
    assert [voice["name"] for voice in asked_voices(folder)] == ["epoch 4", "epoch 4"]


def test_the_base_speaks_before_a_training_of_the_sovits_model(tmp_path, monkeypatch):
    run = evaluated_run(tmp_path, monkeypatch, "sovits_train")
    recorder, folder = PreviewRecorder(run), run.folder / "sovits_1"
    write_script(folder, SCRIPT)
    rows = [checkpoint(4), checkpoint(8)]

    with evaluator_of(run, folder, kind="sovits") as evaluator:
        evaluator.begin(Path("base.pth"))  # no core is free: it waits until the base spoke
        before = list(recorder.previews)
        evaluator.finish(rows, lambda fraction, message: None)

    sample = "experiments/exp-tiny/sovits_1/samples/e0.wav"
    assert before == [{"epoch": 0, "sample": sample, "text": "We watched the sun go down."}]
    assert is_marked(run, sample)
    first = asked_voices(folder)[0]
    assert (first["sovits"], first["preview"]) == ("base.pth", True)
    assert first["gpt"].endswith("checkpoints/ckpt-g.safetensors")
    assert recorder.epochs == [0, 4, 8]
    assert best_checkpoint(rows)["epoch"] == 4
    with evaluator_of(run, folder, kind="sovits") as evaluator:
        evaluator.begin(Path("base.pth"))
    assert sum(voice["preview"] for voice in asked_voices(folder)) == 1, "a training that goes on has it already"


def test_a_base_that_says_nothing_stops_no_training(tmp_path, monkeypatch):
    run = evaluated_run(tmp_path, monkeypatch, "sovits_train")
    recorder, folder = PreviewRecorder(run), run.folder / "sovits_1"
    write_script(folder, SCRIPT | {"silent": ["the base"]})
    rows = [checkpoint(4)]

    with evaluator_of(run, folder, kind="sovits", spare_threads=1) as evaluator:
        evaluator.begin(Path("base.pth"))
        report = evaluator.finish(rows, lambda fraction, message: None)

    assert (recorder.epochs, report["error"], rows[0]["wer"]) == ([4], "", 0.1)


def test_a_program_that_was_killed_beside_the_training_costs_no_measure(run, folder, recorder):
    write_script(folder, SCRIPT)
    rows = [checkpoint(4), checkpoint(8)]

    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        evaluator.submit(rows[0])
        until_heard(evaluator, recorder, [4])
        os.kill(asked_voices(folder)[0]["process"], signal.SIGKILL)
        report = evaluator.finish(rows, lambda fraction, message: None)

    assert report["error"] == ""
    assert [row["wer"] for row in rows] == [0.1, 0.4]
    assert [voice["name"] for voice in asked_voices(folder)] == ["epoch 4", "epoch 8"]


@pytest.mark.parametrize(("times", "error"), [(1, ""), (2, "The evaluation was killed by SIGKILL.")])
def test_a_program_that_is_killed_at_the_end_is_started_once_more(run, folder, recorder, times, error):
    report, rows = judged(run, folder, SCRIPT | {"killed": {"epoch 8": times}})

    assert report["error"] == error
    assert rows[0]["wer"] == 0.1
    assert ("wer" in rows[1]) is (error == "")


def test_a_training_that_needs_the_memory_gets_it(run, folder, recorder):
    write_script(folder, SCRIPT)

    with evaluator_of(run, folder, spare_threads=1) as evaluator:
        evaluator.begin(Path("base"))
        evaluator.submit(checkpoint(4))
        released = evaluator.release_memory(), evaluator.release_memory()
        evaluator.submit(checkpoint(8))
        evaluator.poll()
        running = recorder.epochs
        evaluator.finish([checkpoint(4), checkpoint(8)], lambda fraction, message: None)

    assert released == (True, False)
    assert (running, recorder.epochs) == ([], [4, 8])


def test_many_checkpoints_speak_fewer_sentences_each(run, folder, recorder, monkeypatch):
    monkeypatch.setattr(checkpoint_evaluator, "MAX_SENTENCES", 4)
    run.config |= {"total_epoch": 8, "save_every_epoch": 5}

    report, _ = judged(run, folder, SCRIPT)

    assert report["sentences"] == 2


def test_a_training_is_not_lost_because_nobody_can_judge_it(run, folder, recorder):
    error = {"code": "missing_part", "message": "RoBERTa is not there.", "hint": "Fetch it.", "permanent": True}

    report, rows = judged(run, folder, {"error": error})

    assert report == {"error": "RoBERTa is not there. Fetch it."}
    assert best_checkpoint(rows) is None


def test_nobody_is_asked_to_judge_when_the_setting_says_so(run, folder, recorder):
    speak(run, 0)

    report, _ = judged(run, folder, {})

    assert report == {"error": "EVALUATION_SENTENCES is 0."}


def test_a_drain_ends_the_judging_at_once(run, folder, recorder):
    run.context.draining.set()

    with pytest.raises(Draining):
        judged(run, folder, SCRIPT)


def test_a_pause_ends_the_judging_too(run, folder):
    run.services.call = lambda *arguments, **named: "pause"

    with pytest.raises(Paused):
        judged(run, folder, SCRIPT)


@pytest.mark.parametrize(
    ("device", "threads", "training", "free_mb", "spare"),
    [
        ("cpu", 2, 1, EVALUATION_MB, 1),
        ("cpu", 8, 4, EVALUATION_MB, 4),
        ("cpu", 1, 1, EVALUATION_MB, 0),
        ("cpu", 2, 1, EVALUATION_MB - 1, 0),
        ("cuda", 4, 4, 24_000, 4),
        ("cuda", 4, 4, 10_000, 0),
        ("mps", 4, 1, 24_000, 0),
    ],
)
def test_checkpoints_are_judged_beside_a_training_where_it_leaves_room(
    run, services, monkeypatch, device, threads, training, free_mb, spare
):
    monkeypatch.setattr("roles.training.spare_threads.available_memory_mb", lambda: free_mb)
    limits = LimitService(services.settings, services.records, services.async_queue)
    gpus = [
        GpuInfo("here", number, f"cuda:{number}", "Card", f"GPU-{number}", 24_000, megabytes)
        for number, megabytes in ((0, 500), (1, free_mb))
    ]
    services.call(limits.report_host, HostInfo("here", threads, 64_000, gpus))
    services.device, services.threads, services.host, services.device_name = device, threads, "here", f"{device}:1"
    run.services = services

    assert spare_threads(run, training) == spare


def test_a_gpu_of_which_nobody_knows_the_memory_trains_alone(run, services):
    services.device, services.threads, services.host, services.device_name = "cuda", 4, "here", "cuda:0"
    run.services = services

    assert spare_threads(run, 4) == 0
