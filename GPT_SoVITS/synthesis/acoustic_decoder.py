"""The second stage of synthesis as the pipeline sees it: semantic tokens and their conditions in, audio out.

`WaveformDecoder` is that of v1, v2, v2Pro, v2ProPlus and nano, `FlowDecoder` that of v3 and v4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.generator_rows import GeneratorUse
from GPT_SoVITS.synthesis.mel_synthesis import MelPrompt
from GPT_SoVITS.synthesis.prompt import ReferenceRecording
from GPT_SoVITS.synthesis.token_chunking import ChunkSettings

FRAMES_PER_SECOND = 50
"""Of the phonemes that audio speaks, two to a token at the voice's own pace."""


@dataclass(frozen=True, slots=True)
class AcousticConditions:
    """What the second stage reads of one sentence besides its tokens."""

    phones: Tensor
    """(S,) phoneme ids of the sentence alone."""
    style: Tensor
    """(1, G, 1) style of the voice."""
    noise: SeededNoise | Tensor
    """Of every frame; or recorded noise (1, C, F)."""
    speed: float = 1.0
    """Above 1 is faster."""
    mel_prompt: MelPrompt | None = None
    """The reference recording that v3 and v4 continue; None for the other versions."""
    steps: int | None = None
    """Steps of the sampler of v3 and v4; None as their recipe says."""


class AudioPiece(NamedTuple):
    """Consecutive audio of one sentence."""

    wave: Tensor
    """(N,)."""
    tokens: int
    """Semantic tokens that it took beyond those of earlier pieces."""
    spoken: Sequence[int] = ()
    """For each frame of a fiftieth of a second which phoneme it speaks, as an index into the sentence's."""
    last: bool = False
    """Whether the sentence ends here."""


class AcousticStream(Protocol):
    """The second stage of one sentence, in slices of work. Its pieces depend on the tokens, not on when they come."""

    @property
    def ready(self) -> bool:
        """Whether there is something to do; when all tokens were added and there is nothing, the sentence is over."""

    def add(self, tokens: Sequence[int]) -> None:
        """Add tokens; computes nothing."""

    def finish(self) -> None:
        """Take note that all tokens were added."""

    def advance(self) -> AudioPiece | None:
        """Do one slice of the work, and return the next piece of audio if that completed it."""


@runtime_checkable
class BatchableStream(AcousticStream, Protocol):
    """A stream whose slices can share a run of the generator with those of other sentences."""

    @property
    def can_begin_early(self) -> bool:
        """Whether `begin` takes less time on another thread while the tokens are generated."""

    def begin(self) -> None:
        """Encode the text, if that was not done; any thread may do it before the first slice."""

    @property
    def generator(self) -> object:
        """The network that computes most of a slice; streams that have it in common can share its runs."""

    def decoding(self) -> GeneratorUse[AudioPiece]:
        """Do what `advance` does."""


TokenClassifier = Callable[[Sequence[int]], np.ndarray]
"""Returns the log-probabilities (T, symbols) of the phonemes that tokens speak."""


class AcousticDecoder(Protocol):
    """The second stage of one voice; it owns no state of a request."""

    @property
    def sample_rate(self) -> int:
        """Hz of the audio."""

    @property
    def incremental(self) -> bool:
        """Whether audio can begin before all tokens of the sentence exist."""

    @property
    def needs_speaker_vector(self) -> bool:
        """Whether the style is made from a speaker vector, too."""

    @property
    def token_classifier(self) -> TokenClassifier | None:
        """What tells the phonemes that tokens speak; None for most versions."""

    def use_graphs(self) -> None:
        """Replay the work on chunks as CUDA graphs where that is possible; on the thread that owns the device."""

    def attend(self, tokens: Tensor, phones: Tensor) -> np.ndarray | None:
        """Return the attention (T, S) of tokens (T,) to phonemes (S,); None where a classifier takes its place."""

    def check_prompt(self, transcript: str, recordings: int) -> None:
        """Raise ModelError("bad_prompt") unless a prompt of so many recordings works with this transcript."""

    def encode_content(self, features: Tensor) -> Tensor:
        """Quantize content features (1, D, T) at 50 frames a second to semantic tokens (T // 2,)."""

    def encode_style(self, spectrograms: list[Tensor], speaker_vectors: list[Tensor] | None) -> Tensor:
        """Average the styles of recordings (1, F, T), with their speaker vectors (1, V) where needed -> (1, G, 1)."""

    def encode_mel_prompt(
        self, recording: ReferenceRecording, tokens: Tensor, phones: Tensor, style: Tensor
    ) -> MelPrompt | None:
        """Encode the beginning of every sentence, for decoders that continue the reference recording."""

    def decode(self, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions]) -> list[Tensor]:
        """Decode sentences of tokens (T_i,) side by side, each as it sounds alone -> waves (N_i,) in [-1, 1]."""

    def decode_aligned(self, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions]) -> list[AudioPiece]:
        """Decode sentences as `decode` does, with the phoneme of each frame."""

    def open_stream(self, conditions: AcousticConditions, settings: ChunkSettings | None) -> AcousticStream:
        """Begin a sentence whose tokens are still to come; without settings it has the samples of `decode`."""


def mean_of_frames(weights: Tensor) -> np.ndarray:
    """Return what tokens attend to (T, S) from what their frames do (2 T, S)."""
    of_tokens: np.ndarray = weights.reshape(-1, 2, weights.shape[1]).mean(dim=1).cpu().numpy()
    return of_tokens


def spread_frames(path: Tensor, count: int, speed: float) -> list[int]:
    """Return the phonemes of `count` frames of audio, from those (T,) of the encoded frames that it was made of."""
    if len(path) == 0:
        return []
    source = ((torch.arange(count, dtype=torch.float64) + 0.5) * speed).long().clamp_max(len(path) - 1)
    phonemes: list[int] = path.cpu()[source].tolist()
    return phonemes


def stream_audio(stream: AcousticStream, tokens: Iterable[int]) -> Iterator[AudioPiece]:
    """Yield the audio of one sentence piece by piece while its tokens arrive."""
    for token in tokens:
        stream.add([token])
        while stream.ready:
            if piece := stream.advance():
                yield piece
    stream.finish()
    while stream.ready:
        if piece := stream.advance():
            yield piece
