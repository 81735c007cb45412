"""Official configurations of v1 to v2ProPlus as recipes.

Sizes that no official file holds are read off its tensors (specification s2-sovits §2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from GPT_SoVITS.configs import Recipe, load_config, merge_config
from GPT_SoVITS.sovits.weight_shapes import WeightShapes

UNUSED = ("n_layers_q", "use_spectral_norm", "semantic_frame_rate", "version", "use_sdp")
"""Stored in official files and never read by the network (specification s2-sovits §1)."""


def recipe(version: str, model: Mapping[str, Any], dims: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a version with the `model` section of an official file.

    Args:
        version: the version.
        model: the file's section; settings that no network reads are ignored.
        dims: sizes that override it.
    """
    base = load_config(version)
    changes = {name: value for name, value in model.items() if name not in UNUSED and name in base["model"]}
    changes |= {name: value for name, value in (dims or {}).items() if name in base["model"]}
    return merge_config(base, {"model": changes})


def sizes(state: Mapping[str, Tensor]) -> Recipe:
    """Return the sizes that weights of v1 to v2ProPlus show, by the names of a recipe's `model` section.

    Heads, dilations and upsampling rates do not show.

    Raises:
        ModelError: "bad_checkpoint": the weights are not whole.
    """
    shape = WeightShapes(state, "a SoVITS model")
    stages = shape.count("dec.ups.")
    kernels = shape.count("dec.resblocks.") // max(1, stages)
    convolution = "convs1" if "dec.resblocks.0.convs1.0.weight_v" in state else "convs"
    speaker_vector = "sv_emb.weight" in state
    return (
        shape.encoder_sizes()
        | {
            "flow_couplings": shape.count("flow.flows."),
            "flow_layers": shape.count("flow.flows.0.enc.in_layers."),
            "upsample_initial_channel": shape("dec.conv_pre.weight")[0],
            "upsample_kernel_sizes": [shape(f"dec.ups.{i}.weight_v")[2] for i in range(stages)],
            "resblock_kernel_sizes": [shape(f"dec.resblocks.{i}.{convolution}.0.weight_v")[2] for i in range(kernels)],
            "speaker_vector": speaker_vector,
        }
        | ({"sv_dim": shape("sv_emb.weight")[1]} if speaker_vector else {})
    )
