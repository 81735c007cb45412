"""Official configurations of v3 and v4 as recipes, with the sizes that no official file holds read off its tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.errors import ModelError

VERSIONS = ("v3", "v4")
UNUSED = ("n_layers_q", "use_spectral_norm", "semantic_frame_rate", "version", "use_sdp")
"""Stored in official files and never read by the network."""
RATIOS = {"frame_ratio", "reference_ratio"}
"""What makes a version, so no file decides it."""


def recipe(version: str, model: dict[str, Any], dims: dict[str, Any] | None = None) -> dict[str, Any]:
    """The recipe of `version` with a file's `model` section; `dims` adds sizes that official files do not hold.

    Raises ModelError("unknown_version") for a version of another family.
    """
    if version not in VERSIONS:
        raise ModelError("unknown_version", f"Flow matching makes {' and '.join(VERSIONS)}, not {version}.")
    base = load_config(version)
    known = base["model"].keys() - RATIOS
    changes = {name: value for name, value in (model | (dims or {})).items() if name in known and name not in UNUSED}
    config = merge_config(base, {"model": changes})
    return merge_config(config, {"data": {"mel": {"n_mels": config["model"]["mel"]}}})


def recipe_of(file: Checkpoint) -> dict[str, Any]:
    """The recipe of a whole file: ours name all sizes, official ones show most of them in their tensors."""
    model = file.config.get("model", {})
    return recipe(file.version, model, None if "dit" in model else sizes(file.state))


def sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    """The sizes that whole v3 or v4 weights show, in the words of a recipe's `model`.

    Not to be seen: the numbers of heads of the encoders, and the two ratios that make a version.
    Raises ModelError("bad_checkpoint") for weights that are not whole.
    """
    shape = _Shapes(state)
    layers = shape.count("wns1.enc.in_layers.")
    return {
        "symbols": shape("enc_p.text_embedding.weight")[0],
        "style_bins": shape("ref_enc.spectral.0.fc.weight")[1],
        "ssl_dim": shape("ssl_proj.weight")[0],
        "codebook_bins": shape("quantizer.vq.layers.0._codebook.embed")[0],
        "inter_channels": shape("enc_p.proj.weight")[0] // 2,
        "hidden_channels": shape("enc_p.proj.weight")[1],
        "filter_channels": shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight")[0],
        "n_layers": shape.count("enc_p.encoder_text.attn_layers."),
        "kernel_size": shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight")[2],
        "gin_channels": shape("ref_enc.fc.fc.weight")[0],
        "mrte_hidden": shape("enc_p.mrte.c_pre.weight")[0],
        "ref_style_hidden": shape("ref_enc.spectral.0.fc.weight")[0],
        "bridge_channels": shape("bridge.0.weight")[0],
        "wns1_layers": layers,
        "wns1_kernel": shape("wns1.enc.in_layers.0.weight_v")[2],
        "mel": shape("linear_mel.weight")[0],
        "dit": _transformer_sizes(shape),
    }


def _transformer_sizes(shape: _Shapes) -> dict[str, int]:
    estimator = "cfm.estimator."
    inner, dim = shape(f"{estimator}transformer_blocks.0.attn.to_q.weight")
    dim_head = 2 * shape(f"{estimator}rotary_embed.inv_freq")[0]
    position = shape(f"{estimator}input_embed.conv_pos_embed.conv1d.0.weight")
    kernel = shape(f"{estimator}text_embed.text_blocks.0.dwconv.weight")
    return {
        "dim": dim,
        "depth": shape.count(f"{estimator}transformer_blocks."),
        "heads": inner // dim_head,
        "dim_head": dim_head,
        "ff_mult": shape(f"{estimator}transformer_blocks.0.ff.ff.0.0.weight")[0] // dim,
        "mel_dim": shape(f"{estimator}proj_out.weight")[0],
        "text_dim": kernel[0],
        "conv_layers": shape.count(f"{estimator}text_embed.text_blocks."),
        "conv_kernel": kernel[2],
        "time_features": shape(f"{estimator}time_embed.time_mlp.0.weight")[1],
        "position_kernel": position[2],
        "position_groups": dim // position[1],
    }


class _Shapes:
    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def __call__(self, name: str) -> tuple[int, ...]:
        if name not in self.state:
            raise ModelError(
                "bad_checkpoint",
                f"These are not the whole weights of v3 or v4: there is no {name}.",
                hint="A LoRA file needs the base of its version.",
            )
        return tuple(self.state[name].shape)

    def count(self, prefix: str) -> int:
        """How many layers of a numbered list there are."""
        return len({name.removeprefix(prefix).split(".")[0] for name in self.state if name.startswith(prefix)})
