"""The training program of stage 2: `python -m GPT_SoVITS.sovits.train RUN.json`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.training.program import Training, run_program


def main(arguments: list[str]) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    return run_program("GPT_SoVITS.sovits.train", arguments, _begin)


def _begin(path: Path, emit: Callable[..., None], stop: threading.Event) -> Training:
    plan = SoVITSTrainingConfig.read(path)
    from GPT_SoVITS.sovits.trainer import SoVITSTrainer as SoVITSTraining

    return SoVITSTraining(plan, emit, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
