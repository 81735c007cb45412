"""Official configurations of v3 and v4 as recipes; sizes that no official file holds are read off its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.configs import Recipe, load_config, merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.official import UNUSED
from GPT_SoVITS.sovits.weight_shapes import WeightShapes

VERSIONS = ("v3", "v4")
RATIOS = {"frame_ratio", "reference_ratio"}
"""These make a version, so no file decides them."""


def recipe(version: str, model: Mapping[str, Any], dims: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a version with a file's `model` section.

    Args:
        version: v3 or v4.
        model: the file's section; settings that no network reads are ignored.
        dims: sizes that official files do not hold.

    Raises:
        ModelError: "unknown_version": the version is of another family.
    """
    if version not in VERSIONS:
        raise ModelError("unknown_version", f"Flow matching makes {' and '.join(VERSIONS)}, not {version}.")
    base = load_config(version)
    names = base["model"].keys() - RATIOS
    settings = {**model, **(dims or {})}
    changes = {name: value for name, value in settings.items() if name in names and name not in UNUSED}
    config = merge_config(base, {"model": changes})
    return merge_config(config, {"data": {"mel": {"n_mels": config["model"]["mel"]}}})


def recipe_of(file: Checkpoint) -> Recipe:
    """Return the recipe of a whole file: ours name all sizes, official ones show most of them in their tensors."""
    model = file.config.get("model", {})
    return recipe(file.version, model, None if "dit" in model else sizes(file.state))


def sizes(state: Mapping[str, Tensor]) -> Recipe:
    """Return the sizes that whole weights of v3 or v4 show, by the names of a recipe's `model` section.

    The head counts of the encoders and the two ratios that make a version do not show.

    Raises:
        ModelError: "bad_checkpoint": the weights are not whole.
    """
    shape = WeightShapes(state, "v3 or v4", hint="A LoRA file needs the base of its version.")
    estimator = "cfm.estimator."
    inner, dim = shape(f"{estimator}transformer_blocks.0.attn.to_q.weight")
    dim_head = 2 * shape(f"{estimator}rotary_embed.inv_freq")[0]
    position = shape(f"{estimator}input_embed.conv_pos_embed.conv1d.0.weight")
    convolution = shape(f"{estimator}text_embed.text_blocks.0.dwconv.weight")
    return shape.encoder_sizes() | {
        "bridge_channels": shape("bridge.0.weight")[0],
        "wns1_layers": shape.count("wns1.enc.in_layers."),
        "wns1_kernel": shape("wns1.enc.in_layers.0.weight_v")[2],
        "mel": shape("linear_mel.weight")[0],
        "dit": {
            "dim": dim,
            "depth": shape.count(f"{estimator}transformer_blocks."),
            "heads": inner // dim_head,
            "dim_head": dim_head,
            "ff_mult": shape(f"{estimator}transformer_blocks.0.ff.ff.0.0.weight")[0] // dim,
            "mel_dim": shape(f"{estimator}proj_out.weight")[0],
            "text_dim": convolution[0],
            "conv_layers": shape.count(f"{estimator}text_embed.text_blocks."),
            "conv_kernel": convolution[2],
            "time_features": shape(f"{estimator}time_embed.time_mlp.0.weight")[1],
            "position_kernel": position[2],
            "position_groups": dim // position[1],
        },
    }
