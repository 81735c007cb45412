"""Voices evaluated by a child process of the model library: all checkpoints of a training, or one pair of weights."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NotRequired, cast

import orjson
from typing_extensions import TypedDict

from common import storage_keys
from common.programs import EVALUATION
from common.progress_messages import progress_message
from core.errors import Draining, SovitsError, TrainingFailed
from core.marks.speech_marks import SpeechMarks
from core.records import NewProvenance
from roles.preprocessing.model_files import base_model, models_folder
from roles.runtime.errors import error_from_report
from roles.speech.provenance import record_speech
from roles.stages.stage_run import StageRun
from roles.training.checkpoints import CheckpointRow, Measures
from roles.training.control import ControlRequests, Paused
from roles.training.program import POLL_SECONDS, ErrorEvent, EvaluatedSentence, EvaluationEvent, start_program

logger = logging.getLogger(__name__)

MAX_SENTENCES = 40
"""Spoken by the checkpoints of one training together; many checkpoints speak fewer each, and at least one."""
REQUEST: Final = "evaluation.json"
SAMPLES: Final = "samples"
"""Folder of sample sentences in a training's folder."""
OTHER_KIND: Final = {"gpt": "sovits", "sovits": "gpt"}

Progress = Callable[[float, str], None]
"""(fraction, message)."""


@dataclass(frozen=True, slots=True)
class VoiceToEvaluate:
    """A pair of weights to evaluate."""

    name: str
    gpt: Path
    sovits: Path
    sample: Path | None = None
    """Where the audio of the first sentence goes, in the folder of the evaluation."""


class PromptArguments(TypedDict):
    """The prompt that the voices speak with."""

    audio: str
    """Path."""
    text: str
    language: str
    tokens: list[int] | None
    """Semantic tokens, where they are known."""


class SpokenSentences(TypedDict):
    """What the voices speak: sentences, or `count` of the packaged ones of the prompt's language."""

    prompt: PromptArguments
    count: NotRequired[int]
    sentences: NotRequired[list[str]]
    language: NotRequired[str]


@dataclass(frozen=True, slots=True)
class VoiceEvaluation:
    """What was measured of one pair of weights."""

    language: str
    mean: Measures
    sentences: list[EvaluatedSentence]


class EvaluationReport(TypedDict, total=False):
    """The evaluation in the outputs of a training; only `error` when there was none."""

    sentences: int
    language: str
    gpt_model: str
    sovits_model: str
    """The other model that the checkpoints spoke with."""
    error: str


def evaluate_voices(
    run: StageRun, folder: Path, spoken: SpokenSentences, voices: Sequence[VoiceToEvaluate], progress: Progress
) -> dict[str, VoiceEvaluation]:
    """Have every voice speak, and return its evaluation by name. `folder` is the run's own.

    Raises what the program reported, and Draining or Paused to stop: what it did is cheap to do again.
    """
    request = {
        "models": str(models_folder(run.services)),
        "device": run.services.device,
        "threads": run.services.threads,
        "voices": [
            {
                "name": voice.name,
                "gpt": str(voice.gpt),
                "sovits": str(voice.sovits),
                "sample": str(voice.sample.relative_to(folder)) if voice.sample else None,
            }
            for voice in voices
        ],
        **spoken,
    }
    (folder / REQUEST).write_bytes(orjson.dumps(request))
    requests = ControlRequests(run)
    evaluations: dict[str, VoiceEvaluation] = {}
    failure: ErrorEvent | None = None
    with start_program(EVALUATION, folder / REQUEST, run.context) as child:
        for received in child.events(POLL_SECONDS):
            if received is not None:
                event = cast(EvaluationEvent, received)
                if event["event"] == "sentence":
                    message = progress_message(
                        "sentence_judged", number=event["number"], count=event["of"], voice=event["voice"]
                    )
                    progress(event["fraction"], message)
                elif event["event"] == "voice":
                    mean = cast(Measures, event["mean"])
                    evaluations[event["name"]] = VoiceEvaluation(event["language"], mean, event["sentences"])
                elif event["event"] == "error":
                    failure = event
            run.context.check()
            if run.context.draining.is_set():
                raise Draining("The checkpoints are judged later.")
            if requests.poll() == "pause":
                raise Paused("The checkpoints are judged when the stage is resumed.")
        child.wait()
    run.context.check()
    if failure is not None:
        raise error_from_report(failure)
    if child.returncode != 0:
        raise TrainingFailed(f"The evaluation {child.describe_exit()}.", details={"log": child.log_tail})
    marks = SpeechMarks(run.services.settings)
    request_id = f"{run.experiment.id}.{run.stage}.{run.run}"
    for voice in voices:
        if voice.sample is not None and voice.sample.exists():  # it was evaluated as the model spoke it
            content = (run.own_folder_name, voice.name, voice.gpt.name, voice.sovits.name)
            marker = marks.mark_wav(voice.sample, request_id, *content)
            _record(run, request_id, voice, marker.mark_id, evaluations.get(voice.name))
    return evaluations


def _record(
    run: StageRun, request_id: str, voice: VoiceToEvaluate, mark_id: int | None, evaluation: VoiceEvaluation | None
) -> None:
    """Record what a checkpoint spoke."""
    sentence = evaluation.sentences[0] if evaluation is not None and evaluation.sentences else None
    record_speech(
        run.services,
        NewProvenance(
            request_id=request_id,
            mark_id=mark_id,
            voice_id="",
            gpt_checkpoint_id=voice.gpt.stem,
            sovits_checkpoint_id=voice.sovits.stem,
            time=time.time(),
            seconds=sentence["seconds"] if sentence is not None else 0.0,
            text=sentence["text"] if sentence is not None else "",
            owner=run.experiment.owner,
            key_id="",
        ),
    )


def evaluate_checkpoints(
    run: StageRun, kind: str, rows: Sequence[CheckpointRow], folder: Path, progress: Progress
) -> EvaluationReport:
    """Evaluate every checkpoint of a training on the same few sentences; measures and samples go into the rows.

    A training is not lost when its checkpoints cannot be evaluated: the report then has the reason as `error`.
    """
    sentences = run.services.settings.evaluation_sentences
    if not sentences:
        return {"error": "EVALUATION_SENTENCES is 0."}
    other = OTHER_KIND[kind]
    try:
        other_weights, other_name = partner_of(run, kind)
        prompt = own_prompt(run)
        (folder / SAMPLES).mkdir(exist_ok=True)
        voices = []
        for row in rows:
            weights = {kind: run.services.storage.path(row["model_path"]), other: other_weights}
            sample = folder / SAMPLES / f"e{row['epoch']}.wav"
            voices.append(VoiceToEvaluate(f"epoch {row['epoch']}", weights["gpt"], weights["sovits"], sample))
        count = max(1, min(sentences, MAX_SENTENCES // len(rows)))
        evaluations = evaluate_voices(run, folder, {"prompt": prompt, "count": count}, voices, progress)
    except (Draining, Paused):
        raise
    except SovitsError as error:
        run.context.check()
        logger.warning("The checkpoints were not judged: %s", error.sentences)
        return {"error": error.sentences}
    for row, voice in zip(rows, voices, strict=True):
        row.update(cast(CheckpointRow, evaluations[voice.name].mean))
        spoke = voice.sample is not None and voice.sample.exists()
        key = storage_keys.experiment_file(run.experiment.id, run.own_folder_name, SAMPLES, f"e{row['epoch']}.wav")
        row["sample"] = key if spoke else None
    language = next(iter(evaluations.values())).language
    report: EvaluationReport = {"sentences": count, "language": language}
    if other == "gpt":
        report["gpt_model"] = other_name
    else:
        report["sovits_model"] = other_name
    report["error"] = ""
    return report


def partner_of(run: StageRun, kind: str) -> tuple[Path, str]:
    """Return the weights of the other kind that checkpoints speak with, and their name.

    They are the experiment's own when those are trained already, else the base that their training begins from.
    """
    other = OTHER_KIND[kind]
    if trained := run.training_outputs(other):
        return run.services.storage.path(trained["model_path"]), trained["checkpoint_id"]
    parameters = dict(run.experiment.parameters.get(f"{other}_train", {}))
    if other == "sovits":  # the tokens mean what they mean in the file that they were made with
        parameters["pretrained_s2G"] = run.outputs["semantic_token"]["pretrained_s2G"]
    path = base_model(run, other, parameters)
    return path, f"base {path.name}"


def own_prompt(run: StageRun) -> PromptArguments:
    """Return the experiment's prompt, with its tokens where they are known."""
    prompt = run.outputs["asr"]["prompt"]
    return {
        "audio": str(run.services.storage.path(prompt["audio"])),
        "text": prompt["text"],
        "language": prompt["language"],
        "tokens": run.outputs["semantic_token"].get("prompt_tokens"),
    }
