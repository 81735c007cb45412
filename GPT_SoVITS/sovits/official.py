"""Official configurations as recipes: their `model` section, with the sizes that no official file holds read off its
tensors (specification s2-sovits §2.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.errors import ModelError

UNUSED = ("n_layers_q", "use_spectral_norm", "semantic_frame_rate", "version", "use_sdp")
"""Stored in official files and never read by the network (specification s2-sovits §1)."""


def recipe(version: str, model: dict[str, Any], dims: dict[str, Any] | None = None) -> dict[str, Any]:
    """The recipe of `version` with an official file's `model` section; `dims` overrides the hard-wired constants."""
    base = load_config(version)
    changes = {name: value for name, value in model.items() if name not in UNUSED and name in base["model"]}
    changes |= {name: value for name, value in (dims or {}).items() if name in base["model"]}
    return merge_config(base, {"model": changes})


def sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    """The sizes that the weights of v1 to v2ProPlus show, in the words of a recipe's `model`.

    Not to be seen: heads, dilations and upsampling rates. Raises ModelError("bad_checkpoint") for weights that are not
    whole.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise ModelError(
                "bad_checkpoint", f"These are not the whole weights of a SoVITS model: there is no {name}."
            )
        return tuple(state[name].shape)

    def count(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})

    stages = count("dec.ups.")
    kernels = count("dec.resblocks.") // max(1, stages)
    convolution = "convs1" if "dec.resblocks.0.convs1.0.weight_v" in state else "convs"
    speaker_vector = "sv_emb.weight" in state
    return {
        "symbols": shape("enc_p.text_embedding.weight")[0],
        "style_bins": shape("ref_enc.spectral.0.fc.weight")[1],
        "ref_style_hidden": shape("ref_enc.spectral.0.fc.weight")[0],
        "ssl_dim": shape("ssl_proj.weight")[0],
        "codebook_bins": shape("quantizer.vq.layers.0._codebook.embed")[0],
        "inter_channels": shape("enc_p.proj.weight")[0] // 2,
        "hidden_channels": shape("enc_p.proj.weight")[1],
        "filter_channels": shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight")[0],
        "kernel_size": shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight")[2],
        "n_layers": count("enc_p.encoder_text.attn_layers."),
        "mrte_hidden": shape("enc_p.mrte.c_pre.weight")[0],
        "gin_channels": shape("ref_enc.fc.fc.weight")[0],
        "flow_couplings": count("flow.flows."),
        "flow_layers": count("flow.flows.0.enc.in_layers."),
        "upsample_initial_channel": shape("dec.conv_pre.weight")[0],
        "upsample_kernel_sizes": [shape(f"dec.ups.{i}.weight_v")[2] for i in range(stages)],
        "resblock_kernel_sizes": [shape(f"dec.resblocks.{i}.{convolution}.0.weight_v")[2] for i in range(kernels)],
        "speaker_vector": speaker_vector,
    } | ({"sv_dim": shape("sv_emb.weight")[1]} if speaker_vector else {})
