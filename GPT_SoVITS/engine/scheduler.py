"""Which utterance the device works on next: earliest due first. Knows neither networks nor threads.

A live utterance without audio is due since it was requested, one that is being played when its listener runs out of
audio; so first chunks come first, then the stream that is closest to an underrun. Work for nobody in particular comes
last, unless it has waited very long. Utterances that share a GPT advance together, a token each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

BATCH_PATIENCE_SECONDS = 60.0
"""Work for nobody in particular that has waited so long is as due as live work."""


class Phase(IntEnum):
    """What an utterance needs next. Of two that are due at the same time, the one in the lower phase goes first."""

    READY = 0
    """A slice of work of its own."""
    GENERATING = 1
    """Another step of its group."""
    WAITING = 2
    """A place in its group."""
    BLOCKED = 3
    """Nothing from the device."""


@dataclass(eq=False, slots=True)
class ScheduledUtterance:
    """An utterance as the scheduler sees it; its owner keeps it up to date."""

    group: Hashable
    """Utterances of a group share a batch."""
    live: bool
    """Whether somebody listens."""
    arrived_at: float
    """By the scheduler's clock."""
    played_until: Callable[[], float] | None = None
    """Returns when the listener will have played everything that precedes the next audio."""
    phase: Phase = Phase.BLOCKED
    in_batch: bool = False
    """Whether it has a place in its group, and gets a token in each of the group's steps."""
    generator: Hashable | None = None
    """Ready utterances that have the same one can do their slices together; None: each by itself."""
    delivered_until: float | None = None
    """When the listener will have played everything that was delivered; None before the first audio."""

    def delivered(self, now: float, seconds: float) -> None:
        """Take note of so many seconds of audio."""
        self.delivered_until = max(now, self.delivered_until or now) + seconds

    def due(self) -> float:
        """Return when the next audio is due."""
        if not self.live:
            return self.arrived_at + BATCH_PATIENCE_SECONDS
        if self.played_until is not None:
            return self.played_until()
        return self.arrived_at if self.delivered_until is None else self.delivered_until


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of work of one utterance."""

    utterance: ScheduledUtterance
    others: tuple[ScheduledUtterance, ...] = ()
    """Utterances that do a slice at the same time."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a group, before which one utterance may join."""

    group: Hashable
    joining: ScheduledUtterance | None


@dataclass(slots=True)
class Scheduler:
    """Decides what the device does next."""

    max_rows: int
    """Most utterances in a group's batch."""
    clock: Callable[[], float]
    """Seconds."""
    max_slices: int = 1
    """Most utterances that do a slice at the same time."""
    utterances: list[ScheduledUtterance] = field(default_factory=list)
    """In the order of their arrival."""
    alone: list[ScheduledUtterance] = field(default_factory=list)
    """The first of these is the only one that is scheduled: two at once need more memory than there is."""

    def add(self, utterance: ScheduledUtterance) -> None:
        """Schedule an utterance until it is removed."""
        self.utterances.append(utterance)

    def remove(self, utterance: ScheduledUtterance) -> None:
        """Forget an utterance."""
        self.utterances.remove(utterance)
        if utterance in self.alone:
            self.alone.remove(utterance)

    @property
    def awaits_first_audio(self) -> bool:
        """Whether somebody listens to an utterance without audio."""
        return any(utterance.live and utterance.delivered_until is None for utterance in self.utterances)

    def next_work(self) -> Slice | Step | None:
        """Return what to do next; None while nothing can be done."""
        now = self.clock()
        rows = Counter(utterance.group for utterance in self.utterances if utterance.in_batch)
        candidates = [
            utterance
            for utterance in (self.alone[:1] or self.utterances)
            if utterance.phase < Phase.WAITING
            or (utterance.phase is Phase.WAITING and rows[utterance.group] < self.max_rows)
        ]
        if not candidates:
            return None
        chosen = min(candidates, key=lambda utterance: _rank(utterance, now))
        if chosen.phase is Phase.READY:
            return Slice(chosen, self._beside(chosen, candidates, now))
        return Step(chosen.group, self._next_to_join(chosen.group, candidates, now))

    def _beside(
        self, chosen: ScheduledUtterance, candidates: Iterable[ScheduledUtterance], now: float
    ) -> tuple[ScheduledUtterance, ...]:
        """Return who does a slice beside one.

        A first chunk waits for no longer ones, and what somebody listens to for nothing that is for nobody.
        """
        if self.max_slices == 1 or chosen.generator is None:
            return ()
        live, first = _is_live(chosen, now), chosen.delivered_until is None
        ready = [
            utterance
            for utterance in candidates
            if utterance.phase is Phase.READY
            and utterance.generator == chosen.generator
            and _is_live(utterance, now) == live
            and (not live or (utterance.delivered_until is None) == first)
            and utterance is not chosen
        ]
        return tuple(sorted(ready, key=lambda utterance: _rank(utterance, now))[: self.max_slices - 1])

    def _next_to_join(
        self, group: Hashable, candidates: Iterable[ScheduledUtterance], now: float
    ) -> ScheduledUtterance | None:
        """Return who joins a group before its next step. One at a time: the others' next token waits for it.

        An utterance for nobody in particular waits while a first chunk, or one that is late, needs the group's steps.
        """
        members = [utterance for utterance in candidates if utterance.group == group]
        joining = [utterance for utterance in members if utterance.phase is Phase.WAITING]
        first = min(joining, key=lambda utterance: _rank(utterance, now), default=None)
        if first is not None and not _is_live(first, now):
            steps = (utterance for utterance in members if utterance.phase is Phase.GENERATING)
            if any(_is_live(utterance, now) and utterance.due() <= now for utterance in steps):
                return None
        return first


def _is_live(utterance: ScheduledUtterance, now: float) -> bool:
    return utterance.live or utterance.due() <= now


def _rank(utterance: ScheduledUtterance, now: float) -> tuple[bool, float, Phase, float]:
    return not _is_live(utterance, now), utterance.due(), utterance.phase, utterance.arrived_at
