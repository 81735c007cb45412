"""What a caller of upstream's API has chosen for its next requests: checkpoints and a reference recording.

Upstream keeps these for its whole process. Here they are the caller's (its API key's, else its address's), lie in
Redis, where all API processes find them, and are forgotten after a while.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import QueueUnavailable

SESSION_SECONDS: Final = 86_400
"""After the last request that read or changed it."""


class CallerSession(BaseModel):
    """The choices of one caller; an empty string is none."""

    model_config = ConfigDict(frozen=True)

    gpt_checkpoint_id: str = ""
    sovits_checkpoint_id: str = ""
    reference: str = ""
    """A path, as `ReferenceService.find` reads it."""
    reference_text: str = ""
    reference_language: str = ""


class CallerSessions:
    """Reads and writes the choices of callers."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}session:"

    async def get(self, identity: str) -> CallerSession:
        """Return what a caller has chosen, and remember it for as long again."""
        key = self._key(identity)
        try:
            value = await self._redis.get(key)
            if value is not None:
                await self._redis.expire(key, SESSION_SECONDS)
        except RedisError as error:
            raise QueueUnavailable("Redis does not answer, so your choices are unknown.", hint="Try again.") from error
        try:
            return CallerSession() if value is None else CallerSession.model_validate_json(value)
        except ValidationError:
            return CallerSession()

    async def update(self, identity: str, **choices: str) -> CallerSession:
        """Change some choices of a caller."""
        session = (await self.get(identity)).model_copy(update=choices)
        try:
            await self._redis.set(self._key(identity), session.model_dump_json(), ex=SESSION_SECONDS)
        except RedisError as error:
            raise QueueUnavailable("Redis does not answer, so nothing can be chosen.", hint="Try again.") from error
        return session

    def _key(self, identity: str) -> str:
        return self._prefix + hashlib.sha256(identity.encode(errors="replace")).hexdigest()
