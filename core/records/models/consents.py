"""Statements of consent: who agreed that a voice is imitated, for what, and until when."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

ConsentStatus = Literal["valid", "expired", "withdrawn"]


class ConsentSource(StrEnum):
    """Where a statement comes from."""

    STATEMENT = "statement"
    """A caller wrote it."""
    RECORDING = "recording"
    """It was spoken, and checked."""
    OWNER = "owner"
    """For all voices of an owner, as an API key may bring it along."""
    SETTING = "setting"
    """CONSENT_STATEMENT."""
    LICENCE = "licence"
    """Of a bundled recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConsentRecord:
    """A statement to store."""

    id: str = ""
    """Empty: a new id."""
    speaker: str
    """Who gave it."""
    statement: str
    source: ConsentSource
    uses: list[str] = field(default_factory=list)
    """What for; empty: not limited."""
    given_at: float | None = None
    """Seconds since the epoch; None: now."""
    expires_at: float | None = None
    name: str = ""
    language: str = ""
    recording_key: str = ""
    recording_sha256: str = ""
    owner: str | None = None
    """None: the owner of the request."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A stored statement."""

    id: str
    name: str
    """For people."""
    speaker: str
    statement: str
    """What was said or written."""
    source: ConsentSource
    uses: list[str]
    language: str
    given_at: float
    expires_at: float | None
    """None: it does not expire."""
    withdrawn_at: float | None
    recording_key: str
    """Storage key of the spoken statement; empty for a written one."""
    recording_sha256: str
    created_at: float
    owner: str | None = None

    def status(self, now: float) -> ConsentStatus:
        """Return whether it counts at a time."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """What an installation demands of new voices."""

    required: bool = False
    statement: str = ""
    """Of the operator, for voices without another one; empty: none."""
