"""API keys: from the environment and from the records; with none anywhere, the door is open."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from typing import Final

from starlette.requests import Request

from core.errors import Unauthorized
from core.records import Records

REFRESH_SECONDS: Final = 5.0
"""How long a key that was made or revoked elsewhere may go unnoticed."""
NOTE_SECONDS: Final = 60.0


class KeyRing:
    """The keys that open the door; only their SHA-256 is kept."""

    def __init__(
        self, configured: Iterable[str], records: Records, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured = frozenset(_digest(key) for key in configured)
        self._records = records
        self._clock = clock
        self._recorded: frozenset[str] = frozenset()
        self._known = False
        """Whether a key was ever made here, revoked or not: revoking the last must not open the door."""
        self._read_at = float("-inf")
        self._noted: dict[str, float] = {}

    async def check(self, key: str) -> None:
        """Raise Unauthorized unless the key opens the door or no key was ever configured."""
        await self._refresh()
        if not self._configured and not self._known:
            return
        if not key:
            raise Unauthorized("An API key is needed.", hint="Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = _digest(key)
        if _among(digest, self._configured):
            return
        if not _among(digest, self._recorded):
            raise Unauthorized("This API key is not known or was revoked.")
        await self._note_use(key, digest)

    async def _refresh(self) -> None:
        now = self._clock()
        if now - self._read_at < REFRESH_SECONDS:
            return
        self._read_at = now
        keys = await self._records.api_keys.all()
        self._known = bool(keys)
        self._recorded = frozenset(key.key_hash for key in keys if key.revoked_at is None)

    async def _note_use(self, key: str, digest: str) -> None:
        now = self._clock()
        if now - self._noted.get(digest, float("-inf")) >= NOTE_SECONDS:
            self._noted[digest] = now
            await self._records.api_keys.find(key)  # writes the time of its last use


def key_of(request: Request) -> str:
    """The key that a request carries in its headers, or nothing."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("x-api-key", "")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _among(digest: str, known: frozenset[str]) -> bool:
    """Compares with every one in constant time, so that the time tells nothing."""
    found = False
    for one in known:
        found |= hmac.compare_digest(digest, one)
    return found
