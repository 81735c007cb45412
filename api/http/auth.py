"""API keys: from the environment and from the records. Without any key, every request is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from api.http.request_context import current_context
from api.http.shared_throttles import SharedThrottles
from api.http.wrong_keys import WINDOW_SECONDS, WrongKeys, network_of, raise_above_limits
from core.access import ALL_SCOPES, LOCAL, USER_SCOPES, Caller, Scope
from core.errors import NotReady, QuotaExceeded, Unauthorized
from core.records import ApiKeyRecord, Records, iso

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 5.0
"""How long it may go unnoticed that another process revoked a key, or created the first one."""
UNKNOWN_SECONDS: Final = 0.25
"""Keys that were read longer ago are read again before an unknown one is rejected."""
MAX_STALE_SECONDS: Final = 60.0
"""How long the keys that were read last are used while the records cannot be read."""
USE_INTERVAL_SECONDS: Final = 60.0
"""The time of a key's last use is written at most this often."""


@dataclass(frozen=True, slots=True)
class RecordedKeys:
    """The keys of the records as they were at one time."""

    valid: tuple[ApiKeyRecord, ...]
    """Those that are not revoked; they may have expired."""
    any_created: bool
    """Whether a key was ever created: revoking the last one must not allow every request."""
    read_at: float


class RequestRates:
    """Requests of each key in this process: a bucket that holds those of a minute and refills evenly."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """Key → requests that are left, and when that was."""

    def count(self, key_id: str, per_minute: int) -> float:
        """Count a request; return 0 when it is allowed, else the seconds until the next one is."""
        now = self._clock()
        left, at = self._left.get(key_id, (float(per_minute), now))
        left = min(float(per_minute), left + (now - at) * per_minute / 60)
        allowed = left >= 1
        self._left[key_id] = (left - 1 if allowed else left, now)
        return 0.0 if allowed else (1 - left) * 60 / per_minute if per_minute else 60.0


class KeyRing:
    """The valid API keys and who calls with each; only their SHA-256 is kept.

    Nothing is allowed before the recorded keys were read: until then `check` raises NotReady.
    """

    def __init__(
        self,
        configured: Iterable[str],
        records: Records,
        clock: Callable[[], float] = time.monotonic,
        *,
        admins: Iterable[str] = (),
        shared: SharedThrottles | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        # Each key of the settings is an owner of its own; one that is in both lists is an admin's.
        self._configured = {digest: _configured_caller(digest, USER_SCOPES) for digest in map(_sha256, configured)}
        self._configured |= {digest: _configured_caller(digest, ALL_SCOPES) for digest in map(_sha256, admins)}
        self._records = records
        self._clock = clock
        self._now = now
        self._recorded: RecordedKeys | None = None
        self._reading: asyncio.Task[RecordedKeys] | None = None
        self._use_written_at: dict[str, float] = {}
        self._rates = RequestRates(clock)
        self._wrong_keys = WrongKeys(clock)
        self._shared = shared
        """What other processes count, too; without it, and while Redis is away, this one counts by itself."""

    async def check(self, key: str) -> Caller:
        """Return who calls with a key: without any key ever created, the local user.

        Raises:
            Unauthorized: the key is missing, unknown, revoked or expired.
            TooManyWrongKeys: the address of the request has sent too many wrong ones.
            NotReady: the recorded keys cannot be read.
        """
        if not key:
            return await self._find_caller(key)
        await self.check_guesses(key)
        try:
            caller = await self._find_caller(key)
        except Unauthorized:
            await self.count_guess(key)
            raise
        if caller is not LOCAL:
            self._wrong_keys.accept(_sha256(key))
        return caller

    async def check_guesses(self, secret: str) -> None:
        """Raise TooManyWrongKeys when the address of the request must wait before it tries a key or another secret."""
        address, digest = _address(), _sha256(secret)
        self._wrong_keys.check(address, digest)
        if self._shared is not None and not self._wrong_keys.is_accepted(digest):
            with suppress(RedisError):
                raise_above_limits(*await self._shared.wrong_keys(network_of(address)))

    async def count_guess(self, secret: str) -> None:
        """Count a wrong key, or another wrong secret, against the address of the request."""
        address, digest = _address(), _sha256(secret)
        self._wrong_keys.add(address, digest)
        if self._shared is not None:
            with suppress(RedisError):
                await self._shared.add_wrong_key(network_of(address), digest, WINDOW_SECONDS)

    async def find_by_id(self, key_id: str) -> Caller | None:
        """Return who calls with the key of an id, as a stream token names it; None when it is no longer valid."""
        recorded = await self._read_recorded()
        if not self._configured and not recorded.any_created:
            return None if key_id else LOCAL
        callers = [caller for caller in self._configured.values() if caller.key_id == key_id]
        callers += [record.caller for record in recorded.valid if record.id == key_id and not self._expired(record)]
        return callers[0] if callers else None

    def _expired(self, record: ApiKeyRecord) -> bool:
        return record.expires_at is not None and record.expires_at <= self._now()

    async def _find_caller(self, key: str) -> Caller:
        recorded = await self._read_recorded()
        if not self._configured and not recorded.any_created:
            return LOCAL
        if not key:
            raise Unauthorized("An API key is needed.", hint="Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        digest = _sha256(key)
        if match := _find(self._configured, digest):
            return self._configured[match]
        by_digest = {record.key_hash: record for record in recorded.valid}
        match = _find(by_digest, digest)
        if match is None:  # another process may have created it a moment ago
            recorded = await self._read_recorded(UNKNOWN_SECONDS)
            by_digest = {record.key_hash: record for record in recorded.valid}
            match = _find(by_digest, digest)
        if match is None:
            raise Unauthorized("This API key is not known or was revoked.")
        record = by_digest[match]
        if record.expires_at is not None and self._expired(record):
            raise Unauthorized(f"This API key expired at {iso(record.expires_at)}.", hint="Ask an admin for a new one.")
        now = self._clock()
        if now - self._use_written_at.get(digest, float("-inf")) >= USE_INTERVAL_SECONDS:
            self._use_written_at[digest] = now
            await self._records.api_keys.find(key)  # writes the time of its last use
        return record.caller

    async def required(self) -> bool:
        """Return whether a request without a key is rejected; True while the keys cannot be read."""
        if self._configured:
            return True
        try:
            return (await self._read_recorded()).any_created
        except NotReady:
            return True

    async def count_request(self, caller: Caller) -> None:
        """Count a request; raise QuotaExceeded when the caller's key has sent too many within a minute."""
        per_minute = caller.quota.requests_per_minute
        if per_minute is None:
            return
        seconds: float | None = None
        if self._shared is not None:
            with suppress(RedisError):
                seconds = await self._shared.count_request(caller.key_id, per_minute)
        if seconds is None:
            seconds = self._rates.count(caller.key_id, per_minute)
        if seconds:
            raise QuotaExceeded(
                f"This API key may send {per_minute} requests a minute.", retry_after=seconds, hint="Send fewer."
            )

    def forget(self) -> None:
        """Read the recorded keys again before the next request: one was created or revoked here."""
        self._recorded = None
        self._reading = None

    async def _read_recorded(self, max_age: float = REFRESH_SECONDS) -> RecordedKeys:
        """Return the recorded keys, read at most `max_age` seconds ago; requests that wait for them share one read."""
        recorded = self._recorded
        if recorded is not None and self._clock() - recorded.read_at < max_age:
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
        valid = tuple(record for record in records if record.revoked_at is None)
        self._recorded = RecordedKeys(valid, bool(records), read_at)
        return self._recorded


def request_api_key(request: HTTPConnection) -> str:
    """Return the API key in a request's headers, or an empty string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("xi-api-key", "")  # the latter is ElevenLabs'


def _address() -> str:
    """Return the address that the request came from; empty outside of one."""
    context = current_context.get()
    return context.address if context else ""


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _configured_caller(digest: str, scopes: frozenset[Scope]) -> Caller:
    key_id = f"key-env-{digest[:12]}"
    return Caller(key_id, scopes, key_id)


def _find(digests: Iterable[str], digest: str) -> str | None:
    """Compare with every digest in constant time, so that the time of a response reveals nothing."""
    match = None
    for candidate in digests:
        if hmac.compare_digest(digest, candidate):
            match = candidate
    return match
