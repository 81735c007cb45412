"""The training program of stage 1, held at a step until it is asked something, or short of memory; for tests."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import torch

from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.train import main
from GPT_SoVITS.training import trainer
from GPT_SoVITS.training.control import TrainingControl

HOLD = int(os.environ.get("TEST_HOLD_AT_STEP", "0"))
DEAF = "TEST_DEAF" in os.environ
LARGEST_BATCH = int(os.environ.get("TEST_LARGEST_BATCH", "1000"))
LARGEST_RECOMPUTED = int(os.environ.get("TEST_LARGEST_RECOMPUTED", "1000"))
"""The largest batch with `grad_ckpt`."""
FASTEST = os.environ.get("TEST_FASTEST_PRECISION", "fp32")
"""What a training takes that may choose: what is faster here changes with what else runs."""

run_step, step = GPTTrainer._run_step, GPTTrainer.step


def held_step(self: GPTTrainer, *work: Any) -> None:
    run_step(self, *work)
    if self.progress.step != HOLD:
        return
    if DEAF:
        threading.Event().wait()
    assert isinstance(self.stop, TrainingControl)
    while not (self.stop.is_set() or self.stop.after_epoch.is_set()):
        self.stop.wait(0.05)  # a signal's handler runs between two of these


def costly_step(self: GPTTrainer, work: list[Any], following: list[Any] | None) -> Any:
    if self.config.batch_size > (LARGEST_RECOMPUTED if self.config.grad_ckpt else LARGEST_BATCH):
        raise torch.OutOfMemoryError(f"a batch of {self.config.batch_size}")
    return step(self, work, following)


GPTTrainer._run_step = held_step  # type: ignore[method-assign,assignment]
GPTTrainer.step = costly_step  # type: ignore[method-assign]
trainer.choose_precision = lambda setting, *_: FASTEST if setting == "auto" else setting

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
