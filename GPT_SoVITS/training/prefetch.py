"""Loading what the next step needs while the present one computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Work = TypeVar("Work")
Loaded = TypeVar("Loaded")


class Prefetcher(Generic[Work, Loaded]):
    """`load`, one call ahead of time, in a thread: reading and transforms release the interpreter.

    `load` must draw nothing from the global state of chance, or a training would not repeat itself.
    """

    def __init__(self, load: Callable[[Work], Loaded]) -> None:
        self.load = load
        self._thread = ThreadPoolExecutor(1, "loader")
        self._coming: tuple[Work, Future[Loaded]] | None = None

    def __call__(self, work: Work, following: Work | None = None) -> Loaded:
        """What `work` needs; `following` is what will be asked for next."""
        coming, self._coming = self._coming, None
        loaded = None if coming is None else coming[1].result()
        if coming is None or coming[0] is not work:
            loaded = self.load(work)
        if following is not None:
            self._coming = following, self._thread.submit(self.load, following)
        return loaded  # type: ignore[return-value]
