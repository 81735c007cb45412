"""Errors of the model library as errors of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NotRequired

from core.errors import ErrorData, PermanentError, SovitsError, error_from_code
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


class ReportedError(ErrorData):
    """An error that a child program reports as its last event."""

    permanent: NotRequired[bool]


def error_report(error: SovitsError) -> ReportedError:
    """Return an error as a child program reports it."""
    return {**error.as_dict(), "permanent": isinstance(error, PermanentError)}


def error_from_report(report: ReportedError) -> SovitsError:
    """Return the error that a child program reported."""
    return error_from_code(
        report["code"],
        report["message"],
        hint=report.get("hint", ""),
        details=report.get("details"),
        permanent=bool(report.get("permanent", False)),
    )
