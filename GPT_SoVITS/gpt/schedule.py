"""When to update, and with which learning rate (specification s1-gpt §9.3, §11 and §14.3)."""

from __future__ import annotations

from dataclasses import dataclass

from GPT_SoVITS.gpt.loss import Compat

REFERENCE_FIRST_RATE = 0.01
REFERENCE_RATE = 0.002
REFERENCE_INTERVAL = 4


@dataclass(frozen=True, slots=True)
class UpdateSchedule:
    """An update every `update_every` batches, counted across epochs, and one with what is left at the very end."""

    epochs: int
    batches: int
    """Batches per epoch."""
    update_every: int
    learning_rate: float
    warmup_updates: int
    final_factor: float = 1.0
    """The learning rate falls linearly to this share of itself; 1 keeps it constant."""
    compat: Compat = None

    @property
    def planned_updates(self) -> int:
        """Updates of the whole training; 0 would leave the weights as they are."""
        if self.compat == "reference":
            return self.epochs * max(0, (self.batches - 1) // REFERENCE_INTERVAL)
        return -(-self.epochs * self.batches // self.update_every)

    def is_due(self, epoch: int, batch: int) -> bool:
        """Return whether an update follows this batch; both count from 0."""
        if self.compat == "reference":
            return batch > 0 and batch % REFERENCE_INTERVAL == 0
        done = epoch * self.batches + batch + 1
        return done % self.update_every == 0 or done == self.epochs * self.batches

    def rate(self, update: int) -> float:
        """Return the learning rate of an update, counted from 0."""
        if self.compat == "reference":
            return REFERENCE_FIRST_RATE if update == 0 else REFERENCE_RATE
        if update < self.warmup_updates:
            return self.learning_rate * (update + 1) / (self.warmup_updates + 1)
        falling = max(1, self.planned_updates - self.warmup_updates)
        return self.learning_rate * (1 - (1 - self.final_factor) * (update - self.warmup_updates) / falling)
