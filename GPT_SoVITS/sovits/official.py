"""Official configurations as recipes: their `model` section, with the constants that no official file holds."""

from __future__ import annotations

from typing import Any

from GPT_SoVITS.configs import load_config, merged

UNUSED = ("n_layers_q", "use_spectral_norm", "semantic_frame_rate", "version", "use_sdp")
"""Stored in official files and never read by the network (specification s2-sovits §1)."""
DIMENSIONS = {"ref_style_hidden", "spec_channels", "ssl_dim", "sv_dim", "mrte_hidden", "mrte_heads", "codebook_bins"}


def recipe(version: str, model: dict[str, Any], dims: dict[str, int] | None = None) -> dict[str, Any]:
    """The recipe of `version` with an official file's `model` section; `dims` overrides the hard-wired constants."""
    base = load_config(version)
    changes = {name: value for name, value in model.items() if name not in UNUSED and name in base["model"]}
    changes |= {name: value for name, value in (dims or {}).items() if name in DIMENSIONS}
    return merged(base, {"model": changes})
