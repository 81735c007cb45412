"""The recipe and the network that a training of v3 or v4 begins with."""

from __future__ import annotations

from common.program_name import program_name
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.configs import Recipe, merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.model import FROZEN_PREFIXES, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe_of
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.training.base_weights import load_base_weights


def build_model(config: FlowMatchingTrainingConfig) -> tuple[Recipe, FlowMatchingSoVITS]:
    """Build the network with the base's sizes and weights, and freeze what is not trained.

    Official files of v3 and v4 have the same tensors, so the config's version decides what they are.

    Returns:
        The recipe and the network.

    Raises:
        ModelError: "no_base", "wrong_base" or "wrong_checkpoint".
    """
    if config.base is None:
        raise ModelError(
            "no_base",
            f"{config.version} cannot be trained from nothing, and the plan names no base.",
            hint=f"`{program_name()} download {config.version}` fetches the official one.",
        )
    base = open_checkpoint(config.base, kind="sovits", version=config.version)
    stored_version = base.config.get("version")
    if "dit" in base.config.get("model", {}) and stored_version != config.version:  # ours, which knows its version
        raise ModelError(
            "wrong_base", f"{config.base.name} holds {stored_version}, and {config.version} is to be trained."
        )
    if lora.is_lora(base.state):
        raise ModelError(
            "wrong_base", f"{config.base.name} is a LoRA; a training begins from the base that it changes."
        )
    recipe = merge_config(recipe_of(base), {"train": config.train})
    model = FlowMatchingSoVITS.from_config(recipe)
    load_base_weights(model, base.state, config.base)
    if config.rank is not None:
        lora.inject(model, config.rank)
        return recipe, model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not (model.config.freeze_quantizer and name.startswith(FROZEN_PREFIXES)))
    return recipe, model
