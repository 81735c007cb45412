"""Models that stay loaded from one job to the next, within a limit of memory and of idle time."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from common.operating_system import resident_memory_mb
from core.settings import Settings

logger = logging.getLogger(__name__)

Model = TypeVar("Model")


@dataclass(slots=True)
class _Entry:
    model: Any
    used_at: float


class ModelCache:
    """A cache of loaded models, least recently used first out. Not thread-safe."""

    def __init__(
        self,
        *,
        max_resident_mb: float = float("inf"),
        keep_seconds: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        resident_mb: Callable[[], float] | None = None,
    ) -> None:
        """`max_resident_mb`: while the process takes more memory (MiB), only the model in use stays."""
        self.max_resident_mb = max_resident_mb
        self.keep_seconds = keep_seconds
        self._clock = clock
        self._resident_mb = resident_mb or resident_memory_mb
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return an empty cache with the limits of the settings."""
        return cls(max_resident_mb=settings.preprocessor_memory_mb, keep_seconds=settings.preprocessor_warm_seconds)

    def get(self, key: Hashable, load: Callable[[], Model]) -> Model:
        """Return the model under `key`; load it when it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            self._make_room()
            started = time.monotonic()
            entry = self._entries[key] = _Entry(load(), 0.0)
            logger.info("Loaded %s in %.1f s.", key, time.monotonic() - started)
        entry.used_at = self._clock()
        self._entries.move_to_end(key)
        self._make_room(keep=1)
        model: Model = entry.model
        return model

    def tidy(self) -> None:
        """Drop the models that were not used for `keep_seconds`."""
        oldest = self._clock() - self.keep_seconds
        stale = [key for key, entry in self._entries.items() if entry.used_at <= oldest]
        for key in stale:
            del self._entries[key]
        if stale:
            release_memory()
            logger.info("Forgot %d models that were not used for %.0f s.", len(stale), self.keep_seconds)

    def clear(self) -> None:
        """Drop all models."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _make_room(self, keep: int = 0) -> None:
        while len(self._entries) > keep and self._resident_mb() > self.max_resident_mb:
            self._entries.popitem(last=False)
            release_memory()


def file_version(path: Path) -> tuple[str, int]:
    """Return a part of a cache key that changes when the file or folder is replaced."""
    return str(path), path.stat().st_mtime_ns


def release_memory() -> None:
    """Return freed memory to the system and to CUDA; the allocators would keep it."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
