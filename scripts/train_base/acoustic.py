"""Trains nano's SoVITS on the base's speech: tokens, phonemes and a style to sound. Stops and goes on at any time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from GPT_SoVITS.checkpoints.resume_files import load_resume, save_resume
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.sovits.frame_step import NOT_TRAINED_PREFIXES, WEIGHTS, frame_losses, synthesize_segments
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.token_noise import TokenNoise
from scripts.train_base.clips import Clip, batches
from scripts.train_base.content_loss import ContentLoss
from scripts.train_base.speaker_loss import SpeakerLoss
from scripts.train_base.spectrum_discriminator import Adversary
from scripts.train_base.style_recordings import as_recorded

logger = logging.getLogger(__name__)

HOP = 320
SEGMENT = 80
"""Frames that the generator speaks of each clip: 1.6 s."""
STYLE_FRAMES = 150
SPEAKER_WEIGHT = 1.0
CONTENT_WEIGHT = 2.0
ADVERSARIAL_WEIGHTS = {"adversarial": 0.1, "features": 0.2}
ADVERSARY_STEPS = 100
"""Updates that a new discriminator learns before the generator heeds it."""
JUDGED_ROWS = 8
"""Rows of a batch whose speaker and words are judged by other networks, as many as cost little beside the rest."""
TIMES = {"en": 1, "zh": 2}
"""How often an epoch has the clips of a language: Mandarin is heard for the first time, English was known before."""
REAL_SHARE = 0.1
"""Of the clips of an epoch that are the real speaker's, who recorded few."""
LOG_EVERY = 25


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

    def collate(self, batch: list[Clip], rng: random.Random) -> SoVITSBatch:
        longest, most = max(clip.frames for clip in batch), max(len(clip.phones) for clip in batch)
        rows = len(batch)
        arrays = {
            "codes": torch.zeros(rows, longest // 2, dtype=torch.long),
            "lengths": torch.tensor([clip.frames for clip in batch]),
            "text": torch.zeros(rows, most, dtype=torch.long),
            "text_lengths": torch.tensor([len(clip.phones) for clip in batch]),
            "f0": torch.zeros(rows, longest),
            "wave": torch.zeros(rows, longest * HOP),
            "style": torch.zeros(rows, STYLE_FRAMES * HOP),
        }
        for i, clip in enumerate(batch):
            arrays["codes"][i, : clip.frames // 2] = torch.from_numpy(self.codes[clip.name].astype(np.int64))
            arrays["text"][i, : len(clip.phones)] = torch.from_numpy(clip.phones.astype(np.int64))
            arrays["f0"][i, : clip.frames] = torch.from_numpy(clip.f0.astype(np.float32))
            arrays["wave"][i, : len(clip.wave)] = torch.from_numpy(clip.wave.astype(np.float32) / 32768)
            arrays["style"][i] = torch.from_numpy(self._style(clip.speaker, rng))
        return SoVITSBatch(
            spec=style_spectrogram(arrays["style"]),
            spec_lengths=arrays["lengths"],
            wave=arrays["wave"][:, None],
            text=arrays["text"],
            text_lengths=arrays["text_lengths"],
            codes=arrays["codes"][None],
            f0=arrays["f0"],
        )

    def _style(self, speaker: str, rng: random.Random) -> np.ndarray:
        """Three seconds of the same speaker, from anywhere, as users record."""
        wave = rng.choice(self.by_speaker[speaker]).wave
        wave = np.tile(wave, -(-STYLE_FRAMES * HOP // len(wave)))
        start = rng.randrange(len(wave) - STYLE_FRAMES * HOP + 1)
        return as_recorded(wave[start : start + STYLE_FRAMES * HOP].astype(np.float32) / 32768, rng)


def style_spectrogram(wave: Tensor) -> Tensor:
    """(B, N) -> (B, F, T)."""
    return spectrogram(wave, n_fft=1024, hop=HOP, win=1024)


class Training:
    def __init__(
        self, data: Set, initial: dict[str, Tensor], out: Path, recognizer: Path, *, steps: int, rate: float = 4e-4,
        seed: int = 1, frames: int = 2400, half: bool = False, adversarial_from: int | None = None,
    ) -> None:  # fmt: skip
        """Begin from `initial`, the weights learnt so far. `recognizer` is the folder of Whisper base, which hears
        whether words are clear. `half` computes the networks in bfloat16, which is faster where the processor has it.
        A discriminator takes part from the step `adversarial_from` on, or never.
        """
        torch.manual_seed(seed)
        self.half = half
        self.data, self.out, self.steps, self.frames, self.seed = data, out, steps, frames, seed
        config = load_config("nano")
        self.model = SoVITS.from_config(config)
        self.model.load_state_dict(initial, strict=False)
        self.noise = TokenNoise(self.model.quantizer, config["train"]["token_noise"])
        trained = [p for name, p in self.model.named_parameters() if not name.startswith(NOT_TRAINED_PREFIXES)]
        self.optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.8, 0.99), weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=steps, pct_start=0.05, final_div_factor=50
        )
        self.speaker_loss = SpeakerLoss(data.by_speaker)
        self.content_loss = ContentLoss(recognizer)
        self.adversary, self.adversarial_from = Adversary(), steps if adversarial_from is None else adversarial_from
        self.step, self.seconds = 0, 0.0
        self._resume()

    def fit(self, limit_seconds: float, save_every: float = 300.0) -> bool:
        """Train until the plan is done (True) or the time is over, saving on the way."""
        self.model.train()
        self.model.quantizer.eval()
        began = saved = time.monotonic()
        sums: dict[str, float] = {}
        for batch, speakers in self._batches():
            for name, value in self._train_step(batch, speakers).items():
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

    def _batches(self) -> Iterator[tuple[SoVITSBatch, list[str]]]:
        """Yield batches and the speakers of their rows."""
        rng = random.Random(self.seed + self.step)
        clips = [clip for clip in self.data.clips for _ in range(TIMES[clip.language])]
        real = sum(clip.speaker == "allison" for clip in self.data.clips)
        often = {"allison": max(1.0, REAL_SHARE * len(clips) / max(1, real))}
        for batch in batches(clips, frames=self.frames, seed=self.seed + self.step, often=often):
            yield self.data.collate(batch, rng), [clip.speaker for clip in batch]

    def _train_step(self, batch: SoVITSBatch, speakers: list[str]) -> dict[str, float]:
        losses = self.losses(batch, speakers)
        weights = WEIGHTS | {"speaker": SPEAKER_WEIGHT, "content": CONTENT_WEIGHT}
        if self.step >= self.adversarial_from + ADVERSARY_STEPS:
            weights |= ADVERSARIAL_WEIGHTS
        total = sum((losses[name] * weight for name, weight in weights.items()), start=torch.zeros(()))
        self.optimizer.zero_grad()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        return {name: value.item() for name, value in losses.items()} | {"norm": float(norm)}

    def losses(self, batch: SoVITSBatch, speakers: list[str]) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            ge = self.model.ref_enc(batch.spec, batch.spec.new_ones(len(batch.spec), 1, batch.spec.shape[-1]))
            segments = synthesize_segments(self.model, batch, ge, segment=SEGMENT, noise=self.noise)
            losses = frame_losses(segments)
            whole = [row for row, frames in enumerate(batch.spec_lengths.tolist()) if frames >= SEGMENT][:JUDGED_ROWS]
            waves = segments.wave[whole].float()
            if not whole:
                return losses | dict.fromkeys(("content", "speaker", *ADVERSARIAL_WEIGHTS), torch.zeros(()))
            losses["content"] = self.content_loss(waves, segments.recorded[whole])
            if self.step >= self.adversarial_from:
                losses |= self.adversary.losses(waves, segments.recorded[whole])
        losses["speaker"] = self.speaker_loss(waves, [speakers[row] for row in whole])
        return losses

    def _save(self, seconds: float) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "step": self.step, "seconds": seconds,
            "chance": torch.get_rng_state(), "adversary": self.adversary.state_dict(),
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
        if "adversary" in state:
            self.adversary.load_state_dict(state["adversary"])
        torch.set_rng_state(state["chance"])
        logger.info("Going on from step %d.", self.step)
