"""What decoders make of a model's weights, kept until the weights change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from GPT_SoVITS.gpt.model import Text2Semantic

Value = TypeVar("Value")


class WeightCache(Generic[Value]):
    """Values per model and key; thread-safe, and no reason for a model to stay in memory."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[Text2Semantic, _ModelEntries[Value]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self, model: Text2Semantic, key: str, make: Callable[[], Value]) -> Value:
        """Return the value of a model, made again when one of its weights was changed or replaced.

        Who asks for the value of another model does not wait for it.
        """
        parameters = list(model.parameters())
        with self._lock:
            cached = self._models.setdefault(model, _ModelEntries())
        with cached.lock:
            entry = cached.entries.get(key)
            if entry is None or not entry.is_current(parameters):
                entry = cached.entries[key] = _Entry([_stamp(p) for p in parameters], make())
            return entry.value

    def values(self, model: Text2Semantic) -> list[Value]:
        """Return what is there of a model, whether or not its weights were changed since."""
        with self._lock:
            cached = self._models.get(model)
        return [] if cached is None else [entry.value for entry in list(cached.entries.values())]


_Stamp = tuple[Tensor, int, int]


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    stamps: list[_Stamp]
    """The tensors are kept, so that nothing else can be allocated at their addresses."""
    value: Value

    def is_current(self, parameters: Sequence[Tensor]) -> bool:
        return len(parameters) == len(self.stamps) and all(
            parameter is old[0] and _stamp(parameter)[1:] == old[1:] for parameter, old in zip(parameters, self.stamps)
        )


@dataclass(frozen=True, slots=True)
class _ModelEntries(Generic[Value]):
    """The values of one model, by their keys."""

    entries: dict[str, _Entry[Value]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _stamp(tensor: Tensor) -> _Stamp:
    return tensor, tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version
