"""Programs of the model library that a trainer runs: how they are started, and the events that they report."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

from common.programs import program_command
from core.child_process import ChildProcess
from core.errors import SovitsError
from roles.runtime.errors import ReportedError
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""What a line of a program's log begins with."""
POLL_SECONDS: Final = 0.5
"""Control requests reach a program within this time."""


class ErrorEvent(ReportedError):
    """The program failed and ends."""

    event: Literal["error"]
    killed_by: NotRequired[str]
    """Name of the signal that ended one of several processes of a training."""


class StepEvent(TypedDict):
    """A training step was taken."""

    event: Literal["progress"]
    epoch: int
    total_epochs: int
    step: int
    fraction: float
    """Of the training, 0–1."""
    loss: float
    metrics: dict[str, float]
    """The losses of the step by name, and the learning rate."""


class EpochEvent(TypedDict):
    """An epoch ended and its state is saved."""

    event: Literal["epoch"]
    epoch: int
    total_epochs: int
    loss: float
    """Mean of the epoch."""
    losses: dict[str, float]
    """The means by name."""


class CheckpointEvent(TypedDict):
    """Weights were written."""

    event: Literal["checkpoint"]
    epoch: int
    path: str


class ChangedSetting(TypedDict):
    """A setting that differs from the saved state's."""

    name: str
    before: object
    now: object


class RestartEvent(TypedDict):
    """The saved state cannot be continued, so that the training begins again."""

    event: Literal["begins_anew"]
    changed: list[ChangedSetting]


class SavedEpoch(TypedDict):
    """A checkpoint of a training that is done."""

    epoch: int
    path: str
    loss: float


class TrainingDoneEvent(TypedDict):
    """The training is done."""

    event: Literal["done"]
    checkpoints: list[SavedEpoch]
    metrics: dict[str, Any]


TrainingEvent: TypeAlias = StepEvent | EpochEvent | CheckpointEvent | RestartEvent | TrainingDoneEvent | ErrorEvent


class SentenceEvent(TypedDict):
    """A sentence of a voice was evaluated."""

    event: Literal["sentence"]
    voice: str
    number: int
    of: int


class EvaluatedSentence(TypedDict):
    """A sentence that a voice spoke, and its scores; None where a score cannot be computed."""

    text: str
    heard: str
    """What speech recognition understood."""
    seconds: float
    wer: float
    cer: float
    similarity: float | None
    dnsmos: float | None
    rtf: float | None
    f0_low: float | None
    f0_high: float | None
    repeated: list[str]
    skipped: list[str]


class VoiceEvent(TypedDict):
    """All sentences of a voice were evaluated."""

    event: Literal["voice"]
    name: str
    language: str
    mean: dict[str, float | None]
    sentences: list[EvaluatedSentence]


class PreviewEvent(TypedDict):
    """A voice that is not evaluated spoke the first sentence."""

    event: Literal["preview"]
    name: str
    text: str
    seconds: float


class NoPreviewEvent(TypedDict):
    """A voice that is not evaluated did not speak."""

    event: Literal["no_preview"]
    name: str
    message: str


class EvaluationDoneEvent(TypedDict):
    """The evaluation is done."""

    event: Literal["done"]


EvaluationEvent: TypeAlias = (
    SentenceEvent | VoiceEvent | PreviewEvent | NoPreviewEvent | EvaluationDoneEvent | ErrorEvent
)


def start_program(
    program: str,
    request: Path,
    context: JobContext,
    environment: Mapping[str, str] | None = None,
    *,
    keep_input_open: bool = False,
) -> ChildProcess:
    """Start one of the product's programs on a request for a job, which kills it when the job should stop.

    It works in the folder of the request: relative paths in it stay there, wherever a successor has moved the folder.
    Its standard error is logged here, and each line is a `log` event of the job.
    """

    def log(line: str) -> None:
        logger.info("%s", line)
        level, _, message = line.partition(" ")
        if level not in LEVELS:
            level, message = "INFO", line
        with suppress(SovitsError):  # the job is being stopped, which its own thread notices
            context.event("log", {"timestamp": time.time(), "level": level, "message": message, "program": True})

    env = {**os.environ, **(environment or {})}
    child = ChildProcess(
        program_command(program, request.name),
        env=env,
        cwd=request.parent,
        keep_input_open=keep_input_open,
        log=log,
    )
    context.on_stop(child.kill)
    return child
