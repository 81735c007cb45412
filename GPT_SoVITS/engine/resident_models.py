"""Voices, prompts and the networks around them in memory, within a budget of bytes."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from GPT_SoVITS.synthesis.model_store import memory_of

Model = TypeVar("Model")


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """Something that is in memory."""

    kind: str
    key: Hashable
    name: str
    bytes: int
    """Shared memory counts in full."""
    idle_seconds: float


@dataclass(slots=True)
class _Entry:
    model: object
    name: str
    pieces: dict[Hashable, int]
    used_at: float


class ResidentModels:
    """A `ModelStore` that forgets what was least recently used. Thread-safe.

    Something that is forgotten while it is in use is found again as long as that lasts, and is not loaded twice.
    """

    def __init__(
        self,
        budget: int,
        *,
        on_release: Callable[[], object] = lambda: None,
        on_change: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing.

        Args:
            budget: Bytes that are kept at most; the newest of each kind stays in any case.
            on_release: Called after something was forgotten.
            on_change: Called after something was loaded or forgotten.
            clock: Seconds.
        """
        self.budget = budget
        self._on_release = on_release
        self._on_change = on_change
        self._clock = clock
        self._entries: OrderedDict[tuple[str, Hashable], _Entry] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[str, Hashable], object] = WeakValueDictionary()
        self._users: Counter[Hashable] = Counter()
        """Entries that have a piece of memory."""
        self._pieces: dict[Hashable, int] = {}
        self._lock = threading.Lock()
        self._loading: WeakValueDictionary[tuple[str, Hashable], threading.Lock] = WeakValueDictionary()
        """As long as somebody loads a model, or waits for it."""

    @property
    def bytes(self) -> int:
        """What all of it occupies; shared memory counts once."""
        with self._lock:
            return sum(self._pieces.values())

    def get(self, kind: str, key: Hashable, load: Callable[[], Model], *, name: str = "") -> Model:
        """Return what is kept under a key; load it when it is not there."""
        entry = self._touch((kind, key))
        if entry is not None:
            return cast(Model, entry.model)
        with self._loading_lock((kind, key)):
            entry = self._touch((kind, key))
            if entry is not None:
                return cast(Model, entry.model)
            alive = self._find_alive((kind, key))
            model = load() if alive is None else cast(Model, alive)
            released = self._add((kind, key), model, name)
        if released:
            self._on_release()
        self._on_change()
        return model

    def share(self, kind: str, key: Hashable, load: Callable[[], Model]) -> Model:
        """Return a part of something that is kept; load it when nothing has it."""
        with self._loading_lock((kind, key)):
            alive = self._find_alive((kind, key))
            if alive is not None:
                return cast(Model, alive)
            model = load()
            with self._lock:
                self._alive[kind, key] = model
            return model

    def drop(self, kind: str) -> bool:
        """Forget everything of a kind; return whether there was anything."""
        return self._forget([key for key in list(self._entries) if key[0] == kind])

    def tidy(self, idle_seconds: float) -> None:
        """Forget what was not used for so long."""
        oldest = self._clock() - idle_seconds
        self._forget([key for key, entry in list(self._entries.items()) if entry.used_at <= oldest])

    def clear(self) -> None:
        """Forget everything."""
        self._forget(list(self._entries))

    def snapshot(self) -> list[ResidentModel]:
        """Return what is in memory, the most recently used first."""
        with self._lock:
            now = self._clock()
            return [
                ResidentModel(kind, key, entry.name, sum(entry.pieces.values()), now - entry.used_at)
                for (kind, key), entry in reversed(self._entries.items())
            ]

    def __len__(self) -> int:
        return len(self._entries)

    def _loading_lock(self, key: tuple[str, Hashable]) -> threading.Lock:
        with self._lock:
            return self._loading.setdefault(key, threading.Lock())

    def _touch(self, key: tuple[str, Hashable]) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.used_at = self._clock()
                self._entries.move_to_end(key)
            return entry

    def _find_alive(self, key: tuple[str, Hashable]) -> object | None:
        with self._lock:
            return self._alive.get(key)

    def _add(self, key: tuple[str, Hashable], model: object, name: str) -> bool:
        """Keep a model and return whether others had to go."""
        pieces = memory_of(model)
        with self._lock:
            self._entries[key] = _Entry(model, name, pieces, self._clock())
            if hasattr(model, "__weakref__"):
                self._alive[key] = model
            self._users.update(pieces.keys())
            self._pieces |= pieces
            released = False
            newest = {kind: (kind, other) for kind, other in self._entries}
            for oldest in list(self._entries):
                if sum(self._pieces.values()) <= self.budget:
                    break
                if newest[oldest[0]] != oldest:
                    self._remove(oldest)
                    released = True
            return released

    def _forget(self, keys: list[tuple[str, Hashable]]) -> bool:
        with self._lock:
            present = [key for key in keys if key in self._entries]
            for key in present:
                self._remove(key)
        if present:
            self._on_release()
            self._on_change()
        return bool(present)

    def _remove(self, key: tuple[str, Hashable]) -> None:
        entry = self._entries.pop(key)
        self._users.subtract(entry.pieces.keys())
        for piece in entry.pieces:
            if self._users[piece] <= 0:
                del self._users[piece], self._pieces[piece]
