"""What a request with an idempotency key creates: its repetition after a crash creates nothing twice.

The ids follow from a seed that is stored with the key before anything is created. So a repetition makes the same ids,
finds what is there already, and goes on from there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self

from core.ids import id_of, new_id


@dataclass(frozen=True, slots=True)
class KeyedCreation:
    """The creations of one request with an idempotency key."""

    milliseconds: int
    """When the request came first, since the epoch."""
    noise: str
    repeated: bool
    """Whether somebody else began to handle this request and died."""
    _numbers: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_seed(cls, seed: str, *, repeated: bool) -> Self:
        """Return the creations of the request that got this seed."""
        milliseconds, _, noise = seed.partition(".")
        return cls(int(milliseconds), noise, repeated)

    def next_id(self, prefix: str) -> str:
        """Return the id of the next thing of a kind."""
        self._numbers[prefix] += 1
        source = f"{self.noise}/{prefix}/{self._numbers[prefix]}"
        return id_of(prefix, self.milliseconds, hashlib.sha256(source.encode()).digest())


_current: ContextVar[KeyedCreation | None] = ContextVar("creation", default=None)


def new_seed() -> str:
    """Return a seed for a request that has none yet."""
    return f"{time.time_ns() // 1_000_000}.{os.urandom(16).hex()}"


@contextmanager
def create_as(creation: KeyedCreation) -> Iterator[None]:
    """Let what is created inside the block be that of a request."""
    token = _current.set(creation)
    try:
        yield
    finally:
        _current.reset(token)


def creation_id(prefix: str) -> str:
    """Return an id for what a request creates: a new one, or the same again when the request is repeated."""
    creation = _current.get()
    return new_id(prefix) if creation is None else creation.next_id(prefix)


def began_earlier_at() -> float | None:
    """Return when the present request came first, if whoever handled it then died; None for any other."""
    creation = _current.get()
    return creation.milliseconds / 1000 if creation is not None and creation.repeated else None
