"""The training program of v3 and v4: `python -m GPT_SoVITS.flow_matching.train RUN.json`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.training.program import Training, run_program


def main(arguments: list[str]) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    return run_program("GPT_SoVITS.flow_matching.train", arguments, _begin)


def _begin(path: Path, emit: Callable[..., None], stop: threading.Event) -> Training:
    plan = FlowMatchingTrainingConfig.read(path)
    from GPT_SoVITS.flow_matching.trainer import FlowMatchingTrainer as FlowTraining

    return FlowTraining(plan, emit, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
