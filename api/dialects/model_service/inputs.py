"""What clients of the model service bring: ids of uploads, or URLs that are read for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from anyio import to_thread
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.dependencies import Services
from api.http.errors import BadBody
from api.http.multipart import Upload, safe_label
from api.routes.files import DEFAULT_PURPOSE, take_in
from core.jobs.devices import check_constraint, parse_device, worker_devices
from core.jobs.job import DEFAULT_PRIORITY
from core.net.fetch import Fetcher
from core.records import FileRecord
from core.speech.result_uploads import new_upload_job

MAX_INPUTS: Final = 100
FETCH_SECONDS: Final = 300.0
"""For one URL, from the first lookup to the last byte."""


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


Input = Annotated[str, Field(min_length=1, max_length=2000)]
Inputs = Annotated[
    list[Input],
    BeforeValidator(_listed),
    Field(max_length=MAX_INPUTS, description="Ids from POST /api/v1/files, or URLs: recordings, ZIPs of them."),
]
Device = Annotated[str, Field(max_length=20, description="cuda (the least loaded GPU), cuda:N or cpu; empty: any.")]


class Request(BaseModel):
    """What every request may say."""

    model_config = ConfigDict(extra="forbid")

    device: Device = ""
    enable_upload: bool = Field(False, description="Whether the results are sent to upload_url, as one ZIP.")
    upload_url: str = Field("", max_length=4000, description="Takes a PUT (or a POST) of the ZIP.")

    def checked_upload_url(self, api: Services) -> str:
        """Where the results go; nothing, unless both fields say so. ForbiddenAddress for what is never reached."""
        if not self.enable_upload:
            return ""
        if not self.upload_url:
            raise BadBody(
                "enable_upload is true, and upload_url is missing.",
                hint="Name the address that takes the ZIP.",
                details={"fields": ["upload_url"]},
            )
        return api.fetcher.check(self.upload_url)


async def gather(api: Services, inputs: list[str]) -> list[FileRecord]:
    """The uploads behind the inputs, in order; what URLs name is read, looked into and kept as an upload."""
    return [await _fetch(api, one) if "://" in one else await api.records.files.get(one) for one in inputs]


async def check_device(api: Services, device: str, role: str) -> str:
    """The device as people name it, checked against what the hosts have."""
    wish = parse_device(device)
    if wish:
        check_constraint(wish, worker_devices(await api.queue.workers(), role))
    return wish


async def send_when_done(api: Services, job_id: str, url: str, priority: int = DEFAULT_PRIORITY) -> None:
    """Have the results of a job sent; nothing to do without an address."""
    if url:
        await api.queue.enqueue_many([new_upload_job(job_id, url, depends_on=(job_id,), priority=priority)])


async def _fetch(api: Services, url: str) -> FileRecord:
    settings = api.settings
    fetcher = Fetcher(
        max_bytes=settings.max_upload_mb << 20,
        timeout_seconds=FETCH_SECONDS,
        allowed_hosts=settings.fetch_allowed_hosts,
    )
    path = api.storage.new_temporary()
    try:
        fetched = await fetcher.fetch(url, path)
        digest = await to_thread.run_sync(_sha256, path)
        name = safe_label(unquote(urlsplit(url).path)) or "recording"
        record, _ = await take_in(api, Upload(path, name, fetched.size_bytes, digest, {}), DEFAULT_PURPOSE)
        return record
    finally:
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
