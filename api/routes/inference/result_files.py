"""Files that inferences have made, as responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import FileResponse

from api.dependencies import ApiServices
from api.http.responses import stored_file_response
from api.services.encoding import LABEL_HEADER, SAMPLE_RATE_HEADER
from common.audio_formats import FILE_EXTENSIONS
from core.errors import NotFound


async def result_file(
    api: ApiServices, job_id: str, key: str, media_type: str, filename: str, sha256: str
) -> FileResponse:
    """Return the file of a job; raise NotFound when it was deleted."""
    return await stored_file_response(
        api.storage,
        key,
        media_type,
        filename=filename,
        sha256=sha256,
        missing=NotFound(f"The file of {job_id} is gone.", hint="Files are kept for RESULT_EXPIRY_SECONDS."),
    )


async def speech_file(api: ApiServices, job_id: str, result: Mapping[str, Any]) -> FileResponse:
    """Return the audio of a job with the label of synthetic speech; raise NotFound when it was deleted."""
    filename = f"{job_id}.{FILE_EXTENSIONS[result['format']]}"
    response = await result_file(api, job_id, result["audio"], result["media_type"], filename, result["sha256"])
    if label := result.get("aigc"):
        response.headers[LABEL_HEADER] = label
    if result["format"] == "pcm":
        response.headers[SAMPLE_RATE_HEADER] = str(result["sample_rate"])
    return response
