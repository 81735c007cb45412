"""The slots of a worker process: each holds one job and is a worker to the queue, with an id of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from core.jobs.job import Lease


class Slots:
    """Runs jobs at once, each in a thread of its own; with one slot, in the thread that claimed it."""

    def __init__(self, worker_ids: Sequence[str], process: Callable[[Lease], None]) -> None:
        """`process` runs a claimed job to its end and does not raise."""
        self.worker_ids = worker_ids
        self._process = process
        self._free = deque(worker_ids)
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(len(worker_ids), "slot") if len(worker_ids) > 1 else None

    @property
    def busy(self) -> int:
        """How many hold a job, or are about to."""
        return len(self.worker_ids) - len(self._free)

    def take(self, seconds: float) -> str | None:
        """Return the id of a free slot, to claim a job for it; None when all were busy for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._free, seconds)
            return self._free.popleft() if self._free else None

    def put_back(self, worker_id: str) -> None:
        """Make a slot free again."""
        with self._changed:
            self._free.appendleft(worker_id)
            self._changed.notify_all()

    def run(self, lease: Lease) -> None:
        """Run the job that was claimed for a slot."""
        if self._threads is None:
            self._run(lease)
        else:
            self._threads.submit(self._run, lease)

    def wait(self) -> None:
        """Wait until no slot holds a job."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._free) == len(self.worker_ids))

    def _run(self, lease: Lease) -> None:
        try:
            self._process(lease)
        finally:
            self.put_back(lease.worker_id)
