"""The second stage of v3 and v4: semantic tokens to condition features, mel frames and audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.config import FlowMatchingAudioConfig
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.acoustic_decoder import (
    FRAMES_PER_SECOND,
    AcousticConditions,
    AcousticStream,
    AudioPiece,
    mean_of_frames,
    spread_frames,
)
from GPT_SoVITS.synthesis.mel_synthesis import ChunkedSynthesis, ChunkSizes, MelPrompt, mel_prompt
from GPT_SoVITS.synthesis.prompt import ReferenceRecording
from GPT_SoVITS.synthesis.token_chunking import ChunkSettings
from GPT_SoVITS.vocoders import Vocoder


class FlowDecoder:
    """A flow-matching network with its vocoder as an `AcousticDecoder`."""

    incremental = False
    needs_speaker_vector = False

    def __init__(self, model: FlowMatchingSoVITS, vocoder: Vocoder, recipe: Recipe, *, version: str) -> None:
        self.model = model
        self.version = version
        self.mel_config = read_section(FlowMatchingAudioConfig, recipe["data"], extra=True).mel
        self.steps = int(recipe["synthesis"]["steps"])
        self.sizes = ChunkSizes.from_recipe(recipe["synthesis"])
        self.synthesis = ChunkedSynthesis(model.cfm, vocoder, self.sizes)
        self.sample_rate = vocoder.sample_rate

    token_classifier = None

    def use_graphs(self) -> None:
        """Do nothing: a step of the sampler has other sizes for every sentence, and large operations."""

    @torch.inference_mode()
    def attend(self, tokens: Tensor, phones: Tensor) -> np.ndarray | None:
        """Return the attention (T, S) of tokens (T,) to phonemes (S,)."""
        text = self.model.enc_p.encode_text(phones[None], torch.tensor([len(phones)], device=phones.device))
        vectors = self.model.quantizer.decode(tokens[None, None]).repeat_interleave(2, dim=2)
        weights = self.model.enc_p.attend(vectors, vectors.new_ones(1, 1, vectors.shape[2]), text)
        return None if weights is None else mean_of_frames(weights[0])

    def check_prompt(self, transcript: str, recordings: int) -> None:
        """Raise ModelError("bad_prompt") unless there is one recording with its transcript."""
        if not transcript.strip():
            raise ModelError("bad_prompt", f"{self.version} needs the transcript of its reference recording.")
        if recordings > 1:
            raise ModelError(
                "bad_prompt",
                f"{self.version} continues one reference recording; {recordings - 1} more were given.",
                hint="v1, v2 and the v2Pro family take several.",
            )

    def encode_content(self, features: Tensor) -> Tensor:
        """Quantize content features (1, D, T) at 50 frames a second to semantic tokens (T // 2,)."""
        return self.model.extract_codes(features)[0, 0]

    def encode_style(self, spectrograms: list[Tensor], speaker_vectors: list[Tensor] | None) -> Tensor:
        """Average the styles of recordings (1, F, T) -> (1, G, 1)."""
        return self.model.style(spectrograms)

    @torch.inference_mode()
    def encode_mel_prompt(
        self, recording: ReferenceRecording, tokens: Tensor, phones: Tensor, style: Tensor
    ) -> MelPrompt:
        """Encode the end of the recording, with which every sentence begins."""
        condition = self.model.condition(tokens[None, None], phones[None], style)
        return mel_prompt(condition, recording.normalized_mel(self.mel_config).to(style.device), self.sizes)

    def decode(self, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions]) -> list[Tensor]:
        """Decode sentences of tokens (T_i,) -> waves (N_i,) float32 on the CPU.

        Those with one prompt and the same number of steps go side by side.
        """
        return [piece.wave for piece in self.decode_aligned(tokens, conditions)]

    def decode_aligned(self, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions]) -> list[AudioPiece]:
        """Decode sentences as `decode` does, with the phoneme of each frame."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, row in enumerate(conditions):
            groups.setdefault((id(row.mel_prompt), row.steps or self.steps), []).append(i)
        pieces: dict[int, AudioPiece] = {}
        for (_, steps), group in groups.items():
            inputs = [self._synthesis_input(tokens[i], conditions[i]) for i in group]
            features, prompts, noises, paths = zip(*inputs)
            waves = self.synthesis.synthesize(features, prompts[0], noises, steps=steps)
            for i, wave, path in zip(group, waves, paths):
                spoken = spread_frames(path, self._frames(len(wave)), conditions[i].speed)
                pieces[i] = AudioPiece(wave, len(tokens[i]), spoken, last=True)
        return [pieces[i] for i in range(len(tokens))]

    def open_stream(self, conditions: AcousticConditions, settings: ChunkSettings | None) -> AcousticStream:
        """Begin a sentence whose tokens are still to come.

        Its condition features depend on all its tokens, so audio begins after the last one. It comes as soon as each
        mel chunk is ready, whatever the settings, and all of it together is what `decode` returns.
        """
        return _MelSentence(partial(self._slices, conditions), conditions.style.device)

    def _slices(self, conditions: AcousticConditions, tokens: Tensor) -> Iterator[AudioPiece | None]:
        """Yield the pieces of a sentence, of which the first has all tokens, with None after each step."""
        features, prompt, noise, path = self._synthesis_input(tokens, conditions)
        count, samples = len(tokens), 0
        for wave in self.synthesis.stream_in_slices(features, prompt, noise, steps=conditions.steps or self.steps):
            if wave is None:
                yield None
                continue
            begin, samples = self._frames(samples), samples + len(wave)
            spoken = spread_frames(path, self._frames(samples), conditions.speed)[begin:]
            yield AudioPiece(wave, count, spoken, last=samples >= features.shape[2] * self.synthesis.vocoder.hop)
            count = 0

    def _frames(self, samples: int) -> int:
        """Return how many frames of a fiftieth of a second have begun within so many samples."""
        return -(-samples * FRAMES_PER_SECOND // self.sample_rate)

    @torch.inference_mode()
    def _synthesis_input(
        self, tokens: Tensor, conditions: AcousticConditions
    ) -> tuple[Tensor, MelPrompt, SeededNoise, Tensor]:
        """Return what `ChunkedSynthesis` reads of a sentence: features (1, C, F), prompt, noise; and its path (T,)."""
        assert conditions.mel_prompt is not None, "prompts of these versions are prepared with one"
        assert isinstance(conditions.noise, SeededNoise)
        features, path = self.model.condition_aligned(
            tokens[None, None], conditions.phones[None], conditions.style, speed=conditions.speed
        )
        return features, conditions.mel_prompt, conditions.noise, path


class _MelSentence:
    """An `AcousticStream` whose slices are steps of the sampler."""

    def __init__(self, slices: Callable[[Tensor], Iterator[AudioPiece | None]], device: torch.device) -> None:
        self.new_slices = slices
        self.device = device
        self.tokens: list[int] = []
        self.slices: Iterator[AudioPiece | None] | None = None
        self.ready = False

    def add(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens

    def finish(self) -> None:
        self.ready = True

    def advance(self) -> AudioPiece | None:
        if self.slices is None:
            self.slices = self.new_slices(torch.tensor(self.tokens, dtype=torch.long, device=self.device))
            return None
        try:
            return next(self.slices)
        except StopIteration:
            self.ready = False
            return None
