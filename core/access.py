"""Who is calling: the owner of what the caller creates, what it may do, and what it may see.

A request of the API, a job of a worker and the daemon itself each act as one `Caller`. The repositories of the records
and the queue read it (`current_caller`): what they create belongs to its owner, and what it may not see does not exist
for it. So a new route or a new query cannot forget the check.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Self

from common.program_name import program_name
from core.errors import Forbidden

Visibility = Literal["private", "shared"]
"""Of a voice: who besides its owner may see it and speak with it."""


class Scope(StrEnum):
    """What an API key may do."""

    SPEAK = "speak"
    """Turn texts into speech."""
    TRAIN = "train"
    """Upload, and create, change and delete tasks, experiments, data sets, voices and webhooks."""
    READ = "read"
    """List and download what its owner may see."""
    ADMIN = "admin"
    """Everything, of every owner; also keys, limits, replays and shared voices."""


USER_SCOPES: Final = frozenset({Scope.SPEAK, Scope.TRAIN, Scope.READ})
ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that one API key may use; None: no limit."""

    jobs_waiting: int | None = None
    """Jobs of its owner that have not ended."""
    bytes_stored: int | None = None
    """Bytes of its owner's files and checkpoints."""
    characters_per_day: int | None = None
    """Characters to synthesize in one day (UTC)."""
    requests_per_minute: int | None = None


NO_QUOTA: Final = Quota()


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's sender, or the job or the process that acts."""

    owner: str | None
    """Whom new records and jobs belong to; None: they are shared."""
    scopes: frozenset[Scope]
    key_id: str = ""
    """The API key's id; empty without a key."""
    quota: Quota = NO_QUOTA

    @property
    def sees_all(self) -> bool:
        """Whether it sees what belongs to others."""
        return Scope.ADMIN in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Return whether it may see a record or a job of this owner; without an owner (None, or empty) it is shared."""
        return not owner or self.sees_all or owner == self.owner

    def has(self, scope: Scope) -> bool:
        """Return whether it may do what needs this scope."""
        return scope in self.scopes or self.sees_all

    def require(self, scope: Scope, action: str = "this") -> None:
        """Raise Forbidden, which names the scopes of the key, unless it may do what needs this scope."""
        if not self.has(scope):
            scopes = ", ".join(sorted(self.scopes)) or "none"
            raise Forbidden(
                f"The scope `{scope}` is needed for {action}; this API key has {scopes}.",
                hint=f"Use a key with that scope: {program_name()} keys create NAME --scopes {scope}",
            )

    @classmethod
    def of_job(cls, owner: str | None) -> Self:
        """Return the caller that a worker is while it runs a job of this owner."""
        return cls(owner, ALL_SCOPES)


LOCAL: Final = Caller(None, ALL_SCOPES)
"""The one local user where no API key was ever created; also the supervisor and the command line."""
ANONYMOUS: Final = Caller(None, frozenset())
"""Whoever sends no key where keys exist: sees what is shared."""

_current: ContextVar[Caller] = ContextVar("caller", default=LOCAL)


def current_caller() -> Caller:
    """Return who is calling."""
    return _current.get()


def set_caller(caller: Caller) -> Token[Caller]:
    """Act as a caller from here on, until `reset_caller`."""
    return _current.set(caller)


def reset_caller(token: Token[Caller]) -> None:
    """Act again as whoever it was before `set_caller`."""
    _current.reset(token)


@contextlib.contextmanager
def act_as(caller: Caller) -> Iterator[None]:
    """Act as a caller inside the block."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes of these names; raise ValueError, which lists all, for an unknown one."""
    scopes = set()
    for name in names:
        try:
            scopes.add(Scope(name.strip()))
        except ValueError:
            raise ValueError(f"There is no scope {name!r}; there are {', '.join(Scope)}.") from None
    return frozenset(scopes)
