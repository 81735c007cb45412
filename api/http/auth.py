"""API keys: from the environment and from the records. Without any key, every request is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from core.errors import NotReady, Unauthorized
from core.records import Records

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 5.0
"""How long a key that another process created or revoked may go unnoticed."""
MAX_STALE_SECONDS: Final = 60.0
"""How long the keys that were read last are used while the records cannot be read."""
USE_INTERVAL_SECONDS: Final = 60.0
"""The time of a key's last use is written at most this often."""


@dataclass(frozen=True, slots=True)
class RecordedKeys:
    """The keys of the records as they were at one time."""

    valid: frozenset[str]
    """SHA-256 of each key."""
    any_created: bool
    """Whether a key was ever created: revoking the last one must not allow every request."""
    read_at: float


class KeyRing:
    """The valid API keys; only their SHA-256 is kept.

    Nothing is allowed before the recorded keys were read: until then `check` raises NotReady.
    """

    def __init__(
        self, configured: Iterable[str], records: Records, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured = frozenset(_sha256(key) for key in configured)
        self._records = records
        self._clock = clock
        self._recorded: RecordedKeys | None = None
        self._reading: asyncio.Task[RecordedKeys] | None = None
        self._use_written_at: dict[str, float] = {}

    async def check(self, key: str) -> None:
        """Raise Unauthorized unless the key is valid or no key was ever created.

        Raises NotReady while the recorded keys cannot be read.
        """
        recorded = await self._read_recorded()
        if not self._configured and not recorded.any_created:
            return
        if not key:
            raise Unauthorized("An API key is needed.", hint="Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = _sha256(key)
        if _contains(self._configured, digest):
            return
        if not _contains(recorded.valid, digest):
            raise Unauthorized("This API key is not known or was revoked.")
        now = self._clock()
        if now - self._use_written_at.get(digest, float("-inf")) >= USE_INTERVAL_SECONDS:
            self._use_written_at[digest] = now
            await self._records.api_keys.find(key)  # writes the time of its last use

    async def required(self) -> bool:
        """Return whether a request without a key is rejected; True while the keys cannot be read."""
        if self._configured:
            return True
        try:
            return (await self._read_recorded()).any_created
        except NotReady:
            return True

    async def _read_recorded(self) -> RecordedKeys:
        """Return the recorded keys, read at most REFRESH_SECONDS ago; requests that wait for them share one read."""
        recorded = self._recorded
        if recorded is not None and self._clock() - recorded.read_at < REFRESH_SECONDS:
            return recorded
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        try:
            # Shielded: a request that is cancelled must not cancel the read that others wait for.
            return await asyncio.shield(self._reading)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if recorded is not None and self._clock() - recorded.read_at < MAX_STALE_SECONDS:
                logger.warning("The API keys cannot be read; those of a moment ago are used: %s", error)
                return recorded
            raise NotReady(
                "The API keys cannot be read now, so nobody is let in.", hint="Try again in a few seconds."
            ) from error

    async def _read(self) -> RecordedKeys:
        read_at = self._clock()
        records = await self._records.api_keys.all()
        valid = frozenset(record.key_hash for record in records if record.revoked_at is None)
        self._recorded = RecordedKeys(valid, bool(records), read_at)
        return self._recorded


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
