"""Requests of the model service: their common fields, what their paths name, and the devices that they choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.dependencies import ApiServices
from api.http.errors import InvalidBody
from core.errors import NotFound
from core.ids import is_generated
from core.jobs.devices import ANY, check_constraint, parse_device, worker_devices
from core.names import Name
from core.records import FileRecord
from core.speech.inference_jobs import INFERENCE_PREFIX

GPU: Final = "cuda"
CPU: Final = "cpu"
DATASET_PREFIX: Final = "ds-"
OUR_PREFIXES: Final = ("task", INFERENCE_PREFIX, "ds")
"""What our ids of trainings, inferences and preparations begin with."""

InputPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="Id or name of an upload, id of a data set, or URL, of a recording or of a ZIP of recordings.",
    ),
]
Label = Annotated[Name, Field(max_length=500)]


def _reject_generated_ids(task_id: str) -> str:
    if is_generated(task_id, *OUR_PREFIXES):
        raise PydanticCustomError("generated_id", "it has the form of the server's own ids")
    return task_id


TaskId = Annotated[
    Name,
    Field(min_length=1, max_length=100, description="Id of the task. Default: one is made."),
    AfterValidator(_reject_generated_ids),
]
Priority = Annotated[int, Field(ge=1, le=10, description="10 runs first.")]
Description = Annotated[str, Field(max_length=2000, description="Shown again.")]
Device = Annotated[str, Field(max_length=20, description="cuda (the least loaded GPU), cuda:N or cpu.")]


class ModelServiceRequest(BaseModel):
    """A request body. What is null counts as left out; unknown fields are ignored and named in `warnings`."""

    model_config = ConfigDict(extra="allow", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}

    def unknown_fields(self) -> list[str]:
        """Return a sentence for each unknown field."""
        return [f"The field {name!r} is not known here and changes nothing." for name in self.model_extra or ()]


class TaskRequestFields(ModelServiceRequest):
    """Fields of every request that starts a task."""

    task_id: TaskId | None = None
    priority: Priority | None = None
    description: Description | None = None


class ResultUploadFields(ModelServiceRequest):
    """Where results are sent."""

    enable_upload: bool = Field(False, description="Send the results to upload_url, as one ZIP.")
    upload_url: str = Field("", max_length=4000, description="Receives a PUT (or a POST) of the ZIP.")
    token: str = Field("", max_length=4000, description="Sent to upload_url as Authorization: Bearer.")

    def checked_upload(self, api: ApiServices) -> ResultDestination:
        """Return the destination of the results; ForbiddenAddress for an internal one."""
        if not self.enable_upload:
            return ResultDestination()
        if not self.upload_url:
            raise InvalidBody(
                "enable_upload is true, and upload_url is missing.",
                hint="Name the address that takes the results.",
                details={"fields": ["upload_url"]},
            )
        token = api.settings.secret_box.encrypt(self.token) if self.token else ""
        return ResultDestination(api.fetcher.check(self.upload_url), token)


@dataclass(frozen=True, slots=True)
class ResultDestination:
    """Where results are sent; nowhere when `url` is empty."""

    url: str = ""
    token: str = ""
    """Encrypted."""


@dataclass(frozen=True, slots=True)
class InputSource:
    """What a path of a request names: one of these."""

    files: list[FileRecord] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    dataset_id: str = ""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device as it was asked for, and what comes of it."""

    constraint: str
    """For the jobs."""
    shown: str
    """`cpu`, `cuda` or `cuda:N`."""
    note: str = ""
    """A sentence when it differs from what was asked for."""


async def find_input(api: ApiServices, name: str, path: str) -> InputSource:
    """Return what a path names; nothing is downloaded. `name` is the field, for errors.

    Raises:
        ForbiddenAddress: a URL of an internal address.
        NotFound: nothing that the caller may see.
    """
    if "://" in path:
        return InputSource(urls=[api.fetcher.check(path)])
    if path.startswith(DATASET_PREFIX):
        return InputSource(dataset_id=(await api.records.datasets.get(path)).id)
    try:
        return InputSource(files=[await api.records.files.get(path)])
    except NotFound:
        file = await api.records.files.newest_named(path)
    if file is None:
        raise NotFound(
            f"{name} is {path[:200]!r}, which is nothing that the server knows.",
            hint="Send the id or the name of an upload (POST /api/v1/files), the id of a data set, or a URL.",
        )
    return InputSource(files=[file])


async def choose_device(api: ApiServices, device: str, role: str) -> DeviceChoice:
    """Return where the jobs of a role run. `cuda` without any GPU runs on the CPU.

    Raises:
        InvalidParameter: it is no device.
        InvalidRequest: no host has it.
    """
    constraint = parse_device(device)
    devices = worker_devices(await api.queue.workers(), role)
    if not devices:  # its workers are starting: the hosts know their GPUs already
        devices = {CPU} | {gpu.device for host in await api.limits.hosts() for gpu in host.gpus}
    has_gpu = any(known_device.startswith(GPU) for known_device in devices)
    if constraint == GPU and not has_gpu:
        return DeviceChoice(ANY, CPU, "There is no GPU: it runs on the CPU.")
    check_constraint(constraint, devices)
    return DeviceChoice(constraint, constraint or (GPU if has_gpu else CPU))
