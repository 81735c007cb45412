"""What the library refuses, with a stable code; callers decide whether to try again."""

from __future__ import annotations


class ModelError(Exception):
    """Something that was asked of the model cannot be done; says what, and what would work."""

    def __init__(self, code: str, message: str, *, hint: str = "", permanent: bool = True) -> None:
        super().__init__(message)
        self.code = code
        """Stable and machine-readable."""
        self.message = message
        self.hint = hint
        self.permanent = permanent
        """Whether the same call would fail again."""
