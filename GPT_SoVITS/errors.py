"""The error of the model library, and what an exhausted memory looks like.

    ModelError (Exception)

Callers tell cases apart by its stable code and decide by `permanent` whether to try again.
"""

from __future__ import annotations

OUT_OF_MEMORY_TEXTS = (
    *("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc"),
)
"""How torch's allocators put it in a RuntimeError, in small letters."""


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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: on a GPU, in torch on a CPU, or in Python itself."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)
