"""Idempotency keys: a request that is sent again with its key gets the response of the first one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from core.creation import new_seed
from core.errors import Conflict, InvalidRequest
from core.jobs.queue import AsyncQueue
from core.jobs.transport import AsyncTransport, RedisCommands, command

KEEP_SECONDS: Final = 86_400
LEASE_SECONDS: Final = 30.0
"""A request that did not renew its claim for so long died with its process; the key is free then."""
MAX_KEY_LENGTH: Final = 200


class KeyUnusable(InvalidRequest):
    """An idempotency key that is too long or holds control characters."""

    code = "idempotency_key_unusable"
    status = 422


class KeyReused(InvalidRequest):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"
    status = 422


class KeyInUse(Conflict):
    """The request with this idempotency key is still under way."""

    code = "idempotency_key_in_use"


@dataclass(frozen=True, slots=True)
class RequestClaim:
    """The right of the first request with a key to do its work."""

    key: str
    nonce: str
    seed: str
    """What the ids of its creations follow from."""
    repeated: bool
    """Whether an earlier request with the key and this seed may have created something."""


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """Another request that came first with the key."""

    fingerprint: str
    """Of its body; empty while that is still being read."""
    response: str | None
    """None while it is under way."""


class IdempotencyKeys(RedisCommands[AsyncTransport]):
    """Keys in Redis, shared by all hosts."""

    def __init__(self, queue: AsyncQueue) -> None:
        super().__init__(queue.transport, queue.prefix)

    @command
    async def claim(self, key: str, fingerprint: str = "") -> RequestClaim | EarlierRequest:
        """Claim a key, or return what became of the request that has it."""
        nonce = os.urandom(8).hex()
        arguments = (key, nonce, fingerprint, LEASE_SECONDS, KEEP_SECONDS, new_seed())
        state, *values = await self._run_script("request_begin", *arguments)
        if state == "begun":
            seed, repeated = values
            return RequestClaim(key, nonce, seed, bool(int(repeated)))
        earlier_fingerprint, response = values
        return EarlierRequest(earlier_fingerprint, response if state == "done" else None)

    @command
    async def find(self, key: str) -> EarlierRequest | None:
        """Return what became of the request that has a key, without claiming it; None where none has it."""
        values = await self._run_script("request_find", key)
        if not values:
            return None
        state, fingerprint, response = values
        return EarlierRequest(fingerprint, response if state == "done" else None)

    @command
    async def renew(self, claim: RequestClaim) -> None:
        """Keep the key: the request is still under way."""
        await self._run_script("request_end", claim.key, claim.nonce, "keep", LEASE_SECONDS)

    @command
    async def store_response(
        self, claim: RequestClaim, fingerprint: str, response: str, keep_seconds: int = KEEP_SECONDS
    ) -> None:
        """End a request: whoever comes with the key within `keep_seconds` gets this response."""
        await self._run_script("request_end", claim.key, claim.nonce, "remember", fingerprint, response, keep_seconds)

    @command
    async def release(self, claim: RequestClaim) -> None:
        """Free the key of a request that failed: the next one with it goes on with what it may have created."""
        await self._run_script("request_end", claim.key, claim.nonce, "free")


def scope_key(key: str, caller: str, path: str) -> str:
    """Return the key of one caller at one path, so that the keys that different callers choose never meet."""
    return hashlib.sha256("\0".join((caller, path, key)).encode()).hexdigest()


def check_key(key: str) -> str:
    """Return the key; KeyUnusable for one that is too long or not printable."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise KeyUnusable(f"The idempotency key must have 1 to {MAX_KEY_LENGTH} printable characters.")
    return key
