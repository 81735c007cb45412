"""A cache of training items in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Generic, TypeVar

from torch import Tensor

from GPT_SoVITS.errors import ModelError

CACHE_BYTES = 2 << 30
"""Of items that are kept in memory; others are loaded again each time."""

Item = TypeVar("Item")


class ItemCache(Generic[Item]):
    """Keeps loaded items, dataclasses of tensors, by name as long as they fit; several threads may ask for them."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._free_bytes = max_bytes
        self._lock = threading.Lock()
        self._items: dict[str, Item] = {}

    def get(self, name: str, load: Callable[[], Item]) -> Item:
        """Return a cached item, or load it. Raises ModelError("bad_training_item") with the reason."""
        if name in self._items:
            return self._items[name]
        try:
            item = load()
        except (OSError, RuntimeError, ValueError, ModelError) as error:
            raise ModelError("bad_training_item", f"{name} cannot be used: {error}") from error
        size = item_bytes(item)
        with self._lock:
            if size <= self._free_bytes and name not in self._items:
                self._free_bytes -= size
                self._items[name] = item
        return item


def item_bytes(item: object) -> int:
    """Return the memory of a dataclass of tensors."""
    values = [getattr(item, entry.name) for entry in fields(item)]  # type: ignore[arg-type]  # a dataclass, as said
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))
