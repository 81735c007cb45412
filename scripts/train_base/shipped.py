"""What the shipped base knows, for a new one to begin from: a fraction of the hours that it takes from nothing.

The new codebook lies in the same space as the old one, so the acoustic model understands most of it at once, and the
GPT knows of each new token what it knew of the nearest old one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint

CODEBOOK = "quantizer.vq.layers.0._codebook.embed"
_TOKEN_ROWS = ("model.ar_audio_embedding.word_embeddings.weight", "model.ar_predict_layer.weight")
_TOKEN_COLUMNS = ("model.ar_pointer_tokens",)


def shipped_sovits() -> dict[str, Tensor]:
    """Return the weights of the shipped SoVITS in float32."""
    state = open_checkpoint(BASE_FOLDER / "sovits.safetensors", kind="sovits", version="nano").state
    return {name: tensor.float() for name, tensor in state.items()}


def write_initial_gpt(codebook: Tensor, path: Path) -> None:
    """Write the shipped GPT with its tokens replaced by those of a new codebook (K, D).

    A new token begins as the old one whose vector is nearest; the counts of tokens are of the old codebook, so they are
    left out until `ship` counts anew.
    """
    gpt = open_checkpoint(BASE_FOLDER / "gpt.safetensors", kind="gpt", version="nano")
    nearest = torch.cdist(codebook.float(), shipped_sovits()[CODEBOOK]).argmin(dim=1)
    rows = torch.cat([nearest, nearest.new_tensor([len(codebook)])])  # the end stays the end
    state = dict(gpt.state)
    for name in _TOKEN_ROWS:
        state[name] = state[name][rows]
    for name in _TOKEN_COLUMNS:
        state[name] = torch.zeros_like(state[name])
    save_checkpoint(path, Checkpoint(gpt.kind, gpt.version, gpt.config, state, {"epoch": 0}), half=False)
