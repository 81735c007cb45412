"""The state of a training that is to be resumed."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from common.files import atomic_path
from GPT_SoVITS.checkpoints.pretrained import DAMAGE

logger = logging.getLogger(__name__)


def save_resume(path: Path, state: Mapping[str, object]) -> None:
    """Write a training state so that `path` holds either the old one or the new one, never a torn one."""
    with atomic_path(path, durable=True) as temporary:
        torch.save(state, temporary)


def load_resume(path: Path) -> dict[str, Any] | None:
    """Read the state of an earlier run; None where there is none.

    A file that cannot be read is kept beside it as `<name>.unreadable`, and the log says so.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGE, pickle.UnpicklingError) as error:
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        logger.warning("The training state %s cannot be read (%s); it was set aside as %s.", path, error, aside.name)
        return None
    return state
