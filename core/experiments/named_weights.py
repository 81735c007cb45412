"""Weights that parameters of stages name: ids of checkpoints, and files in the folder of models; nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common import storage_keys
from common.recognizers import INSTALL_SHERPA, can_read, recognizer_kind
from core.errors import InvalidParameter, NotFound
from core.records import Records
from core.stages.parameters import (
    DAMO_RECOGNIZER,
    DEFAULT_DISCRIMINATOR,
    DEFAULT_GENERATOR,
    UPSTREAM_MODELS_FOLDER,
)

BASE_PARAMETERS: Final = {
    "gpt": ("gpt_train", "pretrained_s1"),
    "sovits": ("sovits_train", "pretrained_s2G"),
    "discriminator": ("sovits_train", "pretrained_s2D"),
}
"""Part → the stage and its parameter that name another file for it."""
_CHECKPOINTS: Final = storage_keys.checkpoint("@").split("@")


def names_default(name: object) -> bool:
    """Return whether a name stands for the official file of the experiment's version."""
    return name is None or name in ("", DEFAULT_GENERATOR, DEFAULT_DISCRIMINATOR)


def named_checkpoint(name: str) -> str:
    """Return the id of the checkpoint that a name means, by id or by its `model_path`; empty when it means none."""
    folder, ending = _CHECKPOINTS
    if name.startswith(folder) and name.endswith(ending):
        name = name[len(folder) : -len(ending)]
    return name if name.startswith("ckpt-") and "/" not in name else ""


def find_model_file(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a name below the folder of models; None when there is none."""
    folder = folder.resolve()
    path = (folder / name.removeprefix("./").removeprefix(UPSTREAM_MODELS_FOLDER)).resolve()
    return path if path.is_relative_to(folder) and path != folder and path.exists() else None


async def check_named_weights(
    records: Records, models_folder: Path, stage: str, parameters: Mapping[str, object]
) -> None:
    """Check that the weights which parameters of a stage name are there.

    Raises:
        InvalidParameter: names the parameter, and what would work.
    """
    for part, (training, parameter) in BASE_PARAMETERS.items():
        name = parameters.get(parameter)
        if stage == training and isinstance(name, str) and not names_default(name):
            await _check_base(records, models_folder, part, f"{stage}.{parameter}", name)
    model = parameters.get("model")
    if stage == "asr" and isinstance(model, str) and model not in ("", DAMO_RECOGNIZER):
        folder = await asyncio.to_thread(find_model_file, models_folder, model)
        kind = await asyncio.to_thread(recognizer_kind, folder) if folder else None
        if kind is None:
            raise InvalidParameter(
                f"asr.model is {model!r}, which is no recognizer in the folder of models.",
                hint=f"Leave it out, or send {DAMO_RECOGNIZER!r} or the name of a folder below the data folder's "
                "`models` with a faster-whisper, SenseVoice or Paraformer model.",
                details={"parameters": ["model"]},
            )
        if not can_read(kind):
            raise InvalidParameter(
                f"asr.model is {model!r}, which needs sherpa-onnx, and that is not installed.",
                hint=f"Install it on the hosts that preprocess: {INSTALL_SHERPA}",
                details={"parameters": ["model"]},
            )


async def _check_base(records: Records, models_folder: Path, part: str, parameter: str, name: str) -> None:
    details = {"parameters": [parameter.partition(".")[2]]}
    if checkpoint_id := named_checkpoint(name):
        try:
            record = await records.checkpoints.get(checkpoint_id)
        except NotFound:
            raise InvalidParameter(
                f"{parameter} is {name!r}, which is no checkpoint.",
                hint="GET /api/v1/models lists them.",
                details=details,
            ) from None
        if record.kind != part:
            raise InvalidParameter(
                f"{parameter} is {name}, a {record.kind} model; a {part} model is needed.",
                hint="GET /api/v1/models lists them with their type.",
                details=details,
            )
        return
    path = await asyncio.to_thread(find_model_file, models_folder, name)
    if path is None or not path.is_file():
        raise InvalidParameter(
            f"{parameter} is {name!r}, which is no file in the folder of models.",
            hint="Leave it out, or name a checkpoint's id or a file below the data folder's `models`.",
            details=details,
        )
