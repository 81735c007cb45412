"""API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.access import Caller, Quota, Scope


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key; the key itself is shown once and not stored."""

    id: str
    name: str
    key_hash: str
    """SHA-256, hexadecimal."""
    shown: str
    """The first characters of the key, to recognize it by."""
    admin: bool
    """Whether `scopes` contains `admin`."""
    created_at: float
    last_used_at: float | None
    revoked_at: float | None
    owner: str = ""
    """Whom the files, tasks, voices … belong to that are created with it; keys of one owner share them."""
    scopes: list[str] = field(default_factory=list)
    """Names of `core.access.Scope`."""
    expires_at: float | None = None
    """Seconds since the epoch; None: it does not expire."""
    jobs_waiting: int | None = None
    bytes_stored: int | None = None
    characters_per_day: int | None = None
    requests_per_minute: int | None = None

    @property
    def quota(self) -> Quota:
        """The most that it may use."""
        return Quota(self.jobs_waiting, self.bytes_stored, self.characters_per_day, self.requests_per_minute)

    @property
    def caller(self) -> Caller:
        """Who calls with it; a scope that this version does not have is left out."""
        scopes = frozenset(Scope(name) for name in self.scopes if name in set(Scope))
        return Caller(self.owner, scopes, self.id, self.quota)

    def status(self, now: float) -> Literal["valid", "admin", "expired", "revoked"]:
        """Return `revoked`, `expired`, `admin` or `valid`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "admin" if self.admin else "valid"
