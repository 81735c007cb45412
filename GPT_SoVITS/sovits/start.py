"""Where a training of stage 2 begins: the recipe, and both models filled from their base files or from chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from GPT_SoVITS.checkpoint import Checkpoint, open_checkpoint
from GPT_SoVITS.configs import load_config, merged
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import PREFIXES_LEFT_OUT, SoVITS
from GPT_SoVITS.sovits.official import recipe
from GPT_SoVITS.sovits.plan import Plan


def build(plan: Plan) -> tuple[dict[str, Any], SoVITS, Discriminator]:
    """(config, generator, discriminator). Raises ModelError("wrong_base") for a base that does not fit."""
    base = None if plan.base is None else _open(plan.base, "sovits", plan.version)
    config = load_config(plan.version) if base is None else _config(base)
    config = merged(config, {"train": plan.train_changes()})
    generator = SoVITS.from_config(config)
    discriminator = Discriminator(**config["discriminator"])
    if base is not None:
        _fill(generator, base, plan.base)
    if plan.base_discriminator is not None:
        version = "v2Pro" if plan.version == "v2ProPlus" else "v2" if plan.version == "v1" else plan.version
        _fill(discriminator, _open(plan.base_discriminator, "discriminator", version), plan.base_discriminator)
    return config, generator, discriminator


def _config(base: Checkpoint) -> dict[str, Any]:
    """The recipe with the base's dimensions. Ours hold whole sections, official ones part of `model`."""
    if "symbols" in base.config.get("model", {}):
        sections = ("model", "discriminator")
        dimensions = {name: base.config[name] for name in sections if name in base.config}
        return merged(load_config(base.version), dimensions)
    return recipe(base.version, base.config.get("model", {}))


def _open(path: Path, kind: str, version: str) -> Checkpoint:
    file = open_checkpoint(path)
    if (file.kind, file.version) != (kind, version):
        raise ModelError(
            "wrong_base",
            f"{path.name} holds a {file.version} {file.kind}, and a {version} {kind} is needed here.",
        )
    return file


def _fill(model: nn.Module, file: Checkpoint, path: Path | None) -> None:
    """Load strictly, but for the posterior encoder, which a published voice does not hold."""
    try:
        result = model.load_state_dict({name: t.float() for name, t in file.state.items()}, strict=False)
    except RuntimeError as error:
        raise ModelError("wrong_base", f"{path} does not fit its own config: {error}") from error
    missing = [name for name in result.missing_keys if not name.startswith(PREFIXES_LEFT_OUT)]
    if missing or result.unexpected_keys:
        first = (missing + result.unexpected_keys)[0]
        raise ModelError("wrong_base", f"{path} does not fit the {file.version} model, beginning with {first}.")
