"""Detection: whether a recording carries the mark of speech from this installation."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.access import PUBLIC
from api.http.multipart import received_file
from api.http.openapi import multipart_form
from api.http.responses import JsonResponse
from core.marks.detect import THRESHOLD, Detection
from core.marks.speech_marks import format_mark

router = APIRouter(
    prefix="/detect",
    tags=["Detection"],
    dependencies=[PUBLIC],
)

MAX_BYTES: Final = 100 << 20
"""Anybody may ask."""
DETECT_FORM: Final[dict[str, Any]] = multipart_form({"file": {"type": "string", "format": "binary"}}, required=["file"])


class WatermarkView(TypedDict):
    """What was found of the watermark."""

    found: bool
    mark_id: str | None
    """Of the request; null without a mark, and where the recording is too short or too damaged to read it."""
    score: float
    """Standard deviations above unmarked speech."""
    threshold: float
    start_seconds: float | None


class DetectionView(TypedDict):
    """Whether a recording is synthetic speech of this installation, and by which marks that is known."""

    synthetic: bool
    layers: list[str]
    watermark: WatermarkView


@router.post("", response_model=DetectionView, openapi_extra=DETECT_FORM)
async def detect_marks(request: Request, api: Api) -> Response:
    """Find out whether a recording was spoken by this installation. Three seconds are enough; nothing is stored."""
    async with received_file(request, api.storage, min(api.settings.max_upload_mb << 20, MAX_BYTES)) as upload:
        return JsonResponse(detection_view(await api.detection.detect(upload.path)))


def detection_view(detection: Detection) -> DetectionView:
    """Format a detection."""
    payload = detection.payload if detection.found else None
    return {
        "synthetic": detection.found,
        "layers": ["watermark"] if detection.found else [],
        "watermark": {
            "found": detection.found,
            "mark_id": None if payload is None else format_mark(payload),
            "score": round(max(detection.score, 0.0), 2),
            "threshold": THRESHOLD,
            "start_seconds": round(detection.start_seconds, 2) if detection.found else None,
        },
    }
