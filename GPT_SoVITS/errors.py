"""The error of the model library.

    ModelError (Exception)

Callers tell cases apart by its stable code and decide by `permanent` whether to try again.
"""

from __future__ import annotations


class ModelError(Exception):
    """A request that the model library cannot fulfill; the message says why, and the hint what would work."""

    def __init__(self, code: str, message: str, *, hint: str = "", permanent: bool = True) -> None:
        super().__init__(message)
        self.code = code
        """Stable and machine-readable."""
        self.message = message
        self.hint = hint
        self.permanent = permanent
        """Whether the same call would fail again."""
