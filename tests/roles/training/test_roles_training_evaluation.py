"""Every checkpoint of a training is judged and the best one taken; what cannot be judged costs nobody a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import soundfile
from mark_table import DOCUMENTS, Delivery, documented, measured
from tiny_experiment import RATE, TinyExperiment, speech_like

from common import programs
from core.errors import Draining, InvalidRequest, MissingPart, SovitsError, TrainingFailed
from core.jobs.worker_process import GPUS
from core.marks.speech_marks import SpeechMarks
from core.media.encode import read_wav
from core.stages.outputs import CompletedOutputs
from core.stages.parameter_schema import parse_parameters
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.dataset.folder import Annotation, write_annotations
from GPT_SoVITS.evaluation.best_checkpoint import best_checkpoint
from roles.stages.stage_run import StageRun
from roles.training import evaluation, lineage, memory
from roles.training.checkpoint_preview import test_inference as speak_a_trial
from roles.training.checkpoints import CheckpointRow
from roles.training.control import ControlRequests, Paused
from roles.training.evaluation import EvaluationReport, evaluate_checkpoints, partner_of
from roles.training.memory import BatchSize
from roles.training.process import TrainingProcess
from roles.training.train import train

ROWS: list[CheckpointRow] = [
    {
        "epoch": 4,
        "checkpoint_id": "ckpt-4",
        "model_path": "checkpoints/ckpt-4.safetensors",
        "sha256": "0" * 64,
        "loss": 2.0,
    },
    {
        "epoch": 8,
        "checkpoint_id": "ckpt-8",
        "model_path": "checkpoints/ckpt-8.safetensors",
        "sha256": "0" * 64,
        "loss": 1.0,
    },
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageRun:
    """Return a run at the end of a GPT training whose SoVITS model is trained already."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(programs, "PROGRAMS", ("toy_evaluation", "killed_training", "environment_training"))
    monkeypatch.setattr(evaluation, "EVALUATION", "toy_evaluation")
    family = TinyExperiment(tmp_path, "v2")
    family.outputs = cast(
        CompletedOutputs,
        {
            "asr": {"prompt": {"audio": "prompts/prompt.wav", "text": "Hello.", "language": "en"}},
            "semantic_token": {"pretrained_s2G": ""},
            "sovits_train": {"model_path": "checkpoints/ckpt-s.safetensors", "checkpoint_id": "ckpt-s"},
        },
    )
    stage_run = family.stage_run("gpt_train")
    speak(stage_run, 3)
    return stage_run


def speak(run: StageRun, sentences: int) -> None:
    run.services.settings = run.services.settings.model_copy(
        update={"evaluation_sentences": sentences, "provenance_days": 0.0}  # its records are no database
    )


def judged(run: StageRun, script: dict[str, Any]) -> tuple[EvaluationReport, list[CheckpointRow]]:
    folder = run.folder / "gpt_1"
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps(script))
    rows = [row.copy() for row in ROWS]
    return evaluate_checkpoints(run, "gpt", rows, folder, lambda fraction, message: None), rows


def is_marked(run, key) -> bool:
    samples, rate = read_wav(run.services.storage.path(key))
    return SpeechMarks(run.services.settings).detect(samples, rate).found


def test_each_checkpoint_gets_its_numbers_and_its_sample(run):
    early, late = {"wer": 0.1, "similarity": 0.8, "dnsmos": 3.0}, {"wer": 0.4, "similarity": 0.9, "dnsmos": 3.1}

    report, rows = judged(run, {"epoch 4": early, "epoch 8": late})

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
    request = json.loads((run.folder / "gpt_1" / "evaluation.json").read_bytes())
    assert request["count"] == 3
    assert request["voices"][0]["sovits"].endswith("checkpoints/ckpt-s.safetensors")


def test_many_checkpoints_speak_fewer_sentences_each(run, monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_SENTENCES", 2)

    report, _ = judged(run, {"epoch 4": {"wer": 0.1}, "epoch 8": {"wer": 0.1}})

    assert report["sentences"] == 1


def test_a_training_is_not_lost_because_nobody_can_judge_it(run):
    error = {"code": "missing_part", "message": "RoBERTa is not there.", "hint": "Fetch it.", "permanent": True}

    report, rows = judged(run, {"error": error})

    assert report == {"error": "RoBERTa is not there. Fetch it."}
    assert best_checkpoint(rows) is None


def test_nobody_is_asked_to_judge_when_the_setting_says_so(run):
    speak(run, 0)

    report, _ = judged(run, {})

    assert report == {"error": "EVALUATION_SENTENCES is 0."}


def test_a_drain_ends_the_judging_at_once(run):
    run.context.draining.set()

    with pytest.raises(Draining):
        judged(run, {"epoch 4": {"wer": 0.1}, "epoch 8": {"wer": 0.1}})


def test_a_pause_ends_the_judging_too(run):
    run.services.call = lambda *arguments, **named: "pause"

    with pytest.raises(Paused):
        judged(run, {"epoch 4": {"wer": 0.1}, "epoch 8": {"wer": 0.1}})


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
    folder = run.folder / "test_inference_1"
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps({"the voice": {"wer": 0.25, "dnsmos": 3.0}}))
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
