"""The phoneme that each token of a training set speaks, found by the phoneme classifier of nano's base."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.gpt.data import GPTItem
from GPT_SoVITS.gpt.guided_attention import limit_steps
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS

BATCH_SIZE = 16


@torch.inference_mode()
def align_items(items: Iterable[GPTItem], base: Path) -> dict[str, Tensor]:
    """Align the tokens of items with their phonemes.

    Args:
        items: recordings; a repeated name counts once.
        base: a SoVITS checkpoint of nano.

    Returns:
        Indices (T,) into the phonemes of each item, by its name.
    """
    checkpoint = open_checkpoint(base, kind="sovits", version="nano")
    model = SoVITS.from_config(checkpoint.config, posterior=False)
    model.load_state_dict(checkpoint.state)
    by_length = sorted({item.name: item for item in items}.values(), key=lambda item: len(item.tokens))
    pointers = {}
    for start in range(0, len(by_length), BATCH_SIZE):
        rows = by_length[start : start + BATCH_SIZE]
        codes = pad_sequence([torch.tensor(item.tokens) for item in rows], batch_first=True)  # (B, T)
        phonemes = pad_sequence([torch.tensor(item.phonemes) for item in rows], batch_first=True)  # (B, S)
        text = model.enc_p.encode_text(phonemes, torch.tensor([len(item.phonemes) for item in rows]))
        mask = length_mask(torch.tensor([2 * len(item.tokens) for item in rows]), 2 * codes.shape[1])
        alignment = model.enc_p.align_phonemes(model.token_vectors(codes[None]), mask, text)  # (B, 2T)
        assert alignment is not None
        for row, item in zip(alignment, rows, strict=True):
            pointers[item.name] = limit_steps(row[: 2 * len(item.tokens) : 2]).clone()
    return pointers
