"""The second stage of v1, v2, v2Pro, v2ProPlus and nano: semantic tokens straight to a waveform.

Upstream joins all sentences of a batch into one (inference-pipeline §8), so that they attend to each other and a
sentence sounds different with another batch size. Here each row keeps its own length, phonemes, style, speed and noise,
and gives what it gives alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.sovits.aligned_text import AlignedText
from GPT_SoVITS.sovits.encoder import Prior, stretch
from GPT_SoVITS.sovits.flow import IdentityFlow
from GPT_SoVITS.sovits.frame_generator import FrameGenerator
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs, voice_graphs
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import NOISE_SCALE, SoVITS, frame_noise
from GPT_SoVITS.synthesis.acoustic_decoder import (
    AcousticConditions,
    AcousticStream,
    AudioPiece,
    TokenClassifier,
    mean_of_frames,
    spread_frames,
)
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, GeneratorUse, generate, generate_alone
from GPT_SoVITS.synthesis.prompt import ReferenceRecording
from GPT_SoVITS.synthesis.streaming_decoder import StreamingDecoder
from GPT_SoVITS.synthesis.token_chunking import ChunkSettings, TokenChunker
from GPT_SoVITS.threads import single_thread


class WaveformDecoder:
    """A SoVITS network as an `AcousticDecoder`."""

    incremental = True

    def __init__(self, sovits: SoVITS, sample_rate: int, *, silence_similarity: list[float] | None = None) -> None:
        """Cut streams at pauses by the `silence_similarity` of every token; None cuts by length alone."""
        self.sovits = sovits
        self.sample_rate = sample_rate
        self.silence_similarity = silence_similarity
        self.needs_speaker_vector = sovits.speaker_vector
        self.graphs: VoiceGraphs | None = None
        is_small = isinstance(sovits.dec, FrameGenerator) and sovits.dec.window.device.type == "cpu"
        self.threads: Callable[[], AbstractContextManager[None]] = single_thread if is_small else nullcontext
        """Limits the threads of its operations to what is fastest; how they are rounded depends on it."""

    @property
    def token_classifier(self) -> TokenClassifier | None:
        """Returns the log-probabilities (T, symbols) of the phonemes that tokens speak; nano has a network for it."""
        return self._classify_tokens if isinstance(self.sovits.enc_p.mrte, AlignedText) else None

    @torch.inference_mode()
    def _classify_tokens(self, tokens: Sequence[int]) -> np.ndarray:
        """Return log-probabilities (T, symbols), the sum over both frames of each token."""
        codes = torch.tensor(tokens, dtype=torch.long, device=next(self.sovits.parameters()).device)[None, None]
        with self.threads():
            vectors = self.sovits.token_vectors(codes)
            log_probs = self.sovits.enc_p.listener(vectors, vectors.new_ones(1, 1, vectors.shape[2]))[
                0
            ]  # (2T, symbols)
            of_tokens: np.ndarray = log_probs.unflatten(0, (-1, 2)).sum(dim=1).cpu().numpy()
        return of_tokens

    @torch.inference_mode()
    def attend(self, tokens: Tensor, phones: Tensor) -> np.ndarray | None:
        """Return the attention (T, S) of tokens (T,) to phonemes (S,); None of nano, which has a classifier."""
        text = self.sovits.enc_p.encode_text(phones[None], torch.tensor([len(phones)], device=phones.device))
        vectors = self.sovits.token_vectors(tokens[None, None])
        weights = self.sovits.enc_p.attend(vectors, vectors.new_ones(1, 1, vectors.shape[2]), text)
        return None if weights is None else mean_of_frames(weights[0])

    def use_graphs(self) -> None:
        """Replay the work on chunks as CUDA graphs where they can be captured; on the thread that owns the device."""
        self.graphs = voice_graphs(self.sovits)

    def check_prompt(self, transcript: str, recordings: int) -> None:
        """Accept every prompt: these versions work without a transcript, and average several recordings."""

    def encode_content(self, features: Tensor) -> Tensor:
        """Quantize content features (1, D, T) at 50 frames a second to semantic tokens (T // 2,)."""
        return self.sovits.extract_codes(features)[0, 0]

    def encode_style(self, spectrograms: list[Tensor], speaker_vectors: list[Tensor] | None) -> Tensor:
        """Average the styles of recordings (1, F, T), with their speaker vectors (1, V) where needed -> (1, G, 1)."""
        return self.sovits.style(spectrograms, speaker_vectors)

    def encode_mel_prompt(self, recording: ReferenceRecording, tokens: Tensor, phones: Tensor, style: Tensor) -> None:
        """Return None: these versions do not continue the recording."""

    @torch.inference_mode()
    def decode(
        self,
        tokens: Sequence[Tensor],
        conditions: Sequence[AcousticConditions],
        *,
        batch_generator: bool | None = None,
    ) -> list[Tensor]:
        """Decode sentences side by side, each as it sounds alone.

        Args:
            tokens: (T_i,) generated semantic tokens of each sentence, without those of the prompt.
            conditions: Of each sentence.
            batch_generator: Run the generator, nine tenths of the work, on all rows at once. By default only on an
                accelerator: a CPU gains nothing by it and would compute padding.

        Returns:
            (N_i,) samples of each sentence in [-1, 1].
        """
        pieces = self.decode_aligned(tokens, conditions, batch_generator=batch_generator)
        return [piece.wave for piece in pieces]

    @torch.inference_mode()
    def decode_aligned(
        self,
        tokens: Sequence[Tensor],
        conditions: Sequence[AcousticConditions],
        *,
        batch_generator: bool | None = None,
    ) -> list[AudioPiece]:
        """Decode sentences as `decode` does, with the phoneme of each frame."""
        with self.threads():
            return self._decode_aligned(tokens, conditions, batch_generator)

    def _decode_aligned(
        self, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions], batch_generator: bool | None
    ) -> list[AudioPiece]:
        sovits = self.sovits
        styles = torch.cat([row.style for row in conditions])  # (B, G, 1)
        device = styles.device
        codes = pad_sequence([row.to(device) for row in tokens], batch_first=True)  # (B, T)
        phones = pad_sequence([row.phones.to(device) for row in conditions], batch_first=True)  # (B, S)
        text = sovits.enc_p.encode_text(phones, torch.tensor([len(row.phones) for row in conditions], device=device))
        lengths = [2 * len(row) for row in tokens]
        mask = length_mask(torch.tensor(lengths, device=device), 2 * codes.shape[1])
        vectors = sovits.token_vectors(codes[None])  # (B, D, 2T)
        encoded, paths = sovits.enc_p.encode_aligned(vectors, mask, text, sovits.text_style(styles))  # (B, H, 2T)

        # Each row is stretched by its own length: in a padded batch the source positions would be those of the longest.
        rows = [
            stretch(encoded[i : i + 1, :, :length], row.speed)[0].T
            for i, (length, row) in enumerate(zip(lengths, conditions))
        ]
        frames = [len(row) for row in rows]
        spoken = [
            spread_frames(path[:length], count, row.speed)
            for path, length, count, row in zip(paths, lengths, frames, conditions)
        ]
        encoded = pad_sequence(rows, batch_first=True).transpose(1, 2)  # (B, H, F)
        prior = sovits.enc_p.prior(encoded, length_mask(torch.tensor(frames, device=device), max(frames)))
        noise = None if isinstance(sovits.flow, IdentityFlow) else _noise_of(conditions, frames, prior)
        latent = sovits.sample_latent(prior, styles, NOISE_SCALE, noise)  # (B, C, F)

        if batch_generator is None:
            batch_generator = device.type != "cpu"
        inputs = [
            GeneratorRow(sovits.dec, latent[i : i + 1, :, :count], styles[i : i + 1], self.graphs)
            for i, count in enumerate(frames)
        ]
        waves = generate(inputs) if batch_generator else [generate([row])[0] for row in inputs]
        return [
            AudioPiece(wave[: count * sovits.dec.hop], len(row), path, last=True)
            for wave, count, row, path in zip(waves, frames, tokens, spoken)
        ]

    def open_stream(self, conditions: AcousticConditions, settings: ChunkSettings | None) -> AcousticStream:
        """Begin a sentence whose tokens are still to come; without settings it has the samples of `decode`."""
        return _Sentence(self, conditions) if settings is None else _ChunkedSentence(self, conditions, settings)


class _ChunkedSentence:
    """A `BatchableStream` that decodes a chunk as soon as its tokens are there."""

    def __init__(self, decoder: WaveformDecoder, conditions: AcousticConditions, settings: ChunkSettings) -> None:
        self.chunker = TokenChunker(settings, decoder.silence_similarity)
        self.network = decoder.sovits.dec
        self.threads = decoder.threads
        self.beginning = Lock()
        self.new_decoder = partial(StreamingDecoder, decoder.sovits, conditions, settings, decoder.graphs)
        self.decoder: StreamingDecoder | None = None
        self.chunks: deque[list[int]] = deque()
        """Complete ones that were not decoded; after `finish`, the last one may be empty."""
        self.finished = False

    @property
    def ready(self) -> bool:
        return bool(self.chunks)

    def add(self, tokens: Sequence[int]) -> None:
        self.chunks += (chunk for token in tokens if (chunk := self.chunker.add(token)))

    def finish(self) -> None:
        self.chunks.append(self.chunker.flush())
        self.finished = True

    @property
    def can_begin_early(self) -> bool:
        return self.threads is single_thread  # others use all cores for whatever they do

    def begin(self) -> None:
        with self.beginning, self.threads():
            if self.decoder is None:
                self.decoder = self.new_decoder()

    def advance(self) -> AudioPiece:
        with self.threads():
            return generate_alone(self.decoding())

    @property
    def generator(self) -> object:
        return self.network

    def decoding(self) -> GeneratorUse[AudioPiece]:
        self.begin()
        assert self.decoder is not None
        chunk = self.chunks.popleft()
        last = self.finished and not self.chunks
        wave = yield from self.decoder.decoding(chunk, final=last)
        return AudioPiece(wave, len(chunk), self.decoder.spoken, last)


class _Sentence:
    """An `AcousticStream` that decodes all tokens at once."""

    def __init__(self, decoder: WaveformDecoder, conditions: AcousticConditions) -> None:
        self.decoder = decoder
        self.conditions = conditions
        self.tokens: list[int] = []
        self.ready = False

    def add(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens

    def finish(self) -> None:
        self.ready = True

    def advance(self) -> AudioPiece:
        self.ready = False
        tokens = torch.tensor(self.tokens, dtype=torch.long, device=self.conditions.style.device)
        return self.decoder.decode_aligned([tokens], [self.conditions])[0]


def _noise_of(conditions: Sequence[AcousticConditions], frames: Sequence[int], prior: Prior) -> Tensor:
    """Return the noise (B, C, F) of sentences of so many frames."""
    noises = [
        row.noise
        if isinstance(row.noise, Tensor)
        else frame_noise(row.noise, 0, count, prior.mean.shape[1], prior.mean.device)
        for row, count in zip(conditions, frames, strict=True)
    ]
    return pad_sequence([row.to(prior.mean)[0].T for row in noises], batch_first=True).transpose(1, 2)
