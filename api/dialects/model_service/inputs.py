"""Inputs of the model service: ids of uploads, URLs that are downloaded, devices."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from api.dependencies import ApiServices
from api.http.errors import InvalidBody
from api.http.schemas import StrictModel
from core.jobs.devices import check_constraint, parse_device, worker_devices
from core.records import FileRecord

MAX_INPUTS: Final = 100


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Input = Annotated[str, Field(min_length=1, max_length=2000)]
Inputs = Annotated[
    list[Input],
    BeforeValidator(_as_list),
    Field(
        max_length=MAX_INPUTS, description="Ids from POST /api/v1/files, or URLs, of recordings and of ZIPs of them."
    ),
]
Device = Annotated[
    str, Field(max_length=20, description="cuda (the least loaded GPU), cuda:N or cpu. Default: any device.")
]


class ModelServiceRequest(StrictModel):
    """Fields of every request that starts a job."""

    device: Device = ""
    enable_upload: bool = Field(False, description="Upload the results to upload_url, as one ZIP.")
    upload_url: str = Field("", max_length=4000, description="Receives a PUT (or a POST) of the ZIP.")

    def checked_upload_url(self, api: ApiServices) -> str:
        """Return the URL for the results, empty unless the upload is enabled; ForbiddenAddress for an internal one."""
        if not self.enable_upload:
            return ""
        if not self.upload_url:
            raise InvalidBody(
                "enable_upload is true, and upload_url is missing.",
                hint="Name the address that takes the ZIP.",
                details={"fields": ["upload_url"]},
            )
        return api.fetcher.check(self.upload_url)


async def ingest_inputs(api: ApiServices, inputs: list[str]) -> list[FileRecord]:
    """Return the uploads behind the inputs, in order; what a URL names is downloaded, checked and stored."""
    return [
        await api.uploads.ingest_url(name) if "://" in name else await api.records.files.get(name) for name in inputs
    ]


async def check_device(api: ApiServices, device: str, role: str) -> str:
    """Return the device constraint; raise if no host has such a device for the role."""
    constraint = parse_device(device)
    if constraint:
        check_constraint(constraint, worker_devices(await api.queue.workers(), role))
    return constraint
