"""Upstream's error format: `message`, with `Exception` where a synthesis or a choice failed, and always 400."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.http.errors import NativeErrors
from core.errors import InvalidRequest, SovitsError

PATHS: Final = frozenset(
    (
        *("/", "/tts", "/control", "/speakers", "/speakers_list", "/tts_to_audio/", "/tts_to_audio"),
        *("/set_gpt_weights", "/set_sovits_weights", "/set_refer_audio", "/get_gpt_weights", "/get_sovits_weights"),
        *("/change_refer", "/set_model"),
    )
)
"""The paths of both of upstream's interfaces and of the fork's."""
BAD_REQUESTS: Final = frozenset((404, 409, 413, 422))
"""Statuses for which clients expect 400."""


class BadField(InvalidRequest):
    """A field that is missing or cannot be used; the message is upstream's own where it has one."""


class RequestFailed(InvalidRequest):
    """What upstream answers with `message` and `Exception`: its words for what failed, and the reason."""

    def __init__(self, message: str, cause: SovitsError) -> None:
        super().__init__(message, details=cause.details)
        self.code = cause.code
        self.reason = cause.sentences
        # Who must wait or identify itself learns that from the status; everything else is 400.
        self.status = cause.status if cause.status in (401, 403, 429, 503, 504, 507) else 400


class UpstreamErrors:
    """Upstream's error format, with the fields of the CosyVoice service, which shares the root, and the native ones."""

    schema_name = "UpstreamError"
    schema: Mapping[str, object] = {
        "title": "UpstreamError",
        "type": "object",
        "required": ["message", "detail", "error"],
        "properties": {
            "message": {"type": "string"},
            "Exception": {"type": "string"},
            "code": {"type": "integer", "description": "The status."},
            "detail": {"type": "string"},
            "error": NativeErrors.schema["properties"]["error"],  # type: ignore[index]
        },
    }

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to upstream's interfaces."""
        return path in PATHS

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return 400 for whatever is wrong with a request."""
        return 400 if status in BAD_REQUESTS else status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return upstream's words, and the reason where it has two fields."""
        native = NativeErrors().body(error, status)
        reason = error.reason if isinstance(error, RequestFailed) else error.sentences
        message = error.message if isinstance(error, RequestFailed) else reason
        exception = {"Exception": reason} if isinstance(error, RequestFailed) else {}
        return {**native, "message": message, **exception, "code": status, "detail": reason}
