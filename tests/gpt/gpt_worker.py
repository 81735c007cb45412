"""One of the processes of test_gpt_distributed.py: trains whole, and in parts that another process asks for."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.training.distributed import destroy_process_group

STOP_AT = 5


class StopAt(threading.Event):
    """Set once a training has come that far."""

    training: GPTTrainer

    def is_set(self) -> bool:
        return self.training.progress.step >= STOP_AT


def train(plan: Path, *, stop: bool) -> None:
    event = StopAt() if stop else threading.Event()
    training = GPTTrainer(GPTTrainingConfig.read(plan), lambda *_, **__: None, event)
    if isinstance(event, StopAt):
        # Only one process is asked; all of them must stop, and before the same step.
        event.training = training
        training.stop = event if training.group.rank == 1 else threading.Event()
    ended = training.fit()
    assert ended is not stop
    assert not stop or training.progress.step == STOP_AT


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    train(folder / "whole.json", stop=False)
    train(folder / "parts.json", stop=True)
    train(folder / "parts.json", stop=False)
    destroy_process_group()
