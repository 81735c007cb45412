"""A device that does what the scheduler decides, on a clock of its own: no networks, no waiting."""

from __future__ import annotations

from dataclasses import dataclass, field

from GPT_SoVITS.engine.scheduler import Phase, ScheduledUtterance, Scheduler, Slice, Step

FIRST_CHUNK, LATER_CHUNK = 10, 16
"""Tokens."""
TOKEN_SECONDS = 0.04
"""Of audio."""


@dataclass(frozen=True)
class Costs:
    """Seconds of work, about those of nano on one core."""

    text: float = 0.001
    join: float = 0.005
    step: float = 0.0005
    row: float = 0.0004
    chunk_token: float = 0.0015


@dataclass(eq=False)
class SimulatedUtterance:
    """An utterance of so many tokens."""

    tokens: int
    scheduled: ScheduledUtterance
    generated: int = 0
    decoded: int = 0
    converted: bool = False
    first_audio_at: float | None = None
    ended_at: float | None = None
    underruns: int = 0

    def chunk(self) -> int:
        """Return the tokens of the chunk that could be decoded now, or 0."""
        size = LATER_CHUNK if self.decoded else FIRST_CHUNK
        ready = self.generated - self.decoded
        return size if ready >= size else ready if self.generated == self.tokens else 0


@dataclass
class SimulatedDevice:
    """Utterances and the time that work on them takes."""

    max_rows: int = 32
    costs: Costs = Costs()
    now: float = 0.0
    utterances: list[SimulatedUtterance] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.max_rows, lambda: self.now)

    def submit(self, tokens: int, *, group: object = "voice", live: bool = True) -> SimulatedUtterance:
        """Add an utterance that arrives now."""
        utterance = SimulatedUtterance(tokens, ScheduledUtterance(group, live, self.now, phase=Phase.READY))
        self.utterances.append(utterance)
        self.scheduler.add(utterance.scheduled)
        return utterance

    def cancel(self, utterance: SimulatedUtterance) -> None:
        """Remove an utterance."""
        self.scheduler.remove(utterance.scheduled)
        utterance.ended_at = self.now

    def work(self) -> Slice | Step | None:
        """Do what the scheduler says."""
        work = self.scheduler.next_work()
        if isinstance(work, Slice):
            self._slice(next(u for u in self.utterances if u.scheduled is work.utterance))
        elif isinstance(work, Step):
            self._step(work)
        return work

    def run(self, until: float = float("inf")) -> None:
        """Work until there is nothing to do, or until then."""
        while self.now < until and self.work() is not None:
            pass

    @property
    def running(self) -> list[SimulatedUtterance]:
        """Those that have not ended."""
        return [utterance for utterance in self.utterances if utterance.ended_at is None]

    def _slice(self, utterance: SimulatedUtterance) -> None:
        if not utterance.converted:
            utterance.converted = True
            self.now += self.costs.text
        else:
            size = utterance.chunk()
            self.now += size * self.costs.chunk_token
            utterance.decoded += size
            if utterance.first_audio_at is None:
                utterance.first_audio_at = self.now
            elif self.now > utterance.scheduled.due():
                utterance.underruns += 1
            utterance.scheduled.delivered(self.now, size * TOKEN_SECONDS)
            if utterance.decoded == utterance.tokens:
                utterance.ended_at = self.now
                self.scheduler.remove(utterance.scheduled)
                return
        self._update(utterance)

    def _step(self, step: Step) -> None:
        if step.joining is not None:
            step.joining.in_batch = True
            self.now += self.costs.join
        rows = [u for u in self.running if u.scheduled.group == step.group and u.scheduled.in_batch]
        assert len(rows) <= self.max_rows
        self.now += self.costs.step + len(rows) * self.costs.row
        for utterance in rows:
            utterance.generated += 1
            utterance.scheduled.in_batch = utterance.generated < utterance.tokens
            self._update(utterance)

    def _update(self, utterance: SimulatedUtterance) -> None:
        if utterance.chunk():
            phase = Phase.READY
        elif utterance.scheduled.in_batch:
            phase = Phase.GENERATING
        else:
            phase = Phase.BLOCKED if utterance.generated else Phase.WAITING
        utterance.scheduled.phase = phase
