"""The order of waiting jobs as it is promised, without regard to cost: a model to compare the queue with."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, zip_longest

Entry = tuple[int, str]
"""A rank (twice the priority, and one more for what returned to the front) and an owner (none in front)."""


@dataclass
class WaitingModel:
    """The waiting jobs of one role, in its list and in those of its device constraints."""

    queues: dict[str, dict[Entry, list[str]]] = field(default_factory=dict)
    turns: dict[Entry, int] = field(default_factory=dict)
    moves: int = 0

    def add(self, key: str, job: str, priority: int, owner: str, *, to_front: bool = False) -> None:
        """Add a job behind all of its priority and owner, or before all of its priority."""
        entry = (2 * priority + 1, "") if to_front else (2 * priority, owner)
        queue = self.queues.setdefault(key, {}).setdefault(entry, [])
        queue.insert(0 if to_front else len(queue), job)
        self.moves += 1
        self.turns.setdefault(entry, self.moves)

    def remove(self, key: str, job: str) -> None:
        """Remove a job that was cancelled: nobody's turn is over."""
        self._remove(key, job)

    def pop(self, key: str, job: str) -> None:
        """Remove a job that a worker took: its owner goes to the end of the row."""
        entry = self._remove(key, job)
        self.moves += 1
        if entry in self.turns:
            self.turns[entry] = self.moves

    def order(self, key: str) -> list[str]:
        """Return the jobs of a list, the next one first."""
        queues = self.queues.get(key, {})
        entries = sorted(queues, key=self._position)
        order: list[str] = []
        for _, group in groupby(entries, key=lambda entry: entry[0]):
            rounds = zip_longest(*(queues[entry] for entry in group))
            order += [job for jobs in rounds for job in jobs if job is not None]
        return order

    def next_jobs(self, keys: list[str]) -> set[tuple[str, str]]:
        """Return the jobs (list, id) of which one is next for a worker of these lists."""
        firsts = {key: min(self.queues[key], key=self._position) for key in keys if self.queues.get(key)}
        best = min(map(self._position, firsts.values()), default=None)
        return {(key, self.queues[key][entry][0]) for key, entry in firsts.items() if self._position(entry) == best}

    def _position(self, entry: Entry) -> tuple[int, int]:
        return -entry[0], self.turns[entry]

    def _remove(self, key: str, job: str) -> Entry:
        queues = self.queues[key]
        entry = next(entry for entry, jobs in queues.items() if job in jobs)
        queues[entry].remove(job)
        if not queues[entry]:
            del queues[entry]
        if not any(entry in others for others in self.queues.values()):
            del self.turns[entry]
        return entry
