"""A trainer whose training program is `held_training`, for worker processes."""

from __future__ import annotations

import common.programs
import roles.training.train
from roles.trainer import Trainer


class HeldTrainer(Trainer):
    """Runs the held program."""

    def run(self, job, context):  # type: ignore[no-untyped-def]
        setattr(common.programs, "PROGRAMS", ("held_training",))  # noqa: B010  # both are final
        setattr(roles.training.train, "TRAINING", "held_training")  # noqa: B010
        return super().run(job, context)
