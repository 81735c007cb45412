"""Voices judged by a child process of the model library: all checkpoints of a training, or one pair of weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import Draining, SovitsError, TrainingFailed, error_from_code
from roles.preprocessing.official import base, models_folder
from roles.stages.stage_role import StageRun
from roles.training.control import Paused, Wishes
from roles.training.program import Program

logger = logging.getLogger(__name__)

PROGRAM = "GPT_SoVITS.evaluation.program"
MOST_SPOKEN = 40
"""Sentences that one training's checkpoints speak together; many checkpoints get fewer each, and at least one."""
REQUEST = "evaluation.json"
SAMPLES = "samples"
"""Folder of sample sentences in a training's folder."""
OTHER = {"gpt": "sovits", "sovits": "gpt"}


@dataclass(frozen=True, slots=True)
class Voice:
    """A pair of weights to be judged."""

    name: str
    gpt: Path
    sovits: Path
    sample: Path | None = None
    """Where the first sentence's sound goes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one pair."""

    language: str
    mean: dict[str, Any]
    sentences: list[dict[str, Any]]


def judge(
    run: StageRun, folder: Path, request: dict[str, Any], voices: list[Voice], tell: Callable[[float, str], None]
) -> dict[str, Verdict]:
    """Let every voice speak; verdicts by name. `folder` is the run's own.

    Raises what the program reported, and Draining or Paused when it should stop: what it did is cheap to do again.
    """
    file = folder / REQUEST
    request = {
        "models": str(models_folder(run.services)),
        "device": run.services.device,
        "threads": run.services.threads,
        "voices": [_as_request(voice) for voice in voices],
        **request,
    }
    file.write_bytes(orjson.dumps(request))
    program = Program(PROGRAM, file, run.context)
    wishes = Wishes(run)
    verdicts: dict[str, Verdict] = {}
    failure: dict[str, Any] = {}

    def handle(event: dict[str, Any]) -> None:
        if event["event"] == "sentence":
            tell(event["fraction"], f"Judged sentence {event['number']} of {event['of']} of {event['voice']}.")
        elif event["event"] == "voice":
            verdicts[event["name"]] = Verdict(event["language"], event["mean"], event["sentences"])
        elif event["event"] == "error":
            failure.update(event)

    def watch() -> None:
        if run.context.draining.is_set():
            raise Draining("The checkpoints are judged later.")
        if wishes.heard() == "pause":
            raise Paused("The checkpoints are judged when the stage is resumed.")

    code = program.run(handle, watch)
    run.context.check()
    if failure:
        permanent = bool(failure.get("permanent", False))
        raise error_from_code(failure["code"], failure["message"], hint=failure.get("hint", ""), permanent=permanent)
    if code != 0:
        raise TrainingFailed(f"The evaluation ended with exit code {code}.", details={"log": program.last_words})
    return verdicts


def judge_checkpoints(
    run: StageRun, kind: str, kept: list[dict[str, Any]], folder: Path, tell: Callable[[float, str], None]
) -> dict[str, Any]:
    """Judge every checkpoint of a training on the same few sentences: `{sentences, language, partner}`.

    Their numbers and samples go into the rows of `kept`. What cannot be judged is no reason to lose a training: the
    answer then says why (`error`).
    """
    asked = run.services.settings.evaluation_sentences
    if not asked:
        return {"error": "EVALUATION_SENTENCES is 0."}
    try:
        partner, name = partner_of(run, kind)
        prompt = own_prompt(run)
        (folder / SAMPLES).mkdir(exist_ok=True)
        voices = [_voice(run, kind, row, partner, folder / SAMPLES) for row in kept]
        count = max(1, min(asked, MOST_SPOKEN // len(kept)))
        verdicts = judge(run, folder, {"prompt": prompt, "count": count}, voices, tell)
    except (Draining, Paused):
        raise
    except SovitsError as error:
        run.context.check()
        logger.warning("The checkpoints were not judged: %s %s", error.message, error.hint)
        return {"error": f"{error.message} {error.hint}".strip()}
    for row, voice in zip(kept, voices, strict=True):
        row |= verdicts[voice.name].mean
        row["sample"] = _sample_key(run, voice)
    language = next(iter(verdicts.values())).language
    return {"sentences": count, "language": language, f"{OTHER[kind]}_model": name, "error": ""}


def partner_of(run: StageRun, kind: str) -> tuple[Path, str]:
    """The other model that a checkpoint of this kind speaks with, and its name: the experiment's own when it is
    trained already, else the one that its training begins from."""
    other = OTHER[kind]
    trained = run.outputs.get(f"{other}_train")
    if trained:
        return run.services.storage.path(trained["model_path"]), trained["checkpoint_id"]
    parameters = dict(run.experiment.parameters.get(f"{other}_train", {}))
    if other == "sovits":  # the tokens mean what they mean in the file that they were made with
        parameters["pretrained_s2G"] = run.outputs["semantic_token"]["pretrained_s2G"]
    path = base(run, other, parameters)
    return path, f"base {path.name}"


def own_prompt(run: StageRun) -> dict[str, Any]:
    """The experiment's prompt, with its tokens where they are known."""
    prompt = run.outputs["asr"]["prompt"]
    audio = str(run.services.storage.path(prompt["audio"]))
    return {
        "audio": audio,
        "text": prompt["text"],
        "language": prompt["language"],
        "tokens": run.outputs["semantic_token"].get("prompt_tokens"),
    }


def _voice(run: StageRun, kind: str, row: dict[str, Any], partner: Path, samples: Path) -> Voice:
    weights = {kind: run.services.storage.path(row["model_path"]), OTHER[kind]: partner}
    return Voice(f"epoch {row['epoch']}", sample=samples / f"e{row['epoch']}.wav", **weights)


def _sample_key(run: StageRun, voice: Voice) -> str | None:
    """Storage key of what it said first; None when it said nothing."""
    if voice.sample is None or not voice.sample.exists():
        return None
    return f"experiments/{run.experiment.id}/{voice.sample.relative_to(run.folder).as_posix()}"


def _as_request(voice: Voice) -> dict[str, Any]:
    return {
        "name": voice.name,
        "gpt": str(voice.gpt),
        "sovits": str(voice.sovits),
        "sample": str(voice.sample) if voice.sample else None,
    }
