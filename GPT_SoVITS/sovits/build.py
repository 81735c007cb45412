"""Where a training of stage 2 begins: the recipe, and both models filled from their base files or from chance."""

from __future__ import annotations

from typing import Any

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import TRAINING_ONLY_PREFIXES, SoVITS
from GPT_SoVITS.sovits.official import recipe, sizes
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.training.base_weights import load_base_weights, open_base


def build_models(plan: SoVITSTrainingConfig) -> tuple[dict[str, Any], SoVITS, Discriminator | None]:
    """(config, generator, discriminator), the last None where the version learns without one.

    Raises ModelError("wrong_base") for a base that does not fit.
    """
    base = None if plan.base is None else open_base(plan.base, "sovits", plan.version)
    config = load_config(plan.version) if base is None else _config(base)
    config = merge_config(config, {"train": plan.train_changes()})
    generator = SoVITS.from_config(config)
    if base is not None:
        # A published voice holds no posterior encoder.
        load_base_weights(generator, base.state, plan.base, may_lack=TRAINING_ONLY_PREFIXES)
    if config["model"]["frames"]:
        return config, generator, None
    discriminator = Discriminator(**config["discriminator"])
    if plan.base_discriminator is not None:
        file = open_base(plan.base_discriminator, "discriminator", plan.version)
        load_base_weights(discriminator, file.state, plan.base_discriminator)
    return config, generator, discriminator


def _config(base: Checkpoint) -> dict[str, Any]:
    """The recipe with the base's dimensions. Ours hold whole sections; official ones part of `model`, and their tensors
    show the rest."""
    if "symbols" in base.config.get("model", {}):
        sections = ("model", "discriminator")
        dimensions = {name: base.config[name] for name in sections if name in base.config}
        return merge_config(load_config(base.version), dimensions)
    return recipe(base.version, base.config.get("model", {}), sizes(base.state))
