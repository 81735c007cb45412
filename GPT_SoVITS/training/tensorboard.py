"""TensorBoard event files: losses by the step, means and sound by the epoch.

tensorboardX writes them (a few hundred kilobytes, where tensorboard itself brings a web server); without it there
are no event files, and nothing else is missing.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)

FOLDER = "events"


class TensorBoardLog:
    """The event files of one training, in `events` below its output folder."""

    def __init__(self, output: Path | None, step: int = 0) -> None:
        """`output` is None where another process writes. Events of an earlier run after `step` are taken back."""
        self._output = output
        self._step = step

    def losses(self, step: int, losses: dict[str, float]) -> None:
        """One step's."""
        self._add("step", step, losses)

    def epoch(self, epoch: int, means: dict[str, float]) -> None:
        """One epoch's means; epochs count from 1."""
        self._add("epoch", epoch, means)

    def sound(self, epoch: int, name: str, wave: Tensor, rate: int) -> None:
        """wave (N,) in [-1, 1]."""
        if self._writer is not None:
            clipped = wave.detach().float().cpu().clamp(-1, 1)
            self._writer.add_audio(name, clipped.numpy()[:, None], epoch, sample_rate=rate)

    @property
    def writes(self) -> bool:
        """Whether what is given is kept; a caller spares itself the making of sounds otherwise."""
        return self._writer is not None

    def close(self) -> None:
        if self.__dict__.get("_writer") is not None:
            self._writer.close()

    @cached_property
    def _writer(self) -> Any:
        """Made for the first event: a training that only says that it has ended leaves no empty file."""
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
