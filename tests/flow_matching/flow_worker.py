"""One of the processes of test_flow_matching_distributed.py: an update from its half of a batch, then a training."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import torch
from tiny_flow import learned

from GPT_SoVITS.flow_matching.trainer import FlowMatchingTrainer
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.training.distributed import destroy_process_group, init_process_group

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    group = init_process_group("cpu")
    weights = learned(slice(2 * group.rank, 2 * group.rank + 2), group)
    if group.main:
        torch.save(weights, folder / "weights.pt")
    training = FlowMatchingTrainer(
        FlowMatchingTrainingConfig.read(folder / "run.json"), lambda *_, **__: None, threading.Event()
    )
    assert training.fit()
    torch.save(dict(training.optimizer_step.trained), folder / f"trained-{group.rank}.pt")
    destroy_process_group()
