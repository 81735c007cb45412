"""One of the processes of test_sovits_distributed.py: gradients of its half of a batch, and a training in parts."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import torch
from one_step import gradients_of, make_step

from GPT_SoVITS.sovits.trainer import SoVITSTrainer
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.training.distributed import destroy_process_group, init_process_group

STOP_AT = 3


class StopAt(threading.Event):
    """Set once a training has come that far."""

    training: SoVITSTrainer

    def is_set(self) -> bool:
        return self.training.progress.step >= STOP_AT


def train(plan: Path, *, stop: bool) -> None:
    event = StopAt() if stop else threading.Event()
    training = SoVITSTrainer(SoVITSTrainingConfig.read(plan), lambda *_, **__: None, event)
    if isinstance(event, StopAt):
        # Only one process is asked; all of them must stop, and before the same step.
        event.training = training
        training.stop = event if training.group.rank == 1 else threading.Event()
    assert training.fit() is not stop
    assert not stop or training.progress.step == STOP_AT


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    group = init_process_group("cpu")
    gradients = gradients_of(make_step(group), halves=[group.rank])
    if group.main:
        torch.save(gradients, folder / "gradients.pt")
    train(folder / "whole.json", stop=False)
    train(folder / "parts.json", stop=True)
    train(folder / "parts.json", stop=False)
    destroy_process_group()
