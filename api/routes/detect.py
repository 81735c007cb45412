"""Detection: whether a recording is synthetic speech, and from this installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.access import PUBLIC
from api.http.multipart import received_file
from api.http.openapi import multipart_form
from api.http.responses import JsonResponse
from core.marks.detect import THRESHOLD
from core.marks.found_labels import CredentialState, FoundCredentials

if TYPE_CHECKING:
    from core.marks.detection_report import DetectionReport

router = APIRouter(
    prefix="/detect",
    tags=["Detection"],
    dependencies=[PUBLIC],
)

MAX_BYTES: Final = 100 << 20
"""Anybody may ask."""
DETECT_FORM: Final[dict[str, Any]] = multipart_form({"file": {"type": "string", "format": "binary"}}, required=["file"])


class RequestView(TypedDict):
    """A request that spoke with a mark."""

    request_id: str
    time: str


class WatermarkView(TypedDict):
    """What was found of the watermark."""

    found: bool
    mark_id: str | None
    """Of the request; null without a mark, and where the recording is too short or too damaged to read it."""
    score: float
    """Standard deviations above unmarked speech."""
    threshold: float
    start_seconds: float | None
    requests: list[RequestView]
    """The newest requests whose records have this mark: the same text with the same seed gives the same mark."""


class LabelView(TypedDict):
    """The field `AIGC` of the file, by the names of GB 45438-2025."""

    own: bool
    """Whether this installation signed it."""
    fields: dict[str, str]


class CredentialsView(TypedDict):
    """The Content Credentials (C2PA) of the file."""

    state: CredentialState
    """`own`: signed by this installation; `valid`: by another; `invalid`: the file was changed since."""
    synthetic: bool
    signer: str
    time: str | None
    problems: list[str]
    """Checks that failed, by C2PA's names; that a signer is not trusted is one of them."""


class DetectionView(TypedDict):
    """Whether a recording is synthetic speech, and by which marks that is known."""

    synthetic: bool
    own: bool
    """Whether this installation spoke it."""
    layers: list[str]
    """`watermark`, `aigc` and `c2pa`, as far as they say so."""
    producer: str | None
    request_id: str | None
    time: str | None
    confidence: float | None
    """That this installation spoke it; null where only a label says so, which anybody can copy."""
    watermark: WatermarkView
    aigc: LabelView | None
    c2pa: CredentialsView | None


@router.post("", response_model=DetectionView, openapi_extra=DETECT_FORM)
async def detect_marks(request: Request, api: Api) -> Response:
    """Find out whether a recording is synthetic, by all marks. Three seconds are enough; nothing is stored.

    The watermark is found only where this installation spoke; labels and Content Credentials of others are read, too.
    """
    async with received_file(request, api.storage, min(api.settings.max_upload_mb << 20, MAX_BYTES)) as upload:
        return JsonResponse(detection_view(await api.detection.detect(upload.path)))


def detection_view(report: DetectionReport) -> DetectionView:
    """Format what was found."""
    label, credentials, watermark = report.labels.label, report.labels.credentials, report.watermark
    return {
        "synthetic": bool(report.layers),
        "own": report.own,
        "layers": report.layers,
        "producer": report.shown_producer or None,
        "request_id": report.request_id or None,
        "time": report.time.isoformat() if report.time is not None else None,
        "confidence": report.confidence,
        "watermark": {
            "found": watermark.found,
            "mark_id": report.mark,
            "score": round(max(watermark.score, 0.0), 2),
            "threshold": THRESHOLD,
            "start_seconds": round(watermark.start_seconds, 2) if watermark.found else None,
            "requests": [
                {"request_id": request.request_id, "time": request.time.isoformat()}
                for request in report.known_requests
            ],
        },
        "aigc": None if label is None else {"own": report.own_label, "fields": label.fields},
        "c2pa": None if credentials is None else _credentials_view(credentials),
    }


def _credentials_view(credentials: FoundCredentials) -> CredentialsView:
    return {
        "state": credentials.state,
        "synthetic": credentials.synthetic,
        "signer": credentials.signer,
        "time": credentials.time or None,
        "problems": list(credentials.problems),
    }
