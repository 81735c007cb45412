"""Requests and wrong keys counted in Redis, for all processes of the API, on all hosts, together."""

from __future__ import annotations

import hashlib
from typing import Final

from redis.asyncio import Redis

_COUNT_REQUEST: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local per_minute = tonumber(ARGV[1])
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, at = tonumber(kept[1]) or per_minute, tonumber(kept[2]) or now
left = math.min(per_minute, left + math.max(0, now - at) * per_minute / 60)
local allowed = left >= 1
if allowed then left = left - 1 end
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], 120000)
if allowed then return '' end
return tostring((1 - left) * 60 / per_minute)
"""
_ADD_WRONG_KEY: Final = """
if redis.call('HSETNX', KEYS[1], ARGV[1], 1) == 1 then redis.call('HINCRBY', KEYS[1], 'different', 1) end
redis.call('HINCRBY', KEYS[1], 'count', 1)
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""


class SharedThrottles:
    """What all processes of the API have counted; every method may raise RedisError."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._count_request = redis.register_script(_COUNT_REQUEST)
        self._add_wrong_key = redis.register_script(_ADD_WRONG_KEY)

    async def count_request(self, key_id: str, per_minute: int) -> float:
        """Count a request of a key; return 0 when it is allowed, else the seconds until the next one is."""
        key = f"{self._prefix}requests:{key_id}"
        wait = await self._count_request(keys=[key], args=[max(per_minute, 1e-9)])
        return float(wait) if wait else 0.0

    async def add_wrong_key(self, network: str, digest: str, window_seconds: float) -> None:
        """Count a wrong key that came from a network."""
        args: list[str | int] = [f"key:{digest[:16]}", round(window_seconds * 1000)]
        await self._add_wrong_key(keys=[self._wrong_keys(network)], args=args)

    async def wrong_keys(self, network: str) -> tuple[int, int, float]:
        """Return the different wrong keys of a network, all attempts with such keys, and the seconds until both end."""
        key = self._wrong_keys(network)
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(key, ["different", "count"])
            pipeline.pttl(key)
            (different, count), left_ms = await pipeline.execute()
        return int(different or 0), int(count or 0), max(0.0, left_ms / 1000)

    def _wrong_keys(self, network: str) -> str:
        return f"{self._prefix}wrong-keys:{hashlib.sha256(network.encode()).hexdigest()[:32]}"
