"""The training program of all networks: `python -m GPT_SoVITS.train RUN.json`.

RUN.json names a trainer of `TRAINERS` and holds the entries of its config.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.programs import TRAINING, program_command
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training import rank_environment
from GPT_SoVITS.training.control import TrainingControl
from GPT_SoVITS.training.program import run_program
from GPT_SoVITS.training.ranks import run_ranks

if TYPE_CHECKING:
    from GPT_SoVITS.training.trainer import BaseTrainer, Emit

TRAINERS = ("gpt", "sovits", "flow_matching")


def main(arguments: Sequence[str]) -> int:
    """Run one training to its end, in as many processes as its RUN.json says, and return the exit code."""
    if len(arguments) == 1 and rank_environment.WORLD_SIZE not in os.environ:
        processes = process_count(Path(arguments[0]))
        if processes > 1:
            return run_ranks(program_command(TRAINING, *arguments), processes)
    return run_program("python -m GPT_SoVITS.train RUN.json", arguments, create_trainer)


def process_count(path: Path) -> int:
    """Return how many processes a RUN.json asks for; 1 where that cannot be read, which its trainer will explain."""
    try:
        count = json.loads(path.read_text(encoding="utf-8"))["processes"]
    except (OSError, ValueError, KeyError, TypeError):
        return 1
    return count if isinstance(count, int) and not isinstance(count, bool) else 1


def create_trainer(path: Path, emit: Emit, stop: TrainingControl) -> BaseTrainer[Any]:
    """Set up the trainer that a RUN.json describes.

    Raises:
        ModelError: "bad_plan": the file cannot be used; and those of the trainer's constructor.
    """
    trainer = trainer_name(path)
    # The config is read before torch is imported, so that a mistake in it shows at once.
    if trainer == "gpt":
        from GPT_SoVITS.gpt.training_config import GPTTrainingConfig

        gpt_config = GPTTrainingConfig.read(path)
        from GPT_SoVITS.gpt.trainer import GPTTrainer

        return GPTTrainer(gpt_config, emit, stop)
    if trainer == "sovits":
        from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig

        sovits_config = SoVITSTrainingConfig.read(path)
        from GPT_SoVITS.sovits.trainer import SoVITSTrainer

        return SoVITSTrainer(sovits_config, emit, stop)
    from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig

    flow_config = FlowMatchingTrainingConfig.read(path)
    from GPT_SoVITS.flow_matching.trainer import FlowMatchingTrainer

    return FlowMatchingTrainer(flow_config, emit, stop)


def trainer_name(path: Path) -> str:
    """Return the trainer that a RUN.json names.

    Files of the previous release name none, as each trainer had a program of its own; the entries that only one trainer
    has decide then.

    Raises:
        ModelError: "bad_plan": the file is not readable, or its trainer is unknown.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise ModelError("bad_plan", f"The plan {path} cannot be used: {error}.") from error
    name = content.get("trainer")
    if name is None:
        if content.get("version") in ("v3", "v4") and "dpo" not in content:
            name = "flow_matching"
        elif "dpo" in content:
            name = "gpt"
        elif content.keys() & {"base_discriminator", "text_low_lr_rate", "grad_ckpt"}:
            name = "sovits"
    if name not in TRAINERS:
        raise ModelError(
            "bad_plan",
            f"The plan {path} names the trainer {name!r}; {', '.join(TRAINERS)} work.",
            hint='For example: {"trainer": "gpt", …}.',
        )
    return str(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
