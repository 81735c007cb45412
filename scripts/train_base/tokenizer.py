"""Learns the semantic tokens: a codebook from which the content, the sound and the pitch can be told again.

The decoder is thrown away; what stays is the projection and the codebook, under the family's names.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.sovits.quantizer import Quantizer
from scripts.train_base.clips import Clip, batches
from scripts.train_base.clusters import cluster

logger = logging.getLogger(__name__)

WIDTH, BINS = 512, 1024
LOG_EVERY = 50
HELD_BACK = 20
REVIVE_EVERY = 20
STALE = 0.02
"""A code used less than this many times a batch, on average, moves to a random vector."""


class Tokenizer(nn.Module):
    """Content features (B, 512, T) to tokens, and for its training back to what can be heard."""

    def __init__(self, speakers: int, mels: int = 80, hidden: int = 256) -> None:
        super().__init__()
        self.ssl_proj = nn.Conv1d(WIDTH, WIDTH, 2, stride=2)
        self.quantizer = Quantizer(WIDTH, BINS)
        self.speaker = nn.Embedding(speakers, hidden)
        self.widen = nn.Conv1d(WIDTH, hidden, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv1d(hidden, hidden, 5, padding=2) for _ in range(4))
        self.content = nn.Conv1d(hidden, WIDTH, 1)
        self.sound = nn.Conv1d(hidden, mels + 2, 1)

    def forward(self, content: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized = self.quantizer(self.ssl_proj(content))
        h = self.widen(quantized.vectors.repeat_interleave(2, dim=2))
        logits = self.content(self._through(h, self.blocks[:2]))
        h = h + self.speaker(speaker)[:, :, None]
        return logits, self.sound(self._through(h, self.blocks[2:])), quantized.commitment

    def _through(self, h: Tensor, blocks: nn.ModuleList) -> Tensor:
        for block in blocks:
            h = h + F.gelu(block(F.layer_norm(h.transpose(1, 2), h.shape[1:2]).transpose(1, 2)))
        return h


def train_tokenizer(
    clips: list[Clip], out: Path, *, steps: int, initial: Mapping[str, Tensor] | None = None, seed: int = 1
) -> None:
    """Train and write `ssl_proj` and `quantizer` to `out`; one clip in HELD_BACK only measures them.

    `initial`: a SoVITS whose projection the training begins from.
    """
    torch.manual_seed(seed)
    speakers = sorted({clip.speaker for clip in clips})
    model = Tokenizer(len(speakers))
    held = clips[::HELD_BACK]
    clips = [clip for number, clip in enumerate(clips) if number % HELD_BACK]
    _begin(model, clips, seed, initial or {})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    often = {"allison": max(1.0, 0.15 * len(clips) / max(1, sum(clip.speaker == "allison" for clip in clips)))}
    began = time.monotonic()
    for step, batch in enumerate(batches(clips, frames=6000, seed=seed, often=often), start=1):
        content, mel, f0, mask, who = _collate(batch, speakers)
        logits, sound, commitment = model(content, who)
        total = mask.sum()
        voiced = (f0 > 0).float() * mask[:, 0]
        losses = {
            "content": ((logits - content).square() * mask).sum() / total / WIDTH,
            "mel": ((sound[:, :80] - mel).abs() * mask).sum() / total / 80,
            "pitch": ((sound[:, 80] - (f0.clamp_min(40) / 150).log()).abs() * voiced).sum() / voiced.sum(),
            "voiced": F.binary_cross_entropy_with_logits(sound[:, 81], (f0 > 0).float(), weight=mask[:, 0]),
            "commitment": commitment,
        }
        loss = sum(losses[name] * weight for name, weight in _WEIGHTS.items())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % REVIVE_EVERY == 0:
            _revive(model, content)
        if step % LOG_EVERY == 0 or step == steps:
            shown = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
            logger.info(
                "step %d, %.0f s: %s, codes in use %d",
                step,
                time.monotonic() - began,
                shown,
                (model.quantizer.codebook.cluster_size > 0.1).sum(),
            )
        if step == steps:
            break
    for language in sorted({clip.language for clip in held}):
        _measure(model, [clip for clip in held if clip.language == language], speakers, language)
    kept = {name: t for name, t in model.state_dict().items() if name.startswith(("ssl_proj.", "quantizer."))}
    torch.save({name: t.half().float() for name, t in kept.items()}, out)


_WEIGHTS = {"content": 1.0, "mel": 0.5, "pitch": 1.5, "voiced": 0.1, "commitment": 0.25}
"""Pitch counts much, since tones and intonation must be told from the tokens."""


@torch.no_grad()
def _begin(model: Tokenizer, clips: list[Clip], seed: int, initial: Mapping[str, Tensor]) -> None:
    """Take the projection, or else the mean of two frames; the codes are clusters of what it gives."""
    half = 0.5 * torch.eye(WIDTH)
    model.ssl_proj.weight.copy_(initial.get("ssl_proj.weight", half[:, :, None].expand(-1, -1, 2)))
    assert model.ssl_proj.bias is not None
    model.ssl_proj.bias.copy_(initial.get("ssl_proj.bias", torch.zeros(WIDTH)))
    generator = random.Random(seed)
    frames = np.concatenate([clip.content for clip in generator.sample(clips, min(len(clips), 600))])
    vectors = model.ssl_proj(torch.from_numpy(frames.astype(np.float32)).T[None])[0].T
    chosen = vectors[torch.linspace(0, len(vectors) - 1, min(len(vectors), 30_000)).long()]
    book = model.quantizer.codebook
    book.embed.copy_(cluster(chosen, BINS, seed))
    book.cluster_size.fill_(len(chosen) / BINS / 10)
    book.embed_avg.copy_(book.embed * book.cluster_size[:, None])


@torch.no_grad()
def _measure(model: Tokenizer, clips: list[Clip], speakers: list[str], language: str) -> None:
    """Log what the tokens of clips that were not trained lose of the content, and how well they tell pitch."""
    model.eval()
    lost, whole, correlations = 0.0, 0.0, []
    for clip in clips:
        content, _, _, _, who = _collate([clip], speakers)
        vectors = model.ssl_proj(content)
        lost += float((model.quantizer(vectors).vectors - vectors).square().sum())
        whole += float((vectors - vectors.mean(dim=2, keepdim=True)).square().sum())
        sound = model(content, who)[1][0, 80].numpy()[: clip.frames]
        voiced = clip.f0 > 0
        if voiced.sum() > 25:
            correlations.append(np.corrcoef(sound[voiced], np.log(clip.f0[voiced].astype(np.float32)))[0, 1])
    logger.info(
        "%s: %d clips, distortion %.2f of the variance, pitch within a clip %.2f",
        language,
        len(clips),
        lost / max(whole, 1e-9),
        float(np.nanmean(correlations)) if correlations else 0.0,
    )


@torch.no_grad()
def _revive(model: Tokenizer, content: Tensor) -> None:
    """Move codes that nothing chooses to where speech is."""
    book = model.quantizer.codebook
    stale = book.cluster_size < STALE
    if stale.any():
        vectors = model.ssl_proj(content).transpose(1, 2).flatten(0, 1)
        chosen = vectors[torch.randint(len(vectors), (int(stale.sum()),))]
        book.embed[stale] = chosen
        book.cluster_size[stale] = 1.0
        book.embed_avg[stale] = chosen


def _collate(batch: list[Clip], speakers: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    longest = max(clip.frames for clip in batch)
    content = torch.zeros(len(batch), WIDTH, longest)
    mel = torch.zeros(len(batch), 80, longest)
    f0, mask = torch.zeros(len(batch), longest), torch.zeros(len(batch), 1, longest)
    for i, clip in enumerate(batch):
        content[i, :, : clip.frames] = torch.from_numpy(clip.content.astype(np.float32)).T
        mel[i, :, : clip.frames] = log_mel(clip.wave)[:, : clip.frames]
        f0[i, : clip.frames] = torch.from_numpy(clip.f0.astype(np.float32))
        mask[i, :, : clip.frames] = 1
    return content, mel, f0, mask, torch.tensor([speakers.index(clip.speaker) for clip in batch])


def log_mel(wave: np.ndarray) -> Tensor:
    """(80, T) natural logarithms of a mel spectrogram at 16 kHz, hop 320."""
    from GPT_SoVITS.features.mel import mel_spectrogram

    samples = torch.from_numpy(wave.astype(np.float32) / 32768)[None]
    spec = spectrogram(samples, n_fft=1024, hop=320, win=1024)
    return mel_spectrogram(spec, sampling_rate=16_000, n_fft=1024, n_mels=80, fmin=0.0, fmax=None)[0]
