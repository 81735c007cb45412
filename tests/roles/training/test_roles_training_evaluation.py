"""What surrounds a training: the model it speaks with, the memory that it gets, its bases, and the trial at its end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from evaluated_run import is_marked, speak, write_script
from tiny_experiment import RATE, speech_like

from core.errors import InvalidRequest, MissingPart, SovitsError, TrainingFailed
from core.jobs.worker_process import GPUS
from core.stages.parameter_schema import parse_parameters
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.dataset.folder import Annotation, write_annotations
from roles.stages.stage_run import StageRun
from roles.training import lineage, memory
from roles.training.checkpoint_preview import test_inference as speak_a_trial
from roles.training.checkpoints import CheckpointRow
from roles.training.control import ControlRequests
from roles.training.evaluation import partner_of
from roles.training.memory import BatchSize
from roles.training.process import TrainingProcess
from roles.training.train import train


def test_a_checkpoint_speaks_with_the_base_while_its_partner_is_not_trained(run, monkeypatch):
    del run.outputs["sovits_train"]
    run.outputs["semantic_token"]["pretrained_s2G"] = "mine.pth"
    (run.services.settings.data_path / "models").mkdir()
    (run.services.settings.data_path / "models" / "mine.pth").write_bytes(b"weights")

    path, name = partner_of(run, "gpt")

    assert (path.name, name) == ("mine.pth", "base mine.pth")


def test_what_memory_needed_is_tried_step_by_step_and_remembered(tmp_path):
    tried: list[tuple[int, bool]] = []

    def attempt(batch_size: int, grad_ckpt: bool) -> dict[str, Any]:
        tried.append((batch_size, grad_ckpt))
        if not (batch_size == 1 and grad_ckpt):
            error = SovitsError("CUDA out of memory.")
            error.code = "out_of_memory"
            raise error
        return {}

    first, other = BatchSize(tmp_path, 4), BatchSize(tmp_path, 4)
    first.run(attempt)
    rescued = BatchSize(tmp_path, 4)
    rescued.run(attempt)
    BatchSize(tmp_path, 5, grad_ckpt=True).run(attempt)

    assert tried[:5] == [(4, False), (2, False), (1, False), (1, True), (1, True)]
    assert tried[5:] == [(5, True), (2, True), (1, True)]
    assert first.note == rescued.note == "batch_size 1 and grad_ckpt: 4 did not fit into memory."
    assert other.note == ""


def test_what_is_evaluated_gives_its_memory_back_before_a_batch_is_halved(tmp_path):
    tried: list[int] = []
    releases = iter([True, False])

    def attempt(batch_size: int, grad_ckpt: bool) -> dict[str, Any]:
        tried.append(batch_size)
        if len(tried) < 3:
            error = SovitsError("CUDA out of memory.")
            error.code = "out_of_memory"
            raise error
        return {}

    BatchSize(tmp_path, 4).run(attempt, lambda: next(releases))

    assert tried == [4, 4, 2]


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path):
    tried: list[int] = []

    def attempt(batch_size: int, grad_ckpt: bool) -> dict[str, Any]:
        tried.append(batch_size)
        raise TrainingFailed("It diverged.")

    with pytest.raises(TrainingFailed):
        BatchSize(tmp_path, 4).run(attempt)

    assert tried == [4]


def killed(run: StageRun) -> TrainingProcess:
    """Return a training whose program is killed at once, without a report."""

    def publish(epoch: int, weights: Path) -> CheckpointRow:
        raise AssertionError(f"{weights} of epoch {epoch} was not written")

    return TrainingProcess("killed_training", Path("run.json"), run, publish=publish)


def test_a_training_that_the_kernel_killed_for_its_memory_says_so(run, monkeypatch):
    counts = iter([3, 4])
    monkeypatch.setattr("roles.training.process.kernel_kills", lambda: next(counts))

    with pytest.raises(SovitsError) as failure:
        killed(run).run_to_end()

    assert failure.value.code == "out_of_memory"


def test_a_training_that_was_killed_by_somebody_else_is_tried_again_as_it_was(run, monkeypatch):
    monkeypatch.setattr("roles.training.process.kernel_kills", lambda: 3)

    with pytest.raises(TrainingFailed, match="SIGKILL") as failure:
        killed(run).run_to_end()

    assert failure.value.code != "out_of_memory"


def test_the_kernel_s_count_is_read_where_there_is_one(tmp_path, monkeypatch):
    events = tmp_path / "memory.events"
    monkeypatch.setattr(memory, "CGROUP_EVENTS", events)
    assert memory.kernel_kills() == 0

    events.write_text("low 0\nhigh 2\noom 1\noom_kill 7\n")

    assert memory.kernel_kills() == 7


def test_a_base_that_is_gone_names_the_command_that_fetches_it(run):
    with pytest.raises(MissingPart, match=r"gone\.ckpt") as failure:
        train(run, kind="gpt", settings={"base": "/nowhere/gone.ckpt", "dpo": False})

    assert "main.py download v2" in failure.value.hint


@pytest.mark.parametrize(
    ("constraint", "processes", "visible"),
    [
        ("cuda:0-2-5", 2, "GPU-a,GPU-c"),
        ("cuda:2", 1, "GPU-own"),
        ("cuda:2-5", 1, "GPU-own"),
        ("cuda", 1, "GPU-own"),
        ("", 1, "GPU-own"),
    ],
)
def test_a_training_runs_on_all_gpus_of_its_host_that_its_job_is_constrained_to(
    run, monkeypatch, constraint, processes, visible
):
    monkeypatch.setattr("roles.training.train.TRAINING", "environment_training")
    monkeypatch.setenv(GPUS, "0=GPU-a,1=GPU-b,2=GPU-c")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-own")
    run.services.device, run.context.job = "cuda", SimpleNamespace(device=constraint)
    speak(run, 0)
    base = run.folder / "base.ckpt"
    base.write_bytes(b"weights")

    with pytest.raises(SovitsError, match=f"It sees {visible}"):
        train(run, kind="gpt", settings={"base": str(base), "dpo": False})

    plan = json.loads((run.folder / "gpt_1" / "run.json").read_bytes())
    assert (plan["processes"], plan["batch_size"]) == (processes, 4), "the size of a batch counts for each GPU"


def test_the_records_are_asked_now_and_then_and_a_request_is_not_forgotten(run, monkeypatch):
    answers = iter(["", "pause", ""])
    run.services.call = lambda *arguments: next(answers)
    monkeypatch.setattr("roles.training.control.POLL_SECONDS", 0.0)
    requests = ControlRequests(run)

    assert [requests.poll() for _ in range(3)] == ["", "pause", "pause"]
    monkeypatch.setattr("roles.training.control.POLL_SECONDS", 60.0)
    assert requests.poll() == "pause"


@pytest.fixture
def trial(run) -> StageRun:
    """Both models are trained, and their checkpoints are there."""
    run.stage, run.config = "test_inference", parse_parameters("test_inference", {})
    run.outputs["gpt_train"] = {"checkpoint_id": "ckpt-g"}
    records = {}
    for kind in ("gpt", "sovits"):
        checkpoint_id = f"ckpt-{kind[0]}"
        records[checkpoint_id] = SimpleNamespace(
            id=checkpoint_id, kind=kind, storage_key=f"checkpoints/{checkpoint_id}.safetensors"
        )
        run.services.storage.put_bytes(records[checkpoint_id].storage_key, b"weights")
    run.services.call = lambda function, *arguments, **named: records.get(arguments[0])
    write_annotations(
        run.folder / "transcripts.list",
        [Annotation("prompt.wav", "speaker", "en", "Hello."), Annotation("two.wav", "speaker", "en", "Good evening.")],
    )
    write_script(run.folder / "test_inference_1", {"the voice": {"wer": 0.25, "dnsmos": 3.0}})
    return run


def test_a_trial_speaks_a_sentence_of_the_data_set_with_the_best_checkpoints(trial):
    outputs = speak_a_trial(trial)

    assert (outputs["text"], outputs["language"]) == ("Good evening.", "en"), "the prompt itself proves little"
    assert (outputs["gpt_model"], outputs["sovits_model"]) == ("ckpt-g", "ckpt-s")
    assert outputs["metrics"]["wer"] == 0.25
    assert is_marked(trial, outputs["sample"])


def test_a_trial_says_what_it_was_asked_to_from_another_prompt(trial):
    trial.config |= {"target_text": " 你好。 ", "target_language": "zh", "ref_audio": "file-2", "ref_text": "Hi."}
    upload = trial.services.storage.folder("files") / "file-2"
    write_wav(upload, speech_like(3.0, seed=1), RATE)

    outputs = speak_a_trial(trial)

    request = json.loads((trial.folder / "test_inference_1" / "evaluation.json").read_bytes())
    assert (outputs["text"], request["language"]) == ("你好。", "zh")
    assert (request["prompt"]["text"], outputs["prompt_text"]) == ("Hi.", "Hi.")
    assert soundfile.info(request["prompt"]["audio"]).duration == pytest.approx(3.0, abs=0.01)


def test_a_checkpoint_of_the_other_kind_cannot_take_part_in_a_trial(run):
    run.config = {"gpt_model": "ckpt-s", "sovits_model": ""}
    record = SimpleNamespace(kind="sovits", storage_key="checkpoints/ckpt-s.safetensors")
    run.services.call = lambda *arguments: record

    with pytest.raises(InvalidRequest, match="a gpt model is needed"):
        speak_a_trial(run)


def test_a_lineage_names_the_version_of_a_data_set(run):
    run.experiment = replace(run.experiment, audio_file_id=None, dataset_id="set-1", dataset_version=3)
    run.outputs["text_feature"] = {"transcripts": 7}

    record = lineage.lineage_of(run, {}, batch_size=2)

    assert record["data"] == {"dataset_id": "set-1", "dataset_version": 3, "segments": 7}
    assert record["parameters"]["batch_size"] == 2


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({"HEAD": "0123abcd\n"}, "0123abcd"),
        ({"HEAD": "ref: refs/heads/main\n", "refs/heads/main": "4567\n"}, "4567"),
        ({"HEAD": "ref: refs/heads/main\n", "packed-refs": "# pack\n89ab refs/heads/main\n"}, "89ab"),
        ({"HEAD": "ref: refs/heads/main\n"}, ""),
        ({}, ""),
    ],
)
def test_the_commit_of_a_checkout_is_read_without_git(tmp_path, files, commit):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    assert lineage._commit(tmp_path) == commit
