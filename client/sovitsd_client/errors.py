"""Errors, as classes by the server's codes.

SovitsdError
├── ConnectionFailedError       the server does not answer
├── WaitTimeoutError            what was waited for takes longer; also a TimeoutError
└── ApiError                    the server's own: code, message, hint, status
    ├── InvalidRequestError     400, 413, 422
    ├── UnauthorizedError       401
    ├── ForbiddenError          403
    ├── NotFoundError           404
    ├── ConflictError           409
    ├── QuotaExceededError      429
    └── ServerError             500 and above
        └── NotReadyError       503
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx


class SovitsdError(Exception):
    """Everything that this package raises."""


class ConnectionFailedError(SovitsdError):
    """The server does not answer, or the connection broke."""


class WaitTimeoutError(SovitsdError, TimeoutError):
    """What was waited for has not ended in time; it goes on."""


class ApiError(SovitsdError):
    """An error that the server reported."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        hint: str = "",
        retry_after: float | None = None,
        request_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.status = status
        """The HTTP status."""
        self.code = code
        """The server's stable name of the error; empty for one that is not sovitsd's, such as a proxy's."""
        self.hint = hint
        """What would work."""
        self.retry_after = retry_after
        """Seconds after which the same request may work."""
        self.request_id = request_id
        """By which the server's log names the request."""
        self.details = dict(details or {})


class InvalidRequestError(ApiError):
    """The request cannot be understood or fulfilled as it is."""


class InvalidParameterError(InvalidRequestError):
    """A value is out of its range; the message names it."""


class MissingWeightsError(InvalidRequestError):
    """The weights of a model version are not on the server."""


class EmptyTextError(InvalidRequestError):
    """There is nothing to speak."""


class TextTooLongError(InvalidRequestError):
    """The text is longer than the route takes."""


class UnsupportedLanguageError(InvalidRequestError):
    """No such language is spoken."""


class UnreadableTextError(InvalidRequestError):
    """The text has nothing that can be pronounced."""


class BadMarkupError(InvalidRequestError):
    """The markup of a text cannot be read."""


class BadPronunciationError(InvalidRequestError):
    """A pronunciation cannot be read."""


class BadAudioError(InvalidRequestError):
    """A recording cannot be decoded or used."""


class BadArchiveError(InvalidRequestError):
    """An archive cannot be read."""


class FileTooLargeError(InvalidRequestError):
    """An upload is larger than the server takes."""


class FetchFailedError(InvalidRequestError):
    """The server could not, or may not, fetch an address that the request names."""


class UnauthorizedError(ApiError):
    """The API key is missing or unknown."""


class ForbiddenError(ApiError):
    """The API key may not do this."""


class ConsentRequiredError(ForbiddenError):
    """The speaker of the voice did not consent."""


class NotFoundError(ApiError):
    """There is no such thing, or it belongs to another key."""


class VoiceNotFoundError(NotFoundError):
    """No voice has that name or id."""


class ConflictError(ApiError):
    """It cannot be done in the present state."""


class CancelledError(ConflictError):
    """The job was cancelled."""


class QuotaExceededError(ApiError):
    """A quota of the API key is used up."""


class ServerError(ApiError):
    """The server failed at a request that was right."""


class NotReadyError(ServerError):
    """The server cannot do this now; the same request may work later."""


class TimedOutError(ServerError):
    """The server took too long."""


class JobFailedError(ServerError):
    """A job that the request waited for has failed."""


class StorageError(ServerError):
    """The server's disk is full or cannot be written."""


CODES: Final[Mapping[str, type[ApiError]]] = {
    "invalid_request": InvalidRequestError,
    "invalid_parameter": InvalidParameterError,
    "missing_weights": MissingWeightsError,
    "empty_text": EmptyTextError,
    "text_too_long": TextTooLongError,
    "unsupported_language": UnsupportedLanguageError,
    "language_not_spoken": UnsupportedLanguageError,
    "unreadable_text": UnreadableTextError,
    "bad_markup": BadMarkupError,
    "bad_pronunciation": BadPronunciationError,
    "bad_audio": BadAudioError,
    "silent_recording": BadAudioError,
    "recording_too_short": BadAudioError,
    "no_speech": BadAudioError,
    "bad_archive": BadArchiveError,
    "file_too_large": FileTooLargeError,
    "refused_address": FetchFailedError,
    "download_failed": FetchFailedError,
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "consent_required": ConsentRequiredError,
    "not_found": NotFoundError,
    "voice_not_found": VoiceNotFoundError,
    "conflict": ConflictError,
    "confirmation_needed": ConflictError,
    "cancelled": CancelledError,
    "input_gone": ConflictError,
    "quota_exceeded": QuotaExceededError,
    "too_many_wrong_keys": QuotaExceededError,
    "not_ready": NotReadyError,
    "queue_unavailable": NotReadyError,
    "records_unavailable": NotReadyError,
    "storage_unavailable": NotReadyError,
    "device_unusable": NotReadyError,
    "draining": NotReadyError,
    "decoder_killed": NotReadyError,
    "missing_part": NotReadyError,
    "timed_out": TimedOutError,
    "training_failed": JobFailedError,
    "stage_failed": JobFailedError,
    "damaged_artefact": StorageError,
    "storage_full": StorageError,
    "storage_read_only": StorageError,
}
"""The class of each code; a code that is not here has that of its HTTP status."""
_STATUSES: Final[Mapping[int, type[ApiError]]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: FileTooLargeError,
    422: InvalidRequestError,
    429: QuotaExceededError,
    503: NotReadyError,
    504: TimedOutError,
}


def api_error(response: httpx.Response) -> ApiError:
    """Return the error of a response whose body was read, in any of the formats that the server has."""
    try:
        body = response.json()
    except (ValueError, UnicodeDecodeError):
        body = None
    body = body if isinstance(body, dict) else {}
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    message = error.get("message") or body.get("msg") or body.get("detail") or response.text.strip()[:200]
    code = str(error.get("code") or "")
    details = error.get("details")
    status = response.status_code
    kind = CODES.get(code) or _STATUSES.get(status) or (ServerError if status >= 500 else ApiError)
    return kind(
        message if isinstance(message, str) and message else json.dumps(message or response.reason_phrase),
        status=status,
        code=code,
        hint=str(error.get("hint") or ""),
        retry_after=retry_after(response),
        request_id=response.headers.get("X-Request-ID", ""),
        details=details if isinstance(details, dict) else None,
    )


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of the header `Retry-After`; None without one that is a number."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
