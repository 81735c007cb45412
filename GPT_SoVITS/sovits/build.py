"""The recipe and the networks that a training of stage 2 begins with."""

from __future__ import annotations

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.configs import Recipe, load_config, merge_config
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import TRAINING_ONLY_PREFIXES, SoVITS
from GPT_SoVITS.sovits.official import recipe, sizes
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.training.base_weights import load_base_weights, open_base


def build_models(config: SoVITSTrainingConfig) -> tuple[Recipe, SoVITS, Discriminator | None]:
    """Build the networks and load their base files, where there are any.

    Returns:
        The recipe, the generator, and the discriminator; None where the version is trained without one.

    Raises:
        ModelError: "wrong_base": a base does not fit.
    """
    base = None if config.base is None else open_base(config.base, "sovits", config.version)
    base_recipe = load_config(config.version) if base is None else _base_recipe(base)
    full_recipe = merge_config(base_recipe, {"train": config.train_changes})
    generator = SoVITS.from_config(full_recipe)
    if base is not None and config.base is not None:
        # A published voice holds no posterior encoder.
        load_base_weights(generator, base.state, config.base, optional_prefixes=TRAINING_ONLY_PREFIXES)
    if generator.config.frames is not None:
        return full_recipe, generator, None
    discriminator = Discriminator.from_config(full_recipe)
    if config.base_discriminator is not None:
        file = open_base(config.base_discriminator, "discriminator", config.version)
        load_base_weights(discriminator, file.state, config.base_discriminator)
    return full_recipe, generator, discriminator


def _base_recipe(base: Checkpoint) -> Recipe:
    """Return the recipe with the base's dimensions.

    Our files hold whole sections; official ones hold a part of `model`, and their tensors show the rest.
    """
    if "symbols" in base.config.get("model", {}):
        sections = ("model", "discriminator")
        dimensions = {name: base.config[name] for name in sections if name in base.config}
        return merge_config(load_config(base.version), dimensions)
    return recipe(base.version, base.config.get("model", {}), sizes(base.state))
