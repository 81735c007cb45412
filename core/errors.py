"""The errors that users and programs meet: a stable code, a sentence, and a hint that says what would work.

Each class is one way to handle an error; its code and its HTTP status are part of the API, and this file is their only
table (`find_error_class` looks a code up). Modules that need a more specific code derive from these classes.

    SovitsError                        500 internal_error        a job is retried, then a dead letter
    ├── PermanentError                 500 internal_error        a job is not retried
    │   ├── InvalidRequest             400 invalid_request
    │   │   ├── InvalidParameter       422 invalid_parameter
    │   │   ├── MissingWeights         422 missing_weights
    │   │   ├── EmptyText              400 empty_text
    │   │   ├── TextTooLong            400 text_too_long
    │   │   ├── UnsupportedLanguage    400 unsupported_language
    │   │   ├── UnreadableText         400 unreadable_text
    │   │   ├── BadMarkup              400 bad_markup
    │   │   ├── BadPronunciation       400 bad_pronunciation
    │   │   ├── FileTooLarge           413 file_too_large
    │   │   ├── ForbiddenAddress       400 refused_address
    │   │   └── DownloadFailed         400 download_failed
    │   ├── BadAudio                   400 bad_audio
    │   │   ├── SilentRecording        400 silent_recording
    │   │   ├── RecordingTooShort      400 recording_too_short
    │   │   └── NoSpeech               400 no_speech
    │   ├── BadArchive                 400 bad_archive
    │   ├── Unauthorized               401 unauthorized
    │   ├── Forbidden                  403 forbidden
    │   ├── ConsentMissing             403 consent_required
    │   ├── QuotaExceeded              429 quota_exceeded
    │   ├── NotFound                   404 not_found
    │   │   ├── TaskNotFound           404 not_found
    │   │   ├── ExperimentNotFound     404 not_found
    │   │   └── VoiceNotFound          404 voice_not_found
    │   ├── Conflict                   409 conflict
    │   │   └── ConfirmationNeeded     409 confirmation_needed
    │   ├── InputGone                  409 input_gone
    │   └── MissingPart                503 missing_part
    ├── NotReady                       503 not_ready             the same request may work later
    │   ├── QueueUnavailable           503 queue_unavailable
    │   ├── RecordsUnavailable         503 records_unavailable
    │   └── StorageUnavailable         503 storage_unavailable
    ├── DiskError                      507                       may work once the disk is repaired
    │   ├── StorageFull                507 storage_full
    │   └── StorageReadOnly            507 storage_read_only
    ├── DamagedArtifact                500 damaged_artefact
    ├── TrainingFailed                 500 training_failed
    ├── StageFailed                    500 stage_failed
    ├── TimedOut                       504 timed_out             the job goes on
    ├── JobCancelled                   409 cancelled             a worker stops, no dead letter
    ├── LeaseLost                      500 lease_lost            a worker discards its result
    ├── DeviceUnusable                 503 device_unusable       a worker returns its job and ends
    └── Draining                       503 draining              a worker returns its job to the queue
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from common.sentences import join_sentences


class ErrorData(TypedDict):
    """An error as it is stored with a job or a record and shown by the API."""

    code: str
    message: str
    hint: NotRequired[str]
    details: NotRequired[dict[str, Any]]


def error_message(error: ErrorData | None, default: str = "") -> str:
    """Return the message of a stored error; `default` when there is no error."""
    return error.get("message", default) if error else default


class SovitsError(Exception):
    """Something requested cannot be done; the message says what, the hint what would work."""

    code: str = "internal_error"
    """Stable, machine-readable; part of the API."""
    status: int = 500
    """HTTP status."""
    literal: str = ""
    """A fixed text that clients of other servers compare with; empty: they get the message and the hint."""

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, object] | None = None, literal: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        self.literal = literal or self.literal

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            _CLASSES.setdefault(cls.code, cls)

    def as_dict(self) -> ErrorData:
        """Return the error as it is stored and shown."""
        data: ErrorData = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.details:
            data["details"] = self.details
        return data

    @property
    def detail(self) -> str:
        """The error as one text, for clients that read nothing else."""
        return self.literal or self.sentences

    @property
    def sentences(self) -> str:
        """The message and the hint as one text."""
        return join_sentences(self.message, self.hint)


_CLASSES: dict[str, type[SovitsError]] = {}


def find_error_class(code: str) -> type[SovitsError] | None:
    """Return the class that declares a code; None for a code of the model library, which has no class."""
    return _CLASSES.get(code)


def error_from_code(
    code: str, message: str, *, hint: str = "", details: Mapping[str, object] | None = None, permanent: bool
) -> SovitsError:
    """Return the error that a code means, for one that came from the model library or from another process.

    A code that no class of permanent or disk errors declares is kept; `permanent` then says whether a retry is useless.
    """
    error_class = find_error_class(code)
    if error_class is not None and issubclass(error_class, PermanentError | DiskError):
        return error_class(message, hint=hint, details=details)
    error = (PermanentError if permanent else TrainingFailed)(message, hint=hint, details=details)
    error.code = code
    return error


class PermanentError(SovitsError):
    """A job that would fail again the same way: it is not retried."""


class InvalidRequest(PermanentError):
    """The request itself is wrong."""

    code = "invalid_request"
    status = 400


class InvalidParameter(InvalidRequest):
    """A parameter that does not exist or whose value is out of range; the message names it."""

    code = "invalid_parameter"
    status = 422


class MissingWeights(InvalidRequest):
    """A version whose official weights are not installed; the hint names the command that fetches them."""

    code = "missing_weights"
    status = 422


class EmptyText(InvalidRequest):
    """There is nothing to synthesize."""

    code = "empty_text"


class TextTooLong(InvalidRequest):
    """More text than one request may carry."""

    code = "text_too_long"


class UnsupportedLanguage(InvalidRequest):
    """No text front end for this language."""

    code = "unsupported_language"


class LanguageNotSpoken(UnsupportedLanguage):
    """The text is in a language that the voice does not speak, and the caller wants no other."""

    code = "language_not_spoken"


class UnreadableText(InvalidRequest):
    """The text holds nothing that the chosen language can pronounce."""

    code = "unreadable_text"


class BadMarkup(InvalidRequest):
    """Inline tags or SSML in the text that cannot be parsed."""

    code = "bad_markup"


class BadPronunciation(InvalidRequest):
    """An unusable pronunciation, in the text or in a dictionary."""

    code = "bad_pronunciation"


class BadAudio(PermanentError):
    """A file that is not audio, or audio that nothing can be trained on."""

    code = "bad_audio"
    status = 400


class BadArchive(PermanentError):
    """A ZIP that is damaged, malicious, or holds nothing that can be used."""

    code = "bad_archive"
    status = 400


class SilentRecording(BadAudio):
    """Nothing is audible in the recording."""

    code = "silent_recording"


class RecordingTooShort(BadAudio):
    """The recording is too short to train a voice on."""

    code = "recording_too_short"


class NoSpeech(BadAudio):
    """The recording is audible, but holds no speech."""

    code = "no_speech"


class FileTooLarge(InvalidRequest):
    """An upload above the size limit."""

    code = "file_too_large"
    status = 413


class ForbiddenAddress(InvalidRequest):
    """A URL that points to an address that the server must not request."""

    code = "refused_address"


class DownloadFailed(InvalidRequest):
    """A URL that could not be downloaded."""

    code = "download_failed"


class NotFound(PermanentError):
    """Nothing of that name or id exists."""

    code = "not_found"
    status = 404


class TaskNotFound(NotFound):
    """No task of that id."""

    literal = "Task not found"


class ExperimentNotFound(NotFound):
    """No experiment of that id."""

    literal = "Experiment not found"


class VoiceNotFound(NotFound):
    """No published voice of that name."""

    code = "voice_not_found"


class Conflict(PermanentError):
    """The resource exists in a state that does not allow this."""

    code = "conflict"
    status = 409


class ConfirmationNeeded(Conflict):
    """It can be done, but not with the parameters and inputs of before; `details.changed` names what differs."""

    code = "confirmation_needed"


class Unauthorized(PermanentError):
    """A missing or unknown API key."""

    code = "unauthorized"
    status = 401


class Forbidden(PermanentError):
    """The API key is valid and may not do this; the message names the scope that is missing."""

    code = "forbidden"
    status = 403


class ConsentMissing(PermanentError):
    """The speaker of a voice did not agree to it, or agrees no more."""

    code = "consent_required"
    status = 403


class QuotaExceeded(PermanentError):
    """A quota of the API key is used up; `retry_after` says for about how many seconds."""

    code = "quota_exceeded"
    status = 429

    def __init__(self, message: str, *, retry_after: float, hint: str = "", before_upload: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = max(1, math.ceil(retry_after))
        self.before_upload = before_upload
        """Whether the client is still sending what there is no room for."""


class NotReady(SovitsError):
    """The service cannot do this now; the same request may work later."""

    code = "not_ready"
    status = 503


class QueueUnavailable(NotReady):
    """Redis cannot be reached or rejects writes."""

    code = "queue_unavailable"


class RecordsUnavailable(NotReady):
    """The database cannot be opened."""

    code = "records_unavailable"


class StorageUnavailable(NotReady):
    """The bucket of artifacts does not answer, or denies access."""

    code = "storage_unavailable"


class DecoderKilled(NotReady):
    """The process that reads an untrusted file was killed from outside twice; nothing is known of the file."""

    code = "decoder_killed"


class DamagedArtifact(SovitsError):
    """An artifact whose bytes are not those that were stored."""

    code = "damaged_artefact"


class TimedOut(SovitsError):
    """The job did not finish in the time that a caller may wait; it goes on."""

    code = "timed_out"
    status = 504


class JobCancelled(SovitsError):
    """The job was cancelled."""

    code = "cancelled"
    status = 409


class LeaseLost(SovitsError):
    """Another worker has the job's lease now; the result of this one is discarded."""

    code = "lease_lost"


class DeviceUnusable(SovitsError):
    """The worker's device cannot compute any more: its job goes back, and the worker is replaced."""

    code = "device_unusable"
    status = 503


class Draining(SovitsError):
    """The worker is shutting down and returns its job to the queue; this is no failure."""

    code = "draining"
    status = 503


class MissingPart(PermanentError):
    """A package, model or file that must be installed first; the hint says how."""

    code = "missing_part"
    status = 503


class TrainingFailed(SovitsError):
    """A training process ended without a checkpoint."""

    code = "training_failed"


class StageFailed(SovitsError):
    """A process of a stage ended before it was done."""

    code = "stage_failed"


class InputGone(PermanentError):
    """A file that a stage reads is no longer where it was."""

    code = "input_gone"
    status = 409


class DiskError(SovitsError):
    """The data folder cannot be written; the same job may succeed once the disk is repaired."""

    status = 507


class StorageFull(DiskError):
    """The disk is full."""

    code = "storage_full"


class StorageReadOnly(DiskError):
    """The data folder is read-only."""

    code = "storage_read_only"
