"""Idempotency keys: a request that is sent again with its key gets the answer of the first one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Conflict, InvalidRequest
from core.jobs.queue import AsyncQueue
from core.jobs.queue_commands import Call, load_script

KEEP_SECONDS: Final = 86_400
LEASE_SECONDS: Final = 30.0
"""A request that did not renew its claim for so long died with its process; the key is free then."""
LONGEST_KEY: Final = 200


class KeyReused(InvalidRequest):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"
    status = 422


class KeyInUse(Conflict):
    """The request with this idempotency key is still under way."""

    code = "idempotency_key_in_use"


@dataclass(frozen=True, slots=True)
class Claim:
    """This request is the first with its key, and the one that works."""

    key: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Known:
    """Another request with the key came first."""

    fingerprint: str
    """Of its body; empty while that is still being read."""
    answer: str | None
    """None while it is under way."""


class Idempotency:
    """Keys in Redis, shared by all hosts."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue

    async def begin(self, key: str, fingerprint: str = "") -> Claim | Known:
        """Claim a key, or learn what became of it. QueueUnavailable while Redis is away."""
        nonce = os.urandom(8).hex()
        found = await self._run("request_begin", key, nonce, fingerprint, LEASE_SECONDS, KEEP_SECONDS)
        if found == "begun":
            return Claim(key, nonce)
        state, known_fingerprint, answer = found
        return Known(known_fingerprint, answer if state == "done" else None)

    async def keep(self, claim: Claim) -> None:
        """The request is still under way."""
        await self._run("request_end", claim.key, claim.nonce, "keep", LEASE_SECONDS)

    async def remember(self, claim: Claim, fingerprint: str, answer: str) -> None:
        """Whoever comes with the key within 24 h gets this answer."""
        await self._run("request_end", claim.key, claim.nonce, "remember", fingerprint, answer, KEEP_SECONDS)

    async def forget(self, claim: Claim) -> None:
        """The request made nothing: the next one with the key may try."""
        await self._run("request_end", claim.key, claim.nonce, "forget")

    async def _run(self, script: str, *arguments: Any) -> Any:
        prefix = self._queue.transitions.prefix
        return await self._queue.run(Call((1, prefix, *arguments), lambda answer: answer, load_script(script)))


def scoped(key: str, caller: str, path: str) -> str:
    """The key of this caller at this path: two callers who choose the same key never meet."""
    return hashlib.sha256("\0".join((caller, path, key)).encode()).hexdigest()


def check_key(key: str) -> str:
    """The key itself; InvalidRequest for one that is too long or holds what nobody can type."""
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise KeyUnusable(f"The idempotency key must have 1 to {LONGEST_KEY} printable characters.")
    return key


class KeyUnusable(InvalidRequest):
    """A key that cannot be one."""

    code = "idempotency_key_unusable"
    status = 422
