"""The errors that people and programs meet: a stable code, a sentence, and what would work instead."""

from __future__ import annotations

from typing import Any, ClassVar


class SovitsError(Exception):
    """Something that was asked for cannot be done; the message says what, the hint what would work."""

    code: ClassVar[str] = "internal_error"
    """Stable, machine-readable; part of the API."""
    status: ClassVar[int] = 500
    """HTTP status that every front door answers with."""

    def __init__(self, message: str, *, hint: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}

    def as_dict(self) -> dict[str, Any]:
        """The error as it is stored with a job and shown by the API."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.details:
            shown["details"] = self.details
        return shown


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


class EmptyText(InvalidRequest):
    """There is nothing to say."""

    code = "empty_text"


class TextTooLong(InvalidRequest):
    """More text than one request may carry."""

    code = "text_too_long"


class UnsupportedLanguage(InvalidRequest):
    """No text front end for this language."""

    code = "unsupported_language"


class UnreadableText(InvalidRequest):
    """The text holds nothing that the chosen language can pronounce."""

    code = "unreadable_text"


class BadMarkup(InvalidRequest):
    """Marks or SSML in the text that cannot be followed."""

    code = "bad_markup"


class BadPronunciation(InvalidRequest):
    """A reading, in the text or in a dictionary, that is none."""

    code = "bad_pronunciation"


class BadAudio(PermanentError):
    """A file that is not sound, or sound that nothing can be learnt from."""

    code = "bad_audio"
    status = 400


class BadArchive(PermanentError):
    """A ZIP that is damaged, hostile, or holds nothing that can be used."""

    code = "bad_archive"
    status = 400


class SilentRecording(BadAudio):
    """Nothing is audible in the recording."""

    code = "silent_recording"


class RecordingTooShort(BadAudio):
    """The recording is too short to learn a voice from."""

    code = "recording_too_short"


class NoSpeech(BadAudio):
    """The recording sounds, but nobody speaks in it."""

    code = "no_speech"


class FileTooLarge(InvalidRequest):
    """An upload above the cap."""

    code = "file_too_large"
    status = 413


class RefusedAddress(InvalidRequest):
    """A URL that points where the server must not go."""

    code = "refused_address"


class DownloadFailed(InvalidRequest):
    """A URL that could not be read."""

    code = "download_failed"


class NotFound(PermanentError):
    """Nothing of that name or id exists."""

    code = "not_found"
    status = 404


class VoiceNotFound(NotFound):
    """No published voice of that name."""

    code = "voice_not_found"


class Conflict(PermanentError):
    """The thing exists in a state that does not allow this."""

    code = "conflict"
    status = 409


class ConfirmationNeeded(Conflict):
    """It can be done, but not quite as was asked before; `details.changed` names what differs."""

    code = "confirmation_needed"


class Unauthorized(PermanentError):
    """A missing or unknown API key."""

    code = "unauthorized"
    status = 401


class NotReady(SovitsError):
    """The service cannot take this now; the same request may work later."""

    code = "not_ready"
    status = 503


class QueueUnavailable(NotReady):
    """Redis cannot be reached or refuses to write."""

    code = "queue_unavailable"


class RecordsUnavailable(NotReady):
    """The database cannot be opened."""

    code = "records_unavailable"


class StorageUnavailable(NotReady):
    """The bucket of artefacts does not answer or refuses."""

    code = "storage_unavailable"


class DamagedArtefact(SovitsError):
    """An artefact whose bytes are not those that were stored."""

    code = "damaged_artefact"


class TimedOut(SovitsError):
    """The work did not finish in the time a caller may wait; it goes on."""

    code = "timed_out"
    status = 504


class JobCancelled(SovitsError):
    """Someone asked for this job to stop."""

    code = "cancelled"
    status = 409


class LeaseLost(SovitsError):
    """Another worker owns this job now; whatever this one made is thrown away."""

    code = "lease_lost"


class Draining(SovitsError):
    """The worker is shutting down and hands its job back; this is no failure."""

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
    """A process that worked for a stage ended before its work did."""

    code = "stage_failed"


class InputGone(PermanentError):
    """What a stage is made from is no longer where it was left."""

    code = "input_gone"
    status = 409


class StorageFull(SovitsError):
    """The disk takes no more; the same work may succeed once there is room."""

    code = "storage_full"
    status = 507


class StorageReadOnly(SovitsError):
    """The folder of data refuses to be written."""

    code = "storage_read_only"
    status = 507
