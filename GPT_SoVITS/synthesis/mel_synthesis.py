"""v3 and v4 from condition features to sound, chunk by chunk (specification inference-pipeline §9, mended as in §15).

The transformer sees `chunk` frames at a time, and the reference recording is the beginning of every one. Sentences
are chunked each for itself, and a row of a batch has its own noise and its own length: neither the other sentences nor
their number change a sound. `serial` (the default) lets every chunk of a sentence continue the one before: no joint is
audible, but a sentence's chunks wait for one another, and over many of them the voice may wander. `parallel` makes all
chunks at once, each from the recording itself, and cross-fades the waves where they agree: for long sentences on a GPU
that a few chunks do not fill. A sentence of a single chunk sounds the same by both.

Shapes: B rows, C condition width, M mel bands, T or F frames, P frames of the prompt, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import denormalise
from GPT_SoVITS.synthesis.mel_chunking import ChunkSizes, even_pieces, overlapping_windows
from GPT_SoVITS.synthesis.sola import join
from GPT_SoVITS.synthesis.vocoder_stream import VocoderStream
from GPT_SoVITS.vocoders import Vocoder

ROWS_AT_ONCE = 8
"""Rows in one call of the transformer on an accelerator; more wait for the next. A CPU gains nothing by them and would
compute padding."""
METHODS = ("serial", "parallel")


class MelSampler(Protocol):
    """What is asked of the acoustic model; FlowMatchingSoVITS has it."""

    def sample(
        self,
        condition: Tensor,
        prompt: Tensor,
        *,
        lengths: Tensor | None = None,
        steps: int,
        temperature: float = 1.0,
        noise: Tensor | None = None,
        generators: Sequence[torch.Generator] | None = None,
        compat: str | None = None,
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class MelPrompt:
    """A reference recording as chunks begin with it."""

    condition: Tensor
    """(1, C, P) features of its tokens and transcript."""
    mel: Tensor
    """(1, M, P) normalised."""


def mel_prompt(condition: Tensor, mel: Tensor, sizes: ChunkSizes) -> MelPrompt:
    """condition (1, C, T), mel (1, M, T') normalised, both from the recording's start -> the last `sizes.reference`
    frames that they have in common. Raises ModelError("bad_prompt") when there is none."""
    common = min(condition.shape[2], mel.shape[2])
    if common == 0:
        raise ModelError("bad_prompt", "The reference recording is too short for a single frame.")
    first = max(0, common - sizes.reference)
    return MelPrompt(condition[:, :, first:common], mel[:, :, first:common])


class ChunkedSynthesis:
    """An acoustic model and its vocoder; owns no state of a request."""

    def __init__(
        self,
        model: MelSampler,
        vocoder: Vocoder,
        sizes: ChunkSizes,
        *,
        rows_at_once: int | None = None,
    ) -> None:
        """`rows_at_once` is by itself 1 on a CPU and ROWS_AT_ONCE elsewhere; it changes no sound."""
        self.model = model
        self.vocoder = vocoder
        self.sizes = sizes
        self.rows_at_once = rows_at_once

    def speak(
        self,
        features: Tensor,
        prompt: MelPrompt,
        generator: torch.Generator,
        *,
        steps: int,
        temperature: float = 1.0,
        method: str = "serial",
    ) -> Tensor:
        """One sentence: features (1, C, F) -> (N,) float32 on the CPU at the vocoder's rate.

        N is F * hop, less what the joints of the parallel method take.
        """
        return self.speak_batch([features], prompt, [generator], steps=steps, temperature=temperature, method=method)[0]

    @torch.inference_mode()
    def speak_batch(
        self,
        features: Sequence[Tensor],
        prompt: MelPrompt,
        generators: Sequence[torch.Generator],
        *,
        steps: int,
        temperature: float = 1.0,
        method: str = "serial",
    ) -> list[Tensor]:
        """Several sentences of one voice, each with a CPU generator of its own: every one as `speak` gives it alone.

        Raises ModelError("bad_request") for a method that is not in METHODS.
        """
        if method not in METHODS:
            raise ModelError(
                "bad_request", f"{method!r} is no way to join chunks.", hint=f"There are {', '.join(METHODS)}."
            )
        settings = _Settings(steps, temperature)
        if method == "parallel":
            return self._parallel(features, prompt, generators, settings)
        rows = [self._row(one, prompt, own) for one, own in zip(features, generators, strict=True)]
        mels: list[list[Tensor]] = [[] for _ in rows]
        while unfinished := [i for i, row in enumerate(rows) if row.pieces]:
            made = self._advance([rows[i] for i in unfinished], settings)
            for i, mel in zip(unfinished, made):
                mels[i].append(mel)
        return [self._vocode(torch.cat(parts, dim=1)) if parts else torch.zeros(0) for parts in mels]

    def stream(
        self,
        features: Tensor,
        prompt: MelPrompt,
        generator: torch.Generator,
        *,
        steps: int,
        temperature: float = 1.0,
        first: int | None = None,
    ) -> Iterator[Tensor]:
        """One sentence as soon as each of its chunks is ready: (n,) samples on the CPU; together they are what `speak`
        gives by the serial method.

        `first` limits the frames of the first chunk, so that the first sound comes sooner; the sentence is then cut
        elsewhere and sounds a little different.
        """
        settings = _Settings(steps, temperature)
        row = self._row(features, prompt, generator, first)
        sound = VocoderStream(self.vocoder)
        while row.pieces:
            (mel,) = self._advance([row], settings)
            samples = sound.push(denormalise(mel[None]), last=not row.pieces)
            if len(samples):
                yield samples

    def _row(self, features: Tensor, prompt: MelPrompt, generator: torch.Generator, first: int | None = None) -> _Row:
        cuts = even_pieces(features.shape[2], self._room(prompt), first)
        return _Row(list(features[0].split(cuts, dim=1)) if cuts else [], prompt.condition[0], prompt.mel[0], generator)

    @torch.inference_mode()
    def _advance(self, rows: list[_Row], settings: _Settings) -> list[Tensor]:
        """The next piece of every row: (M, t) each, normalised. What was made is the end of the row's next prompt,
        as long as the first one was."""
        pieces = [row.pieces.pop(0) for row in rows]
        made = self._sample(
            [_Window(row.condition, row.mel, piece, row.generator) for row, piece in zip(rows, pieces)], settings
        )
        for row, piece, mel in zip(rows, pieces, made):
            known = row.mel.shape[1]
            row.condition = torch.cat([row.condition, piece], dim=1)[:, -known:]
            row.mel = torch.cat([row.mel, mel], dim=1)[:, -known:]
        return made

    def _parallel(
        self,
        features: Sequence[Tensor],
        prompt: MelPrompt,
        generators: Sequence[torch.Generator],
        settings: _Settings,
    ) -> list[Tensor]:
        room, overlap = self._room(prompt), self.sizes.overlap
        plans = [overlapping_windows(one.shape[2], room, overlap) for one in features]
        windows = [
            _Window(prompt.condition[0], prompt.mel[0], one[0, :, start:end], own)
            for one, plan, own in zip(features, plans, generators, strict=True)
            for start, end in plan
        ]
        made = iter(self._sample(windows, settings))
        waves = []
        for plan in plans:
            parts = [self._vocode(next(made)) for _ in plan]
            shared = [(end - start) * self.vocoder.hop for (_, end), (start, _) in pairwise(plan)]
            waves.append(join(parts, shared).wave if parts else torch.zeros(0))
        return waves

    def _sample(self, windows: list[_Window], settings: _Settings) -> list[Tensor]:
        """(M, t) for every window, `rows_at_once` of them in one call."""
        made: list[Tensor] = []
        on_cpu = not windows or windows[0].mel.device.type == "cpu"
        at_once = self.rows_at_once or (1 if on_cpu else ROWS_AT_ONCE)
        for start in range(0, len(windows), at_once):
            rows = windows[start : start + at_once]
            known = rows[0].mel.shape[1]
            sizes = [row.piece.shape[1] for row in rows]
            conditions = [
                F.pad(torch.cat([row.condition, row.piece], dim=1), (0, max(sizes) - size))
                for row, size in zip(rows, sizes)
            ]
            mel = self.model.sample(
                torch.stack(conditions),
                torch.stack([row.mel for row in rows]),
                lengths=torch.tensor([known + size for size in sizes], device=conditions[0].device),
                steps=settings.steps,
                temperature=settings.temperature,
                generators=[row.generator for row in rows],
            )
            made += [mel[i, :, known : known + size] for i, size in enumerate(sizes)]
        return made

    def _vocode(self, mel: Tensor) -> Tensor:
        """(M, T) normalised -> (T * hop,) on the CPU."""
        return self.vocoder(denormalise(mel[None]))[0, 0].float().cpu()

    def _room(self, prompt: MelPrompt) -> int:
        """Frames of a chunk that the prompt leaves."""
        room = self.sizes.chunk - prompt.mel.shape[2]
        if room <= self.sizes.overlap:
            raise ModelError(
                "bad_prompt",
                f"A prompt of {prompt.mel.shape[2]} frames leaves no room in a chunk of {self.sizes.chunk}.",
                hint=f"`mel_prompt` cuts it to {self.sizes.reference}.",
            )
        return room


@dataclass(slots=True)
class _Row:
    """A sentence on its way."""

    pieces: list[Tensor]
    """(C, t) each, still to be made."""
    condition: Tensor
    """(C, P) of the prompt of the next piece."""
    mel: Tensor
    """(M, P) of it, normalised."""
    generator: torch.Generator


@dataclass(frozen=True, slots=True)
class _Window:
    """A chunk as the transformer sees it: a prompt and what follows."""

    condition: Tensor
    """(C, P)."""
    mel: Tensor
    """(M, P)."""
    piece: Tensor
    """(C, t)."""
    generator: torch.Generator


@dataclass(frozen=True, slots=True)
class _Settings:
    steps: int
    temperature: float
