"""The training program of stage 1: `python -m GPT_SoVITS.gpt.train RUN.json`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.training.program import Training, run_program


def main(arguments: list[str]) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    return run_program("GPT_SoVITS.gpt.train", arguments, _begin)


def _begin(path: Path, emit: Callable[..., None], stop: threading.Event) -> Training:
    plan = GPTTrainingConfig.read(path)
    from GPT_SoVITS.gpt.trainer import GPTTrainer as GPTTraining

    return GPTTraining(plan, emit, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
