"""Voices on their way: one ZIP out, and in again; files of the original in, through a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.dependencies import Api
from api.http.errors import BadBody
from api.http.multipart import UploadedForm, received_form
from api.http.responses import Json, Streaming
from api.routes.jobs import JobView, job_view
from common.storage_keys import import_file, import_folder
from common.versions import VERSIONS
from core.errors import Conflict, EmptyText, InvalidParameter
from core.ids import new_id
from core.jobs.job import NewJob
from core.jobs.roles import FILES
from core.speech.checks import canonical_language
from core.voices.archive import read_manifest
from core.voices.checks import MAX_PROMPT_TEXT_LENGTH, check_name
from core.voices.export import prepare_export
from core.voices.import_job import ARCHIVE_FILE, IMPORT_PREFIX, VOICE_FILES, VoiceImportRequest

router = APIRouter(prefix="/voices", tags=["Voices"])

FIELDS: Final = {ARCHIVE_FILE: ("name",), "weights": ("name", "text", "transcript", "language", "version")}
IMPORTED_VERSIONS: Final = tuple(version for version in VERSIONS if version != "nano")
_FILE: Final = {"type": "string", "format": "binary"}
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "archive": {**_FILE, "description": "A ZIP of GET /voices/{voice}/export; or the other three:"},
                        "gpt": {**_FILE, "description": "The .ckpt of a GPT."},
                        "sovits": {**_FILE, "description": "The .pth of a SoVITS model."},
                        "prompt": {**_FILE, "description": "A recording of the voice."},
                        "name": {"type": "string", "description": "Of an archive, in place of its own."},
                        "text": {"type": "string", "description": "What the recording says."},
                        "language": {"type": "string", "default": "auto"},
                        "version": {"type": "string", "enum": list(IMPORTED_VERSIONS)},
                    },
                }
            }
        },
    }
}


@router.post("/import", status_code=202, response_model=JobView, openapi_extra=_FORM)
async def import_voice(request: Request, api: Api) -> Response:
    """Bring a voice: an exported `archive`, or `gpt`, `sovits` and `prompt` of the original with `name` and `text`.

    The files are opened by a job; its result names the voice: GET /jobs/{id}.
    """
    cap = api.settings.max_upload_mb << 20
    async with received_form(request, api.storage, cap, (ARCHIVE_FILE, *VOICE_FILES)) as form:
        asked = await _archive(form) if ARCHIVE_FILE in form.files else _weights(form)
        if asked.name and await api.records.voices.has_name(asked.name):
            raise Conflict(f"There is a voice named {asked.name!r} already.", hint="Send another `name`.")
        job_id = new_id(IMPORT_PREFIX)
        try:
            for part, upload in form.files.items():
                await asyncio.to_thread(api.storage.publish, upload.path, import_file(job_id, part))
            job = await api.queue.enqueue(NewJob(FILES, asked.stored(), job_id=job_id))
        except BaseException:
            await asyncio.to_thread(api.storage.delete_folder, import_folder(job_id))
            raise
    return Json(job_view(job), 202)


@router.get("/{voice}/export", response_class=Streaming)
async def export_voice(voice: str, api: Api) -> Response:
    """The voice as one ZIP: both checkpoints byte for byte, its prompts, and `voice.json`."""
    record = await api.records.voices.get(voice)
    gpt = await api.records.checkpoints.get(record.gpt_checkpoint_id)
    sovits = await api.records.checkpoints.get(record.sovits_checkpoint_id)
    export = await asyncio.to_thread(prepare_export, record, gpt, sovits, api.storage)
    headers = {
        "Content-Disposition": f'attachment; filename="{record.id}.zip"',
        "X-Content-Type-Options": "nosniff",
    }
    return Streaming(_sent(export.chunks()), headers=headers, media_type="application/zip")


async def _archive(form: UploadedForm) -> VoiceImportRequest:
    """What an archive asks for, looked at without unpacking it."""
    _check_fields(form, ARCHIVE_FILE)
    if more := form.files.keys() - {ARCHIVE_FILE}:
        raise BadBody(f"Beside an `archive` there is `{min(more)}`.", hint="Send the archive alone.")
    inside = await asyncio.to_thread(read_manifest, form.files[ARCHIVE_FILE].path)
    name = form.fields.get("name", "").strip() or inside.name
    return VoiceImportRequest(files=(ARCHIVE_FILE,), name=check_name(name))


def _weights(form: UploadedForm) -> VoiceImportRequest:
    """What files of the original ask for."""
    _check_fields(form, "weights")
    if missing := [part for part in VOICE_FILES if part not in form.files]:
        raise BadBody(
            f"The form has no file named `{missing[0]}`.",
            hint="Send `gpt`, `sovits` and `prompt`, or one `archive`.",
            details={"fields": missing},
        )
    text = (form.fields.get("text") or form.fields.get("transcript") or "").strip()
    if not text:
        raise EmptyText("The text of the prompt is missing.", hint="Send what the recording says as `text`.")
    if len(text) > MAX_PROMPT_TEXT_LENGTH:
        raise InvalidParameter(f"The text has {len(text)} characters; {MAX_PROMPT_TEXT_LENGTH} is the most.")
    version = form.fields.get("version") or None
    if version is not None and version not in IMPORTED_VERSIONS:
        raise InvalidParameter(f"No version is named {version[:40]!r}.", hint=f"{', '.join(IMPORTED_VERSIONS)}.")
    return VoiceImportRequest(
        files=VOICE_FILES,
        name=check_name(form.fields.get("name", "")),
        text=text,
        language=canonical_language(form.fields.get("language", "auto")[:40]),
        version=version,
    )


def _check_fields(form: UploadedForm, kind: str) -> None:
    if odd := [name for name in form.fields if name not in FIELDS[kind]]:
        raise BadBody(
            f"There is no field {odd[0][:60]!r}.",
            hint=f"Fields: {', '.join(FIELDS[kind])}.",
            details={"fields": odd[:16]},
        )


async def _sent(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
