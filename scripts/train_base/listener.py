"""Trains the listener of nano's text encoder: which phoneme a frame speaks, heard in right and in wrong tokens."""

from __future__ import annotations

import logging
import random
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.token_noise import TokenNoise
from scripts.train_base.acoustic import Set
from scripts.train_base.clips import Clip, batches

logger = logging.getLogger(__name__)

LOG_EVERY = 50
NOTHING = -100


def fit(model: SoVITS, data: Set, pointers: dict[str, np.ndarray], *, steps: int, seed: int = 1) -> None:
    """Teach `model.enc_p.listener` what `align` wrote of the clips."""
    torch.manual_seed(seed)
    listener, noise, rng = model.enc_p.listener, TokenNoise(model.quantizer, 0.6), random.Random(seed)
    clips = [clip for clip in data.clips if clip.name in pointers]
    optimizer = torch.optim.AdamW(listener.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step, batch in enumerate(islice(batches(clips, frames=8000, seed=seed, often={}), steps), start=1):
        batch_data = data.collate(batch, rng)
        assert batch_data.codes is not None
        targets = _wanted(batch, pointers)
        mask = length_mask(batch_data.spec_lengths, targets.shape[1])
        logits = listener(model.token_vectors(noise(batch_data.codes)).detach(), mask)
        loss = F.nll_loss(logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(listener.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY == 0:
            right = (logits.argmax(dim=-1) == targets)[targets != NOTHING].float().mean()
            logger.info("step %d: %.3f a frame, %.0f %% right", step, loss.item(), 100 * right)


def _wanted(batch: list[Clip], pointers: dict[str, np.ndarray]) -> Tensor:
    """(B, T) the phoneme of every frame."""
    targets = torch.full((len(batch), max(clip.frames for clip in batch)), NOTHING)
    for row, clip in zip(targets, batch, strict=True):
        spoken = torch.from_numpy(clip.phones[pointers[clip.name]].astype(np.int64))
        row[: clip.frames] = spoken.repeat_interleave(2)[: clip.frames]
    return targets
