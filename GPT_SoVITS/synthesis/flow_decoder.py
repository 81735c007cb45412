"""The second stage of v3 and v4: semantic tokens to condition features, mel frames and audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.config import FlowMatchingAudioConfig
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions, AcousticStream
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
        groups: dict[tuple[int, int], list[int]] = {}
        for i, row in enumerate(conditions):
            groups.setdefault((id(row.mel_prompt), row.steps or self.steps), []).append(i)
        waves: dict[int, Tensor] = {}
        for (_, steps), group in groups.items():
            inputs = [self._synthesis_input(tokens[i], conditions[i]) for i in group]
            features, prompts, noises = zip(*inputs)
            waves |= dict(zip(group, self.synthesis.synthesize(features, prompts[0], noises, steps=steps)))
        return [waves[i] for i in range(len(tokens))]

    def open_stream(self, conditions: AcousticConditions, settings: ChunkSettings | None) -> AcousticStream:
        """Begin a sentence whose tokens are still to come.

        Its condition features depend on all its tokens, so audio begins after the last one. It comes as soon as each
        mel chunk is ready, whatever the settings, and all of it together is what `decode` returns.
        """
        return _MelSentence(partial(self._slices, conditions), conditions.style.device)

    def _slices(self, conditions: AcousticConditions, tokens: Tensor) -> Iterator[Tensor | None]:
        features, prompt, noise = self._synthesis_input(tokens, conditions)
        return self.synthesis.stream_in_slices(features, prompt, noise, steps=conditions.steps or self.steps)

    @torch.inference_mode()
    def _synthesis_input(self, tokens: Tensor, conditions: AcousticConditions) -> tuple[Tensor, MelPrompt, SeededNoise]:
        """Return what `ChunkedSynthesis` reads of a sentence: features (1, C, F), prompt, noise."""
        assert conditions.mel_prompt is not None, "prompts of these versions are prepared with one"
        assert isinstance(conditions.noise, SeededNoise)
        features = self.model.condition(
            tokens[None, None], conditions.phones[None], conditions.style, speed=conditions.speed
        )
        return features, conditions.mel_prompt, conditions.noise


class _MelSentence:
    """An `AcousticStream` whose slices are steps of the sampler."""

    def __init__(self, slices: Callable[[Tensor], Iterator[Tensor | None]], device: torch.device) -> None:
        self.new_slices = slices
        self.device = device
        self.tokens: list[int] = []
        self.slices: Iterator[Tensor | None] | None = None
        self.untold_tokens = 0
        """New tokens of the next piece: the first one took them all."""
        self.ready = False

    def add(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens

    def finish(self) -> None:
        self.ready = True
        self.untold_tokens = len(self.tokens)

    def advance(self) -> tuple[Tensor, int] | None:
        if self.slices is None:
            self.slices = self.new_slices(torch.tensor(self.tokens, dtype=torch.long, device=self.device))
            return None
        try:
            wave = next(self.slices)
        except StopIteration:
            self.ready = False
            return None
        if wave is None:
            return None
        count, self.untold_tokens = self.untold_tokens, 0
        return wave, count
