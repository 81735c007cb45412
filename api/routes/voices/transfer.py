"""Export and import of voices: one ZIP, or checkpoints of upstream with a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.dependencies import Api
from api.http.access import TRAINING
from api.http.errors import InvalidBody
from api.http.multipart import UploadedForm, announced_bytes, received_form
from api.http.openapi import multipart_form
from api.http.responses import ClosingStreamingResponse, JsonResponse, attachment
from api.routes.jobs import JobView, job_view
from common.versions import UPSTREAM_VERSIONS
from core.errors import EmptyText, InvalidParameter
from core.speech.checks import canonical_language
from core.voices.archive import read_manifest
from core.voices.checks import MAX_PROMPT_TEXT_LENGTH, check_name
from core.voices.export import prepare_export
from core.voices.import_job import ARCHIVE_FILE, VOICE_FILES, VoiceImportRequest

router = APIRouter(
    prefix="/voices",
    tags=["Voices"],
    dependencies=[TRAINING],
)

_ARCHIVE_FIELDS: Final = ("name", "consent_id")
_WEIGHTS_FIELDS: Final = ("name", "text", "transcript", "language", "version", "consent_id")
_BINARY: Final = {"type": "string", "format": "binary"}
_IMPORT_FORM: Final[dict[str, Any]] = multipart_form(
    {
        "archive": {
            **_BINARY,
            "description": "A ZIP from GET /voices/{voice}/export; otherwise gpt, sovits and prompt.",
        },
        "gpt": {**_BINARY, "description": "The .ckpt file of a GPT."},
        "sovits": {**_BINARY, "description": "The .pth file of a SoVITS model."},
        "prompt": {**_BINARY, "description": "A recording of the voice."},
        "name": {"type": "string", "description": "Name of the voice; of an archive, it replaces the one inside."},
        "text": {"type": "string", "description": "Transcript of the recording."},
        "language": {"type": "string", "default": "auto"},
        "version": {"type": "string", "enum": list(UPSTREAM_VERSIONS)},
        "consent_id": {"type": "string", "description": "From POST /consents: the speaker's consent."},
    }
)


@router.post("/import", status_code=202, response_model=JobView, openapi_extra=_IMPORT_FORM)
async def import_voice(request: Request, api: Api) -> Response:
    """Import a voice: an exported `archive`, or `gpt`, `sovits` and `prompt` of upstream with `name` and `text`.

    Each file may have up to MAX_UPLOAD_MB. A job reads the files; its result (GET /jobs/{job_id}) names the voice. 409
    when the name is taken.
    """
    max_bytes = api.settings.max_upload_mb << 20
    await api.records.files.check_room(announced_bytes(request))
    async with received_form(request, api.storage, max_bytes, (ARCHIVE_FILE, *VOICE_FILES)) as form:
        import_request = await _archive_import(form) if ARCHIVE_FILE in form.files else _weights_import(form)
        if import_request.consent_id:
            consent = await api.records.consents.get(import_request.consent_id)
            api.records.consents.check(consent, f"The consent {consent.id}")
        files = {part: upload.path for part, upload in form.files.items()}
        job = await api.voices.enqueue_import(import_request, files)
    return JsonResponse(job_view(job), 202)


@router.get("/{voice}/export", response_class=ClosingStreamingResponse)
async def export_voice(voice: str, api: Api) -> Response:
    """Download a voice as one ZIP: both checkpoints byte for byte, its prompts, and `voice.json` with its consent.

    403 when the consent of its speaker was withdrawn or has expired.
    """
    record = await api.records.voices.get_to_speak(voice)
    gpt = await api.records.checkpoints.get(record.gpt_checkpoint_id)
    sovits = await api.records.checkpoints.get(record.sovits_checkpoint_id)
    consents = await api.records.consents.of_ids([record.consent_id] if record.consent_id else [])
    consent = consents.get(record.consent_id or "")
    export = await asyncio.to_thread(prepare_export, record, gpt, sovits, api.storage, consent)
    headers = {
        "Content-Disposition": attachment(f"{record.name}.zip"),
        "X-Content-Type-Options": "nosniff",
    }
    return ClosingStreamingResponse(_in_thread(export.chunks()), headers=headers, media_type="application/zip")


async def _archive_import(form: UploadedForm) -> VoiceImportRequest:
    """Return the request to import an archive, which is examined without unpacking it."""
    _check_fields(form, _ARCHIVE_FIELDS)
    if surplus := form.files.keys() - {ARCHIVE_FILE}:
        raise InvalidBody(f"Beside an `archive` there is `{min(surplus)}`.", hint="Send the archive alone.")
    contents = await asyncio.to_thread(read_manifest, form.files[ARCHIVE_FILE].path)
    name = form.fields.get("name", "").strip() or contents.name
    consent_id = form.fields.get("consent_id", "")[:64]
    return VoiceImportRequest(files=(ARCHIVE_FILE,), name=check_name(name), consent_id=consent_id)


def _weights_import(form: UploadedForm) -> VoiceImportRequest:
    """Return the request to import checkpoints of upstream and a prompt."""
    _check_fields(form, _WEIGHTS_FIELDS)
    if missing := [part for part in VOICE_FILES if part not in form.files]:
        raise InvalidBody(
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
    if version is not None and version not in UPSTREAM_VERSIONS:
        raise InvalidParameter(f"No version is named {version[:40]!r}.", hint=f"{', '.join(UPSTREAM_VERSIONS)}.")
    return VoiceImportRequest(
        files=VOICE_FILES,
        name=check_name(form.fields.get("name", "")),
        text=text,
        language=canonical_language(form.fields.get("language", "auto")[:40]),
        version=version,
        consent_id=form.fields.get("consent_id", "")[:64],
    )


def _check_fields(form: UploadedForm, names: tuple[str, ...]) -> None:
    if unknown := [name for name in form.fields if name not in names]:
        raise InvalidBody(
            f"There is no field {unknown[0][:60]!r}.",
            hint=f"Fields: {', '.join(names)}.",
            details={"fields": unknown[:16]},
        )


async def _in_thread(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of an iterator that blocks."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
