"""Where a training of v3 or v4 begins: the recipe, and the base made ready to learn."""

from __future__ import annotations

from typing import Any

from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.configs import merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.model import FROZEN_PREFIXES, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe_of
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.training.base_weights import load_base_weights


def build_model(plan: FlowMatchingTrainingConfig) -> tuple[dict[str, Any], FlowMatchingSoVITS]:
    """(config, model of which the right part learns).

    The base's sizes hold. Official files of v3 and v4 have the same tensors, so of these the plan's word is taken.
    Raises ModelError with "no_base", "wrong_base" or "wrong_checkpoint".
    """
    if plan.base is None:
        raise ModelError(
            "no_base",
            f"{plan.version} cannot be trained from nothing, and the plan names no base.",
            hint=f"`main.py download {plan.version}` fetches the official one.",
        )
    base = open_checkpoint(plan.base, kind="sovits", version=plan.version)
    noted = base.config.get("version")
    if "dit" in base.config.get("model", {}) and noted != plan.version:  # ours, which knows its version
        raise ModelError("wrong_base", f"{plan.base.name} holds {noted}, and {plan.version} is to be trained.")
    if lora.is_lora(base.state):
        raise ModelError("wrong_base", f"{plan.base.name} is a LoRA; a training begins from the base that it changes.")
    config = merge_config(recipe_of(base), {"train": plan.train})
    model = FlowMatchingSoVITS.from_config(config)
    load_base_weights(model, base.state, plan.base)
    if plan.rank is None:
        _let_all_learn(model)
    else:
        lora.inject(model, plan.rank)
    return config, model


def _let_all_learn(model: FlowMatchingSoVITS) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not (model.freeze_quantizer and name.startswith(FROZEN_PREFIXES)))
