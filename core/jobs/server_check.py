"""Whether a Redis server can be used at all: what would never get better stops the start with a sentence."""

from __future__ import annotations

import re
from typing import Any, Final

from redis import exceptions

from core.errors import PermanentError
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect, is_connection_error
from core.redis_address import kind_of_url, parse_redis_url
from core.redis_server import find_redis_url
from core.settings import Settings

CHECK_SECONDS: Final = 3.0
MIN_VERSION: Final = (6, 2)
"""The first with BLMOVE."""


class RedisUnusable(PermanentError):
    """The server responds, and this configuration will never work with it."""

    code = "redis_unusable"
    status = 503


def check_redis(url: str, prefix: str) -> None:
    """Raise RedisUnusable for a wrong password, missing rights, an unknown certificate or a server that is too old.

    A server that is away is none of these: whoever needs it waits for it.
    """
    address = parse_redis_url(url)
    with connect(url, socket_seconds=CHECK_SECONDS) as client:
        queue = Queue(client, QueueOptions(prefix))
        execute: Any = client.execute_command
        try:
            client.ping()
            _check_server(execute, url)
            queue.probe()
            queue.depths()
            with client.pubsub() as subscriber:
                subscriber.subscribe(queue.key("events"))
                subscriber.get_message(timeout=CHECK_SECONDS)
        except exceptions.NoPermissionError as error:
            raise RedisUnusable(
                f"The user of REDIS_URL may not do on {address} what the queue needs: {error}.",
                hint="docs/operations.md lists the rights of its ACL.",
            ) from None
        except exceptions.RedisError as error:
            if problem := _permanent_problem(error):
                raise RedisUnusable(f"Redis on {address} cannot be used: {problem[0]}.", hint=problem[1]) from None
            if not is_connection_error(error):
                raise


def find_usable_redis(settings: Settings) -> str:
    """Return the URL of the queue server, after a check when it is not the embedded one."""
    url = find_redis_url(settings)
    if settings.resolved_redis_url:
        check_redis(url, settings.key_prefix)
    return url


def _permanent_problem(error: exceptions.RedisError) -> tuple[str, str] | None:
    """Return what is wrong and what would help; nothing for an error that passes."""
    text = str(error)
    if isinstance(error, exceptions.AuthenticationError) or re.search(r"\b(WRONGPASS|NOAUTH)\b", text):
        return f"it rejects the user name or the password ({text.rstrip('.')})", "Correct REDIS_URL."
    if "certificate verify failed" in text.lower():
        return "its certificate is not trusted", "Set REDIS_CA_FILE to the authority that signed it."
    if "unknown command" in text and "SENTINEL" in text:
        return "it is no sentinel", "redis:// names a server, redis+sentinel:// the sentinels that watch it."
    if "watches no primary named" in text:
        return text.rstrip("."), "The name of the primary follows the sentinels in REDIS_URL."
    return None


def _check_server(execute: Any, url: str) -> None:
    try:
        information = execute("INFO")
    except exceptions.NoPermissionError:
        return  # a server that keeps this to itself is not asked
    version = str(information.get("redis_version", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < MIN_VERSION:
        raise RedisUnusable(f"Redis {version} is too old.", hint="Use Redis 6.2 or newer, or Valkey.")
    is_cluster = bool(int(information.get("cluster_enabled", 0)))
    if is_cluster != (kind_of_url(url) == "cluster"):
        raise RedisUnusable(
            "This server is a node of a Redis Cluster." if is_cluster else "This server is no node of a Redis Cluster.",
            hint=f"REDIS_URL begins with redis{'+cluster' if is_cluster else ''}:// for it.",
        )
