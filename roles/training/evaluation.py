"""Voices evaluated by a child process of the model library, which takes one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NotRequired, cast

import orjson
from typing_extensions import TypedDict

from common.programs import EVALUATION
from common.progress_messages import progress_message
from core.errors import Draining, TrainingFailed
from core.marks.speech_marks import SpeechMarks
from core.process import thread_limits
from core.records import NewProvenance
from roles.preprocessing.model_files import base_model, models_folder
from roles.runtime.errors import error_from_report
from roles.speech.provenance import record_speech
from roles.stages.stage_run import StageRun
from roles.training.checkpoints import Measures
from roles.training.control import ControlRequests, Paused
from roles.training.program import (
    POLL_SECONDS,
    ErrorEvent,
    EvaluatedSentence,
    EvaluationEvent,
    SentenceEvent,
    start_program,
)

REQUEST: Final = "evaluation.json"
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
    preview: bool = False
    """Whether it only speaks that sentence."""


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


class EvaluationProgram:
    """The evaluation program in the folder of a run: it takes one voice after another, and loads its models once."""

    def __init__(self, run: StageRun, folder: Path, spoken: SpokenSentences, *, threads: int) -> None:
        """Start it. `folder` is the run's own."""
        self._run = run
        self._folder = folder
        request = {
            "models": str(models_folder(run.services)),
            "device": run.services.device,
            "threads": threads,
            **spoken,
        }
        (folder / REQUEST).write_bytes(orjson.dumps(request))
        environment = thread_limits(threads)
        self._child = start_program(EVALUATION, folder / REQUEST, run.context, environment, keep_input_open=True)
        self._failure: ErrorEvent | None = None

    def close(self) -> None:
        """End it at once."""
        self._child.close()

    def submit(self, voice: VoiceToEvaluate) -> None:
        """Have a voice speak after those before it."""
        self._child.send(
            {
                "name": voice.name,
                "gpt": str(voice.gpt),
                "sovits": str(voice.sovits),
                "sample": str(voice.sample.relative_to(self._folder)) if voice.sample else None,
                "preview": voice.preview,
            }
        )

    def end_input(self) -> None:
        """Let it end after the voices that it has."""
        self._child.end_input()

    def events(self, poll_seconds: float) -> Iterator[EvaluationEvent | None]:
        """Yield what it reports until it ends; None each time nothing came for `poll_seconds`.

        Raises what it reported when it failed, and TrainingFailed when it was killed.
        """
        for received in self._child.events(poll_seconds):
            event = cast(EvaluationEvent | None, received)
            if event is not None and event["event"] == "error":
                self._failure = event
            else:
                yield event
        self._child.wait()
        self._run.context.check()
        if self._failure is not None:
            raise error_from_report(self._failure)
        if self._child.returncode != 0:
            raise TrainingFailed(
                f"The evaluation {self._child.describe_exit()}.", details={"log": self._child.log_tail}
            )


def evaluate_voice(
    run: StageRun, folder: Path, spoken: SpokenSentences, voice: VoiceToEvaluate, progress: Progress
) -> VoiceEvaluation:
    """Have a voice speak, and return its evaluation. `folder` is the run's own.

    Raises what the program reported, and Draining or Paused to stop: what it did is cheap to do again.
    """
    requests = ControlRequests(run)
    evaluation: VoiceEvaluation | None = None
    with closing(EvaluationProgram(run, folder, spoken, threads=run.services.threads)) as program:
        program.submit(voice)
        program.end_input()
        for event in program.events(POLL_SECONDS):
            if event is not None and event["event"] == "sentence":
                progress(event["number"] / event["of"], sentence_message(event))
            elif event is not None and event["event"] == "voice":
                evaluation = VoiceEvaluation(event["language"], cast(Measures, event["mean"]), event["sentences"])
            check_requests(run, requests)
    assert evaluation is not None
    record_sample(run, voice, evaluation.sentences[0]["text"], evaluation.sentences[0]["seconds"])
    return evaluation


def check_requests(run: StageRun, requests: ControlRequests) -> None:
    """Raise Draining, Paused, or what the job is stopped for, when voices should no longer be evaluated."""
    run.context.check()
    if run.context.draining.is_set():
        raise Draining("The checkpoints are judged later.")
    if requests.poll() == "pause":
        raise Paused("The checkpoints are judged when the stage is resumed.")


def sentence_message(event: SentenceEvent) -> str:
    """Return what a stage says when a sentence was evaluated."""
    return progress_message("sentence_judged", number=event["number"], count=event["of"], voice=event["voice"])


def record_sample(run: StageRun, voice: VoiceToEvaluate, text: str, seconds: float) -> bool:
    """Mark the audio of a voice's first sentence, and record it; return False when it spoke nothing.

    It was evaluated before, as the model spoke it.
    """
    if voice.sample is None or not voice.sample.exists():
        return False
    request_id = f"{run.experiment.id}.{run.stage}.{run.run}"
    content = (run.own_folder_name, voice.name, voice.gpt.name, voice.sovits.name)
    marker = SpeechMarks(run.services.settings).mark_wav(voice.sample, request_id, *content)
    record_speech(
        run.services,
        NewProvenance(
            request_id=request_id,
            mark_id=marker.mark_id,
            voice_id="",
            gpt_checkpoint_id=voice.gpt.stem,
            sovits_checkpoint_id=voice.sovits.stem,
            time=time.time(),
            seconds=seconds,
            text=text,
            owner=run.experiment.owner,
            key_id="",
        ),
    )
    return True


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
