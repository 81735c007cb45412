"""Small GPTs whose sizes suit the native decoder."""

from __future__ import annotations

import torch

from GPT_SoVITS.gpt.model import Text2Semantic


def model_of(width: int = 128, heads: int = 4, pointers: tuple[tuple[int, int], ...] = ()) -> Text2Semantic:
    """Random weights that half precision holds exactly; a vocabulary that fills no whole panel."""
    torch.manual_seed(width)
    sizes = {"embedding_dim": width, "hidden_dim": width, "head": heads, "n_layer": 3, "vocab_size": 65, "EOS": 64}
    model = Text2Semantic.from_config(
        {"model": sizes | {"phoneme_vocab_size": 732, "dropout": 0, "pointers": pointers}}
    ).eval()
    if pointers:
        model.model.ar_pointer_tokens.normal_()
        model.model.ar_pointer_moving.normal_()
    return model.half().float()
