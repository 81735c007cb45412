"""What is kept of graphs between requests: memory and graphs for each shape of network."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

from GPT_SoVITS.errors import is_out_of_memory
from GPT_SoVITS.graphs.replays import Replays, warn_of_failure


class GraphMemory(Protocol):
    """Static memory, and the graphs that work on it."""

    replays: Replays[Any]

    def is_in_use(self) -> bool:
        """Return whether somebody's numbers are in it, so that it cannot be forgotten."""


Shape = TypeVar("Shape", bound=Hashable)
Memory = TypeVar("Memory", bound=GraphMemory)


class GraphRegistry(Generic[Shape, Memory]):
    """The graph memory of each shape. Everything is called on the thread that owns the device."""

    def __init__(self, work: str) -> None:
        """Begin with nothing; `work` is what is done without graphs where they fail, for the warning."""
        self.work = work
        self.kept: dict[Shape, Memory] = {}
        """The least recently used first."""
        self._failed: dict[Shape, bool] = {}
        """Shapes that do without graphs, and whether only memory was missing."""

    def get(self, shape: Shape, build: Callable[[], Memory]) -> Memory | None:
        """Return what is kept for a shape; build it if it is not there; None where graphs cannot be used."""
        self._drop_failed()
        if shape in self._failed:
            return None
        memory = self.kept.pop(shape, None)
        if memory is None:
            try:
                memory = build()
            except Exception as error:
                self._failed[shape] = is_out_of_memory(error)
                warn_of_failure(error, self.work)
                return None
        self.kept[shape] = memory
        return memory

    def forget_lack_of_memory(self) -> None:
        """Let graphs be tried again where only memory was missing."""
        self._drop_failed()
        for shape in [shape for shape, lacked_memory in self._failed.items() if lacked_memory]:
            del self._failed[shape]

    def release_unused(self) -> None:
        """Forget what is not in use, with its memory."""
        for shape, memory in list(self.kept.items()):
            if not memory.is_in_use():
                memory.replays.clear()
                del self.kept[shape]

    def do_without(self, shape: Shape) -> None:
        """Forget what is kept for a shape, for want of memory."""
        self.kept.pop(shape).replays.clear()
        self._failed[shape] = True

    def _drop_failed(self) -> None:
        """Forget the memory whose graphs could not be captured, but not that they could not."""
        for shape, memory in list(self.kept.items()):
            if memory.replays.has_failed:
                self._failed[shape] = memory.replays.lacked_memory
                del self.kept[shape]
