"""API keys: from the environment and from the records. Without any key, every request is allowed."""

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
"""How long a key that another process created or revoked may go unnoticed."""
USE_INTERVAL_SECONDS: Final = 60.0
"""The time of a key's last use is written at most this often."""


class KeyRing:
    """The valid API keys; only their SHA-256 is kept."""

    def __init__(
        self, configured: Iterable[str], records: Records, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured = frozenset(_sha256(key) for key in configured)
        self._records = records
        self._clock = clock
        self._recorded: frozenset[str] = frozenset()
        self._any_recorded = False
        """Whether the records hold a key, revoked or not: revoking the last one must not allow every request."""
        self._read_at = float("-inf")
        self._use_written_at: dict[str, float] = {}

    async def check(self, key: str) -> None:
        """Raise Unauthorized unless the key is valid or no key was ever created."""
        now = self._clock()
        if now - self._read_at >= REFRESH_SECONDS:
            self._read_at = now
            records = await self._records.api_keys.all()
            self._any_recorded = bool(records)
            self._recorded = frozenset(record.key_hash for record in records if record.revoked_at is None)
        if not self._configured and not self._any_recorded:
            return
        if not key:
            raise Unauthorized("An API key is needed.", hint="Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = _sha256(key)
        if _contains(self._configured, digest):
            return
        if not _contains(self._recorded, digest):
            raise Unauthorized("This API key is not known or was revoked.")
        if now - self._use_written_at.get(digest, float("-inf")) >= USE_INTERVAL_SECONDS:
            self._use_written_at[digest] = now
            await self._records.api_keys.find(key)  # writes the time of its last use


def request_api_key(request: Request) -> str:
    """Return the API key in a request's headers, or an empty string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("x-api-key", "")


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _contains(digests: frozenset[str], digest: str) -> bool:
    """Compare with every digest in constant time, so that the time of a response reveals nothing."""
    equal = False
    for candidate in digests:
        equal |= hmac.compare_digest(digest, candidate)
    return equal
