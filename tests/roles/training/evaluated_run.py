"""A run of a training whose evaluation program is `toy_evaluation`, without records or a queue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from tiny_experiment import TinyExperiment

from common import programs
from core.marks.speech_marks import SpeechMarks
from core.media.encode import read_wav
from core.stages.outputs import CompletedOutputs
from roles.stages.stage_run import StageRun
from roles.training import evaluation


def evaluated_run(folder: Path, patch: pytest.MonkeyPatch, stage: str) -> StageRun:
    """Return a run of a training whose other model is trained already; its checkpoints speak three sentences."""
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    patch.setattr(programs, "PROGRAMS", ("toy_evaluation", "killed_training", "environment_training"))
    patch.setattr(evaluation, "EVALUATION", "toy_evaluation")
    family = TinyExperiment(folder, "v2")
    outputs: dict[str, Any] = {
        "asr": {"prompt": {"audio": "prompts/prompt.wav", "text": "Hello.", "language": "en"}},
        "semantic_token": {"pretrained_s2G": ""},
    }
    other, name = ("sovits_train", "ckpt-s") if stage == "gpt_train" else ("gpt_train", "ckpt-g")
    outputs[other] = {"model_path": f"checkpoints/{name}.safetensors", "checkpoint_id": name}
    family.outputs = cast(CompletedOutputs, outputs)
    run = family.stage_run(stage)
    speak(run, 3)
    return run


def speak(run: StageRun, sentences: int) -> None:
    run.services.settings = run.services.settings.model_copy(
        update={"evaluation_sentences": sentences, "provenance_days": 0.0}  # its records are no database
    )


def write_script(folder: Path, script: dict[str, Any]) -> None:
    """Tell the evaluation program of a run's folder what to say."""
    folder.mkdir(exist_ok=True)
    (folder / "script.json").write_text(json.dumps(script))


def asked_voices(folder: Path) -> list[dict[str, Any]]:
    """Return the voices that the program was asked for, as it got them."""
    lines = folder / "asked.jsonl"
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def is_marked(run: StageRun, key: str) -> bool:
    samples, rate = read_wav(run.services.storage.path(key))
    return SpeechMarks(run.services.settings).detect(samples, rate).found
