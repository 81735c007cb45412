"""What all users of one queue agree on, and what all classes of its commands have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from core.jobs.transport import AnyTransport, RedisCommands
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What all users of one queue agree on."""

    prefix: str = "sovits:"
    """Of every key."""
    lease_seconds: float = 15.0
    retry_attempts: int = 3
    retry_delay_seconds: float = 5.0
    """Before the second attempt; before each further one three times as long."""
    result_ttl_seconds: float = 86_400
    memory_share: float = 1.0
    """Share of the memory of Redis above which new jobs are rejected; what runs already needs some of the rest."""

    @classmethod
    def from_settings(cls, settings: Settings, *, memory_share: float = 1.0) -> Self:
        """Return the options that the settings describe."""
        return cls(
            settings.key_prefix,
            lease_seconds=settings.lease_seconds,
            retry_attempts=settings.worker_retry_attempts,
            retry_delay_seconds=settings.worker_retry_delay_seconds,
            result_ttl_seconds=settings.result_expiry_seconds,
            memory_share=memory_share,
        )


class OptionedCommands(RedisCommands[AnyTransport]):
    """Commands that follow the options of a queue."""

    def __init__(self, transport: AnyTransport, options: QueueOptions | None = None) -> None:
        self.options = options or QueueOptions()
        super().__init__(transport, self.options.prefix)

    @property
    def _keep(self) -> int:
        """Seconds that a job is kept after its end."""
        return math.ceil(self.options.result_ttl_seconds)
