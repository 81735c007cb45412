"""Errors of the model library as errors of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ErrorData, SovitsError, error_from_code
from GPT_SoVITS.errors import ModelError


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn a ModelError into the error class of its code; other codes keep theirs."""
    try:
        yield
    except ModelError as error:
        raise error_from_code(error.code, error.message, hint=error.hint, permanent=error.permanent) from error


def error_document(error: SovitsError | ModelError) -> ErrorData:
    """Return the error as the records keep it; one of the model library counts as permanent."""
    if isinstance(error, ModelError):
        return error_from_code(error.code, error.message, hint=error.hint, permanent=True).as_dict()
    return error.as_dict()
