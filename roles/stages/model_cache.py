"""Models that stay loaded from one job to the next, as far as memory goes, and not for ever."""

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
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Model = TypeVar("Model")


@dataclass(slots=True)
class _Loaded:
    model: Any
    used_at: float


class WarmModels:
    """What was used last stays longest. For one thread."""

    def __init__(
        self,
        *,
        most_mb: float = float("inf"),
        keep_seconds: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        resident_mb: Callable[[], float] | None = None,
    ) -> None:
        """`most_mb`: while the process takes more, no model stays but the one in use."""
        self.most_mb = most_mb
        self.keep_seconds = keep_seconds
        self._clock = clock
        self._resident_mb = resident_mb or resident_memory_mb
        self._loaded: OrderedDict[Hashable, _Loaded] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], Model]) -> Model:
        """The model of that key, loaded when it is not there."""
        found = self._loaded.get(key)
        if found is None:
            self._make_room()
            started = time.monotonic()
            found = self._loaded[key] = _Loaded(load(), 0.0)
            logger.info("Loaded %s in %.1f s.", key, time.monotonic() - started)
        found.used_at = self._clock()
        self._loaded.move_to_end(key)
        self._make_room(keep=1)
        model: Model = found.model
        return model

    def tidy(self) -> None:
        """Forget what nobody used for `keep_seconds`."""
        oldest = self._clock() - self.keep_seconds
        stale = [key for key, one in self._loaded.items() if one.used_at <= oldest]
        for key in stale:
            del self._loaded[key]
        if stale:
            give_memory_back()
            logger.info("Forgot %d models that were not used for %.0f s.", len(stale), self.keep_seconds)

    def clear(self) -> None:
        self._loaded.clear()

    def __len__(self) -> int:
        return len(self._loaded)

    def _make_room(self, keep: int = 0) -> None:
        while len(self._loaded) > keep and self._resident_mb() > self.most_mb:
            self._loaded.popitem(last=False)
            give_memory_back()


def stamp(path: Path) -> tuple[str, int]:
    """A file or folder as a part of a key: another one when it was replaced."""
    return str(path), path.stat().st_mtime_ns


def give_memory_back() -> None:
    """Return to the system what no object uses any more; the allocators would keep it."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def resident_memory_mb() -> float:
    """What this process takes, MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0.0
