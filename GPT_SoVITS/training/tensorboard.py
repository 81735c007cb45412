"""TensorBoard event files: losses by the step, means and audio by the epoch.

tensorboardX writes them (a few hundred kilobytes, where tensorboard itself brings a web server); without it there
are no event files, and nothing else is missing.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

logger = logging.getLogger(__name__)

FOLDER = "events"


class TensorBoardLog:
    """The event files of one training, in `events` below its output folder."""

    def __init__(self, output: Path | None, step: int = 0) -> None:
        """Prepare a log below `output`, or none where another process writes it.

        Events of an earlier run after `step` are purged.
        """
        self._output = output
        self._step = step

    def add_step(self, step: int, losses: dict[str, float]) -> None:
        """Write the losses of one step."""
        self._add("step", step, losses)

    def add_epoch(self, epoch: int, means: dict[str, float]) -> None:
        """Write the mean losses of one epoch; epochs count from 1."""
        self._add("epoch", epoch, means)

    def add_audio(self, epoch: int, name: str, wave: Tensor, rate: int) -> None:
        """Write audio (N,) in [-1, 1]."""
        if self._writer is not None:
            clipped = wave.detach().float().cpu().clamp(-1, 1)
            self._writer.add_audio(name, clipped.numpy()[:, None], epoch, sample_rate=rate)

    @property
    def enabled(self) -> bool:
        """Whether anything is written; a caller then need not synthesize audio."""
        return self._writer is not None

    def close(self) -> None:
        """Close the event file, if one was opened."""
        if self.__dict__.get("_writer") is not None and self._writer is not None:
            self._writer.close()

    @cached_property
    def _writer(self) -> SummaryWriter | None:
        """The writer, created with the first event: a training that has ended already leaves no empty file."""
        if self._output is None:
            return None
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            logger.info("tensorboardX is not installed, so there are no event files.")
            return None
        return SummaryWriter(str(self._output / FOLDER), purge_step=self._step + 1)

    def _add(self, group: str, number: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, number)
