"""Cancels as they are announced: a job stops at once, and not at the next heartbeat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import redis

from core.redis import is_connection_error

logger = logging.getLogger(__name__)

READ_SECONDS: Final = 1.0
"""One read lasts at most so long, so that the end of the thread is noticed."""
RECONNECT_SECONDS: Final = 1.0


class CancelListener(threading.Thread):
    """Calls a function with the id of every job whose cancel is announced. While Redis is away, heartbeats notice."""

    def __init__(self, client: redis.Redis, channel: str, on_cancel: Callable[[str], None]) -> None:
        super().__init__(name="cancels", daemon=True)
        self._pubsub: Callable[..., Any] = client.pubsub
        self._channel = channel
        self._on_cancel = on_cancel
        self._ended = threading.Event()

    def end(self) -> None:
        """End the thread soon; it is not waited for."""
        self._ended.set()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(self._channel)
                    while not self._ended.is_set():
                        message = subscription.get_message(timeout=READ_SECONDS)
                        if message is not None and not self._ended.is_set():
                            self._on_cancel(str(message["data"]))
            except Exception as error:
                if self._ended.is_set():
                    return
                if not is_connection_error(error):
                    logger.exception("Cancels are noticed by heartbeats only.")
                self._ended.wait(RECONNECT_SECONDS)
