"""Loading the data of the next step while the current one computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Work = TypeVar("Work")
Loaded = TypeVar("Loaded")


class Prefetcher(Generic[Work, Loaded]):
    """A loader that works one call ahead, in a thread: reading and transforms release the interpreter lock.

    `load` must not draw from the global random generator, or a training would not be reproducible.
    """

    def __init__(self, load: Callable[[Work], Loaded]) -> None:
        self.load = load
        self._executor = ThreadPoolExecutor(1, "loader")
        self._pending: tuple[Work, Future[Loaded]] | None = None

    def __call__(self, work: Work, following: Work | None = None) -> Loaded:
        """Return the data of `work`, and begin to load those of `following`, the argument of the next call."""
        pending, self._pending = self._pending, None
        # A load that was begun is waited for even where it is not used: two at once would contend.
        prefetched = None if pending is None else (pending[0], pending[1].result())
        loaded = prefetched[1] if prefetched is not None and prefetched[0] is work else self.load(work)
        if following is not None:
            self._pending = following, self._executor.submit(self.load, following)
        return loaded
