"""The weights that a training begins from: of the right kind and version, with every tensor where it belongs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.errors import ModelError

logger = logging.getLogger(__name__)


def open_base(path: Path, kind: str, version: str) -> Checkpoint:
    """Open a base file, ours or an official one.

    Raises:
        ModelError: "wrong_base": the file is of another kind or version; and those of `open_checkpoint`.
    """
    try:
        return open_checkpoint(path, kind=kind, version=version)
    except ModelError as error:
        if error.code != "wrong_checkpoint":
            raise
        raise ModelError(
            "wrong_base", error.message, hint=f"A training begins from the {kind} of {version}, or from nothing."
        ) from error


def load_base_weights(
    model: nn.Module, state: Mapping[str, Tensor], path: Path, *, optional_prefixes: tuple[str, ...] = ()
) -> None:
    """Load a base's weights into a model, as float32, and check that all of them fit.

    Args:
        model: the network to fill.
        state: the weights of the base.
        path: the base's file, which errors name.
        optional_prefixes: parameters whose names begin so may be missing and then stay randomly initialized.

    Raises:
        ModelError: "wrong_base": a tensor is missing, unknown, or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    present = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = expected.keys() - present.keys()
    initialized = {name for name in missing if name.startswith(optional_prefixes)} if optional_prefixes else set()
    faults = [f"{name} is missing" for name in sorted(missing - initialized)]
    faults += [f"{name} is not known" for name in sorted(present.keys() - expected.keys())]
    faults += [
        f"{name} has shape {present[name]} and {expected[name]} is needed"
        for name in sorted(expected.keys() & present.keys())
        if expected[name] != present[name]
    ]
    if faults:
        others = f", and {len(faults) - 1} more tensors do not fit" if len(faults) > 1 else ""
        raise ModelError("wrong_base", f"{path.name} does not fit the model that is trained here: {faults[0]}{others}.")
    if initialized:
        logger.warning(
            "%s has no %s, which begins from random weights; a pretrained base has it.",
            path.name, " and no ".join(sorted({name.split(".")[0] for name in initialized})),
        )  # fmt: skip
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
