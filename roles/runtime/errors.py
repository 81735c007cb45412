"""What the model library refuses, in the words of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import (
    BadMarkup,
    BadPronunciation,
    EmptyText,
    InputGone,
    InvalidRequest,
    MissingPart,
    NoSpeech,
    PermanentError,
    RecordingTooShort,
    SilentRecording,
    SovitsError,
    StorageFull,
    StorageReadOnly,
    TrainingFailed,
    UnreadableText,
    UnsupportedLanguage,
)
from GPT_SoVITS.errors import ModelError

_CLASSES: dict[str, type[SovitsError]] = {
    error.code: error
    for error in (
        BadMarkup,
        BadPronunciation,
        EmptyText,
        InputGone,
        InvalidRequest,
        MissingPart,
        NoSpeech,
        RecordingTooShort,
        SilentRecording,
        StorageFull,
        StorageReadOnly,
        UnreadableText,
        UnsupportedLanguage,
    )
}


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn a ModelError into the error class of its code; other codes keep theirs."""
    try:
        yield
    except ModelError as error:
        raise from_code(error.code, error.message, error.hint, permanent=error.permanent) from error


def from_code(code: str, message: str, hint: str, *, permanent: bool) -> SovitsError:
    """The service's error for a code of the model library or of a training process."""
    known = _CLASSES.get(code)
    if known is not None:
        return known(message, hint=hint)
    error = (PermanentError if permanent else TrainingFailed)(message, hint=hint)
    error.code = code  # type: ignore[misc]  # a class's default, made particular for this one error
    return error


def error_document(error: SovitsError | ModelError) -> dict[str, Any]:
    """Return the error as the records keep it; one of the model library counts as permanent."""
    if isinstance(error, ModelError):
        return from_code(error.code, error.message, error.hint, permanent=True).as_dict()
    return error.as_dict()
