"""Trains nano's SoVITS on the base's speech: tokens, phonemes and a style to sound, first by spectra, then against
discriminators too. Stops and goes on at any time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.checkpoint import load_resume, save_resume
from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.sovits.encoder import TextEncoder
from GPT_SoVITS.sovits.frame_generator import REFERENCE_PITCH, FrameGenerator
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.style import StyleEncoder
from scripts.train_base.clips import Clip, batches

logger = logging.getLogger(__name__)

HOP = 320
SEGMENT = 80
"""Frames that the generator speaks of each clip: 1.6 s."""
STYLE_FRAMES = 150
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
LOG_EVERY = 25


class Acoustic(nn.Module):
    def __init__(self, hidden: int = 192, style: int = 192, channels: int = 192) -> None:
        super().__init__()
        self.enc_p = TextEncoder(
            symbols=732, ssl_dim=512, inter_channels=channels, hidden_channels=hidden, filter_channels=512, n_heads=2,
            n_layers=4, kernel_size=3, p_dropout=0.0, mrte_hidden=style, mrte_heads=4,
        )  # fmt: skip
        self.ref_enc = StyleEncoder(513, 128, style)
        self.ssl_proj = nn.Conv1d(512, 512, 2, stride=2)
        self.quantizer = Quantizer(512, 1024)
        self.dec = FrameGenerator(
            channels=channels, style=style, rate=16_000, hop=HOP, width=256, layers=6, fine_width=192, fine_layers=4,
            pitch_width=192, pitch_layers=4,
        )  # fmt: skip

    def read(self, codes: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, ge: Tensor) -> Tensor:
        """codes (B, T / 2) -> z (B, C, T)."""
        vectors = self.quantizer.decode(codes[None]).repeat_interleave(2, dim=2)
        prior = self.enc_p(vectors, lengths, text, text_lengths, ge)
        return prior.mean


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """(B, N) twice: L1 of log magnitudes and spectral convergence, at four resolutions."""
    losses = []
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size)
        a, b = (
            torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp_min(1e-4) for x in (made, wanted)
        )
        losses.append((a.log() - b.log()).abs().mean() + 0.5 * (a - b).norm() / b.norm().clamp_min(1e-3))
    return torch.stack(losses).mean()


class Set:
    """Clips with their tokens, styles of the same speaker beside each."""

    def __init__(self, clips: list[Clip], tokenizer: dict[str, Tensor]) -> None:
        self.clips = clips
        projection, quantizer = nn.Conv1d(512, 512, 2, stride=2), Quantizer(512, 1024).eval()
        projection.load_state_dict({n.removeprefix("ssl_proj."): t for n, t in tokenizer.items() if "ssl_proj" in n})
        quantizer.load_state_dict({n.removeprefix("quantizer."): t for n, t in tokenizer.items() if "quant" in n})
        with torch.inference_mode():
            self.codes = {
                clip.name: quantizer.encode(projection(torch.from_numpy(clip.content.astype(np.float32)).T[None]))[0, 0]
                .numpy().astype(np.int16)
                for clip in clips
            }  # fmt: skip
        self.by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            self.by_speaker.setdefault(clip.speaker, []).append(clip)

    def collate(self, batch: list[Clip], rng: random.Random) -> dict[str, Tensor]:
        longest, most = max(clip.frames for clip in batch), max(len(clip.phones) for clip in batch)
        rows = len(batch)
        made = {
            "codes": torch.zeros(rows, longest // 2, dtype=torch.long),
            "lengths": torch.tensor([clip.frames for clip in batch]),
            "text": torch.zeros(rows, most, dtype=torch.long),
            "text_lengths": torch.tensor([len(clip.phones) for clip in batch]),
            "f0": torch.zeros(rows, longest),
            "start": torch.zeros(rows, dtype=torch.long),
            "wave": torch.zeros(rows, SEGMENT * HOP),
            "style": torch.zeros(rows, STYLE_FRAMES * HOP),
        }
        for i, clip in enumerate(batch):
            made["codes"][i, : clip.frames // 2] = torch.from_numpy(self.codes[clip.name].astype(np.int64))
            made["text"][i, : len(clip.phones)] = torch.from_numpy(clip.phones.astype(np.int64))
            made["f0"][i, : clip.frames] = torch.from_numpy(clip.f0.astype(np.float32))
            start = rng.randrange(max(1, clip.frames - SEGMENT + 1))
            made["start"][i] = start
            piece = clip.wave[start * HOP : (start + SEGMENT) * HOP]
            made["wave"][i, : len(piece)] = torch.from_numpy(piece.astype(np.float32) / 32768)
            made["style"][i] = torch.from_numpy(self._style(clip.speaker, rng))
        return made

    def _style(self, speaker: str, rng: random.Random) -> np.ndarray:
        """Three seconds of the same speaker, from anywhere."""
        wave = rng.choice(self.by_speaker[speaker]).wave
        wave = np.tile(wave, -(-STYLE_FRAMES * HOP // len(wave)))
        start = rng.randrange(len(wave) - STYLE_FRAMES * HOP + 1)
        return wave[start : start + STYLE_FRAMES * HOP].astype(np.float32) / 32768


def style_spectrogram(wave: Tensor) -> Tensor:
    """(B, N) -> (B, F, T)."""
    return spectrogram(wave, n_fft=1024, hop=HOP, win=1024)


class Training:
    def __init__(
        self, data: Set, tokenizer: dict[str, Tensor], out: Path, *, steps: int, rate: float = 8e-4, seed: int = 1,
        frames: int = 4000, half: bool = False,
    ) -> None:  # fmt: skip
        """`half` computes the networks in bfloat16, which is faster where the processor has it."""
        torch.manual_seed(seed)
        self.half = half
        self.data, self.out, self.steps, self.frames, self.seed = data, out, steps, frames, seed
        self.model = Acoustic()
        self.model.load_state_dict(tokenizer, strict=False)
        self.model.ssl_proj.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=rate, betas=(0.8, 0.99), weight_decay=0.01
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=steps, pct_start=0.05, final_div_factor=50
        )
        self.step, self.seconds = 0, 0.0
        self._resume()

    def fit(self, limit_seconds: float, save_every: float = 300.0) -> bool:
        """Train until the plan is done (True) or the time is over, saving on the way."""
        self.model.train()
        self.model.quantizer.eval()
        began = saved = time.monotonic()
        sums: dict[str, float] = {}
        for batch in self._batches():
            for name, value in self._train_step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            if self.step % LOG_EVERY == 0:
                shown = " ".join(f"{name} {value / LOG_EVERY:.3f}" for name, value in sums.items())
                logger.info("step %d, %.0f s: %s", self.step, self.seconds + time.monotonic() - began, shown)
                sums = {}
            now = time.monotonic()
            over = self.step >= self.steps or now - began > limit_seconds
            if over or now - saved > save_every:
                saved = now
                self._save(self.seconds + now - began)
            if over:
                return self.step >= self.steps
        return True

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        rng = random.Random(self.seed + self.step)
        real = sum(clip.speaker == "allison" for clip in self.data.clips)
        often = {"allison": max(1.0, 0.25 * len(self.data.clips) / max(1, real))}
        for batch in batches(self.data.clips, frames=self.frames, seed=self.seed + self.step, often=often):
            yield self.data.collate(batch, rng)

    def _train_step(self, b: dict[str, Tensor]) -> dict[str, float]:
        losses = self.losses(b)
        total = losses["spectral"] + losses["pitch"] + 0.3 * losses["voiced"]
        self.optimizer.zero_grad()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        return {name: value.item() for name, value in losses.items()} | {"norm": float(norm)}

    def losses(self, b: dict[str, Tensor]) -> dict[str, Tensor]:
        model = self.model
        spec = style_spectrogram(b["style"])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            ge = model.ref_enc(spec, spec.new_ones(len(spec), 1, spec.shape[-1]))
            z = model.read(b["codes"], b["lengths"], b["text"], b["text_lengths"], ge)
            pitch = model.dec.pitch(z, ge)
            index = b["start"][:, None] + torch.arange(SEGMENT)
            inside = index < b["lengths"][:, None]
            index = index.clamp(max=z.shape[-1] - 1)
            part = z.gather(2, index[:, None].expand(-1, z.shape[1], -1)) * inside[:, None]
            f0 = b["f0"].gather(1, index) * inside
            wave = model.dec(part, ge, f0)[:, 0]
        mask = length_mask(b["lengths"], z.shape[-1])[:, 0]
        voiced = (b["f0"] > 0).float() * mask
        wanted = (b["f0"].clamp_min(40) / REFERENCE_PITCH).log()
        return {
            "spectral": spectral_loss(wave.float(), b["wave"]),
            "pitch": ((pitch.log - wanted).abs() * voiced).sum() / voiced.sum().clamp_min(1),
            "voiced": F.binary_cross_entropy_with_logits(pitch.voiced, (b["f0"] > 0).float(), weight=mask),
        }

    def _save(self, seconds: float) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "step": self.step, "seconds": seconds,
            "chance": torch.get_rng_state(),
        }  # fmt: skip
        save_resume(self.out, state)

    def _resume(self) -> None:
        state = load_resume(self.out) if self.out.exists() else None
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step, self.seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["chance"])
        logger.info("Going on from step %d.", self.step)
