"""v3 and v4 from condition features to audio, chunk by chunk (inference-pipeline §9, corrected as in §15).

The transformer reads `chunk` frames at a time, and every chunk begins with a prompt: first the reference recording,
then the end of the chunk before, so that no joint is audible. Each sentence is chunked by itself, and each row of a
batch has its own noise and its own length: neither the other sentences nor their number change a sample.

Shapes: B rows, C condition width, M mel bands, T or F frames, P frames of the prompt, N samples.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import denormalize
from GPT_SoVITS.flow_matching.cfm import run_to_end
from GPT_SoVITS.noise import NoisePurpose, SeededNoise
from GPT_SoVITS.synthesis.vocoder_stream import VocoderStream
from GPT_SoVITS.vocoders import Vocoder

MAX_ROWS = 8
"""Rows in one call of the transformer on an accelerator; more wait for the next. A CPU gains nothing by them and would
compute padding."""


class MelSampler(Protocol):
    """The part of the acoustic model that samples mel frames; FlowMatching has it."""

    bands: int
    """Of a mel."""

    def sample_stepwise(
        self,
        condition: Tensor,
        prompt: Tensor,
        *,
        lengths: Tensor | None = None,
        steps: int,
        noise: Tensor | None = None,
    ) -> Generator[None, None, Tensor]:
        """Sample condition (B, C, T), prompt (B, M, P) and noise (B, M, T) of `lengths` (B,) valid frames.

        Returns:
            The mel (B, M, T), after a pause behind each step.
        """


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Mel frames that the transformer reads at a time."""

    prompt: int
    """Longest prompt; of a longer recording the end is used."""
    chunk: int
    """Prompt and new frames together."""

    @classmethod
    def from_recipe(cls, synthesis: Mapping[str, int]) -> ChunkSizes:
        """Read the `synthesis` section of a version's recipe."""
        return cls(synthesis["prompt_frames"], synthesis["chunk_frames"])


@dataclass(frozen=True, slots=True)
class MelPrompt:
    """The beginning of every first chunk: a reference recording."""

    condition: Tensor
    """(1, C, P) features of its tokens and transcript."""
    mel: Tensor
    """(1, M, P) normalized."""


def mel_prompt(condition: Tensor, mel: Tensor, sizes: ChunkSizes) -> MelPrompt:
    """Cut both features of a recording to the last `sizes.prompt` frames that they have in common.

    Args:
        condition: (1, C, T) from the recording's start.
        mel: (1, M, T') normalized, from the recording's start.

    Raises:
        ModelError: "bad_prompt" when there is no common frame.
    """
    common = min(condition.shape[2], mel.shape[2])
    if common == 0:
        raise ModelError("bad_prompt", "The reference recording is too short for a single frame.")
    first = max(0, common - sizes.prompt)
    return MelPrompt(condition[:, :, first:common], mel[:, :, first:common])


def even_chunks(frames: int, max_length: int, first: int | None = None) -> list[int]:
    """Divide frames into the fewest chunks of at most `max_length`, as equal as possible, and return their lengths.

    So no scrap is left at the end. `first` limits the first chunk alone.
    """
    if first is not None and 0 < first < min(frames, max_length):
        return [first, *even_chunks(frames - first, max_length)]
    count = -(-frames // max_length)
    return [frames * (i + 1) // count - frames * i // count for i in range(count)]


class ChunkedSynthesis:
    """An acoustic model and its vocoder, without any state of a request."""

    def __init__(self, model: MelSampler, vocoder: Vocoder, sizes: ChunkSizes, *, max_rows: int | None = None) -> None:
        """Combine both networks. `max_rows` defaults to 1 on a CPU and MAX_ROWS elsewhere; it changes no sample."""
        self.model = model
        self.vocoder = vocoder
        self.sizes = sizes
        self.max_rows = max_rows

    def synthesize(
        self, features: Sequence[Tensor], prompt: MelPrompt, noises: Sequence[SeededNoise], *, steps: int
    ) -> list[Tensor]:
        """Synthesize several sentences with one prompt, each as it sounds alone.

        Args:
            features: (1, C, F) of each sentence.
            noises: Of each sentence.
            steps: Steps of the sampler.

        Returns:
            (F * hop,) float32 samples of each sentence, on the CPU, at the vocoder's rate.

        Raises:
            ModelError: "bad_prompt" when the prompt leaves no room in a chunk.
            ValueError: There is not one noise for each sentence.
        """
        rows = [self._new_row(sentence, prompt, noise) for sentence, noise in zip(features, noises, strict=True)]
        streams = [VocoderStream(self.vocoder) for _ in rows]
        waves: list[list[Tensor]] = [[] for _ in rows]
        while unfinished := [i for i, row in enumerate(rows) if row.chunks]:
            for i, mel in zip(unfinished, run_to_end(self._next_chunks([rows[i] for i in unfinished], steps))):
                waves[i].append(streams[i].push(denormalize(mel[None]), last=not rows[i].chunks))
        return [torch.cat(pieces) if pieces else torch.zeros(0) for pieces in waves]

    def stream(
        self,
        features: Tensor,
        prompt: MelPrompt,
        noise: SeededNoise,
        *,
        steps: int,
        first_frames: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield the samples (n,) of one sentence, on the CPU, as soon as each of its chunks is ready.

        Together they are what `synthesize` returns. `first_frames` limits the first chunk, so that audio begins sooner;
        the sentence is then cut elsewhere and sounds a little different.
        """
        slices = self.stream_in_slices(features, prompt, noise, steps=steps, first_frames=first_frames)
        return (samples for samples in slices if samples is not None)

    def stream_in_slices(
        self,
        features: Tensor,
        prompt: MelPrompt,
        noise: SeededNoise,
        *,
        steps: int,
        first_frames: int | None = None,
    ) -> Iterator[Tensor | None]:
        """Stream as `stream` does, with None after each step of the sampler, where the device may do something else."""
        row = self._new_row(features, prompt, noise, first_frames)
        vocoder_stream = VocoderStream(self.vocoder)
        while row.chunks:
            (mel,) = yield from self._next_chunks([row], steps)
            samples = vocoder_stream.push(denormalize(mel[None]), last=not row.chunks)
            yield samples if len(samples) else None

    def _new_row(
        self, features: Tensor, prompt: MelPrompt, noise: SeededNoise, first_frames: int | None = None
    ) -> _Row:
        prompt_frames = prompt.mel.shape[2]
        max_length = self.sizes.chunk - prompt_frames
        if max_length < 1:
            raise ModelError(
                "bad_prompt",
                f"A prompt of {prompt_frames} frames leaves no room in a chunk of {self.sizes.chunk}.",
                hint=f"`mel_prompt` cuts it to {self.sizes.prompt}.",
            )
        lengths = even_chunks(features.shape[2], max_length, first_frames)
        chunks = list(torch.split(features[0], lengths, dim=1)) if lengths else []
        return _Row(chunks, prompt.condition[0], prompt.mel[0], noise)

    @torch.inference_mode()
    def _next_chunks(self, rows: list[_Row], steps: int) -> Generator[None, None, list[Tensor]]:
        """Sample the next chunk of every row and append it to the row's prompt -> (M, t) each, normalized.

        `max_rows` rows go through the transformer in one call. Pauses after each step.
        """
        max_rows = self.max_rows or (1 if rows[0].mel.device.type == "cpu" else MAX_ROWS)
        mels: list[Tensor] = []
        for start in range(0, len(rows), max_rows):
            batch = rows[start : start + max_rows]
            prompt_frames = batch[0].mel.shape[1]
            sizes = [row.chunks[0].shape[1] for row in batch]
            conditions = [
                F.pad(torch.cat([row.condition, row.chunks[0]], dim=1), (0, max(sizes) - size))
                for row, size in zip(batch, sizes)
            ]
            lengths = torch.tensor([prompt_frames + size for size in sizes], device=conditions[0].device)
            mel = yield from self.model.sample_stepwise(
                torch.stack(conditions),
                torch.stack([row.mel for row in batch]),
                lengths=lengths,
                steps=steps,
                noise=torch.stack([row.next_noise(self.model.bands, conditions[0].shape[1]) for row in batch]),
            )
            mels += [mel[i, :, prompt_frames : prompt_frames + size] for i, size in enumerate(sizes)]
        for row, mel in zip(rows, mels):
            row.append(mel)
        return mels


@dataclass(slots=True)
class _Row:
    """A sentence that is being sampled."""

    chunks: list[Tensor]
    """(C, t) condition features of the chunks to come."""
    condition: Tensor
    """(C, P) of the prompt of the next chunk."""
    mel: Tensor
    """(M, P) of the prompt of the next chunk, normalized."""
    noise: SeededNoise
    drawn: int = 0
    """Frames of noise that were used."""

    def next_noise(self, bands: int, frames: int) -> Tensor:
        """Return noise (M, T) of the prompt and the next chunk."""
        return self.noise.normal(NoisePurpose.MEL, self.drawn, frames, bands, self.mel.device).T

    def append(self, mel: Tensor) -> None:
        """Make the first chunk, sampled as mel (M, t), the end of the prompt, whose length stays the same."""
        prompt_frames = self.mel.shape[1]
        self.drawn += prompt_frames + mel.shape[1]
        self.condition = torch.cat([self.condition, self.chunks.pop(0)], dim=1)[:, -prompt_frames:]
        self.mel = torch.cat([self.mel, mel], dim=1)[:, -prompt_frames:]
