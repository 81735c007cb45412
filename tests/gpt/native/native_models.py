"""Small GPTs whose sizes suit the native decoder, and what their rows begin with."""

from __future__ import annotations

import torch

from GPT_SoVITS.gpt.decoder import GenerationInput
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


def row(seed: int) -> GenerationInput:
    """One of some starts of different lengths, with and without features and prompt."""
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(3, 40, (1,), generator=generator))
    phones = torch.randint(0, 732, (length,), generator=generator)
    bert = torch.randn(1024, length, generator=generator) if seed % 3 else None
    prompt = torch.randint(0, 64, (int(torch.randint(1, 30, (1,), generator=generator)),), generator=generator)
    return GenerationInput(phones, bert, prompt if seed % 4 else None)
