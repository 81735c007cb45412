"""Which phoneme each token of a training set speaks, as the listener of nano's base hears it."""

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

ROWS = 16
"""Items that are followed side by side."""


@torch.inference_mode()
def align_items(items: Iterable[GPTItem], base: Path) -> dict[str, Tensor]:
    """(T,) of each item by its name: indices into its phonemes. `base` is a SoVITS of nano."""
    found = open_checkpoint(base, kind="sovits", version="nano")
    model = SoVITS.from_config(found.config, posterior=False)
    model.load_state_dict(found.state)
    every = sorted({item.name: item for item in items}.values(), key=lambda item: len(item.tokens))
    pointers = {}
    for start in range(0, len(every), ROWS):
        rows = every[start : start + ROWS]
        codes = pad_sequence([torch.tensor(item.tokens) for item in rows], batch_first=True)
        phones = pad_sequence([torch.tensor(item.phones) for item in rows], batch_first=True)
        text = model.enc_p.read_text(phones, torch.tensor([len(item.phones) for item in rows]))
        mask = length_mask(torch.tensor([2 * len(item.tokens) for item in rows]), 2 * codes.shape[1])
        where = model.enc_p.align_phonemes(model.frames(codes[None]), mask, text)
        assert where is not None
        for row, item in zip(where, rows, strict=True):
            pointers[item.name] = limit_steps(row[: 2 * len(item.tokens) : 2]).clone()
    return pointers
