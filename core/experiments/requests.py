"""What users request: tasks, experiments and changes of them, with the checks that all APIs share."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from common.control_characters import CONTROL_CHARACTERS
from core.errors import InvalidParameter, InvalidRequest
from core.jobs.devices import DEFAULT_GPU_NUMBERS, split_gpu_numbers
from core.records import TaskLabels
from core.stages.order import stage_order
from core.stages.parameter_schema import parse_parameters
from core.stages.parameters import StageOverrides
from core.stages.stage import find_stage

GPU_NUMBERS: Final = re.compile(r"\d{1,2}([-,]\d{1,2}){0,15}")


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A voice to make, of an uploaded recording or of a version of a data set."""

    exp_name: str
    audio_file_id: str | None = None
    _: KW_ONLY
    dataset_id: str | None = None
    dataset_version: int | None = None
    """None: the newest."""
    accept_preparing: bool = False
    """Whether the data set may still be in preparation; the first stage waits for it then."""
    version: str = ""
    """`auto`: the best that is installed; empty: DEFAULT_VERSION."""
    language: str = "zh"
    """Empty: that of the data set."""
    quality: str = "standard"
    parameters: StageOverrides = field(default_factory=dict)
    """Stage → parameters that replace those of the quality."""
    priority: int = 5
    """1 (last) to 10 (first)."""
    device: str = ""
    """Where it trains: `cuda`, `cuda:N`, `cpu`; empty: anywhere."""
    schedule_at: float | None = None
    """Seconds since the epoch; not before."""
    idempotency_key: str = ""
    """The same key returns the same task."""
    webhook_url: str = ""
    consent_id: str = ""
    """Of the consent of the speaker; empty: one for all voices of the caller, if there is one."""
    upload_url: str = ""
    """Where a ZIP of the voice is uploaded when it is ready; empty: nowhere."""
    labels: TaskLabels = field(default_factory=TaskLabels)
    """What a client of the model service wants to see again."""


@dataclass(frozen=True, slots=True)
class ExperimentRequest:
    """An experiment whose stages the user runs, on a recording or a version of a data set."""

    exp_name: str
    audio_file_id: str | None = None
    _: KW_ONLY
    dataset_id: str | None = None
    dataset_version: int | None = None
    """None: the newest."""
    version: str = ""
    """`auto`: the best that is installed; empty: DEFAULT_VERSION."""
    language: str = "zh"
    """Empty: that of the data set."""
    parameters: StageOverrides = field(default_factory=dict)
    """Stage → parameters that replace the defaults."""
    gpu_numbers: str = DEFAULT_GPU_NUMBERS
    """One GPU's number, or several joined by dashes or commas."""
    is_half: bool = True
    priority: int = 5
    device: str = ""
    """Where it trains: `cuda`, `cuda:N`, `cpu`; empty: anywhere."""

    def check(self) -> None:
        """Raise InvalidRequest when name, priority or GPU numbers are out of range."""
        check_name(self.exp_name)
        check_priority(self.priority)
        check_gpu_numbers(self.gpu_numbers)


def merge_parameters(
    defaults: StageOverrides, parameters: StageOverrides, version: str
) -> dict[str, dict[str, object]]:
    """Return stage → parameters that differ from the stage's defaults: `parameters` over `defaults`.

    All are checked now and not when their stage begins.

    Raises:
        NotFound: an unknown stage.
        InvalidParameter: a stage that the version does not have, or a value out of range.
    """
    merged: dict[str, dict[str, object]] = {stage: dict(values) for stage, values in defaults.items()}
    for name, values in parameters.items():
        stage = find_stage(name).name
        if stage not in stage_order(version, with_test=True):
            raise InvalidParameter(
                f"{version} has no {stage}",
                hint=f"Its stages: {', '.join(stage_order(version))}.",
                details={"parameters": [name]},
            )
        merged[stage] = {**merged.get(stage, {}), **values}
    for stage, values in merged.items():
        parse_parameters(stage, values)
    return merged


def check_gpu_numbers(gpu_numbers: str) -> None:
    """Raise InvalidParameter unless it is one GPU's number, or several joined by dashes or commas."""
    numbers = split_gpu_numbers(gpu_numbers) if GPU_NUMBERS.fullmatch(gpu_numbers) else []
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidParameter(
            f"gpu_numbers is {gpu_numbers!r}",
            hint="One GPU's number or several joined by dashes or commas work, each once: 0, 0-1-2 or 0,1,2.",
            details={"parameters": ["gpu_numbers"]},
        )


def check_name(exp_name: str) -> None:
    """Raise InvalidRequest unless the name has 1 to 100 characters and no control characters."""
    if not 1 <= len(exp_name.strip()) <= 100:
        raise InvalidRequest("exp_name needs 1 to 100 characters")
    if CONTROL_CHARACTERS.search(exp_name):
        raise InvalidRequest("exp_name has control characters", hint="Send a name on one line.")


def check_priority(priority: int) -> None:
    """Raise InvalidRequest unless the priority is 1 to 10."""
    if not 1 <= priority <= 10:
        raise InvalidRequest(f"priority is {priority}; it goes from 1 (last) to 10 (first)")
