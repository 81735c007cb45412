"""The files that a training begins from: of the right kind and version, and with every tensor in its place."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor, nn

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.errors import ModelError

logger = logging.getLogger(__name__)


def open_base(path: Path, kind: str, version: str) -> Checkpoint:
    """Ours or an official file. Raises ModelError("wrong_base") for one of another kind or version; what is no
    checkpoint at all raises as `open_checkpoint` does."""
    try:
        return open_checkpoint(path, kind=kind, version=version)
    except ModelError as error:
        if error.code != "wrong_checkpoint":
            raise
        raise ModelError(
            "wrong_base", error.message, hint=f"A training begins from the {kind} of {version}, or from nothing."
        ) from error


def load_base_weights(
    model: nn.Module, state: dict[str, Tensor], path: Path, *, may_lack: tuple[str, ...] = ()
) -> None:
    """Load strictly, but for names that begin with one of `may_lack` and then begin from chance.

    `path` is named in ModelError("wrong_base"), which says what was expected and what was found.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = wanted.keys() - found.keys()
    begun = {name for name in missing if name.startswith(may_lack)} if may_lack else set()
    faults = [f"{name} is missing" for name in sorted(missing - begun)]
    faults += [f"{name} is not known" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{name} has shape {found[name]} and {wanted[name]} is needed"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    if faults:
        others = f", and {len(faults) - 1} more tensors do not fit" if len(faults) > 1 else ""
        raise ModelError("wrong_base", f"{path.name} does not fit the model that is trained here: {faults[0]}{others}.")
    if begun:
        logger.warning(
            "%s has no %s, which begins from chance; a pretrained base has it.",
            path.name, " and no ".join(sorted({name.split(".")[0] for name in begun})),
        )  # fmt: skip
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
