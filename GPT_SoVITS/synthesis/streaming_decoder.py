"""Decode one sentence chunk by chunk while its tokens are generated (inference-pipeline §13, corrected as in §15).

Every token is spoken once. A chunk reads a bounded stretch of what came before, never the whole prefix again, and each
joint is cross-faded twice: first the text encoder's frames and then the samples.

Shapes: C and H channels, F frames, N samples; batches have one row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.sovits.encoder import attention_path
from GPT_SoVITS.sovits.flow import IdentityFlow
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs
from GPT_SoVITS.sovits.model import NOISE_SCALE, SoVITS, frame_noise
from GPT_SoVITS.synthesis import sola
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, GeneratorUse, generate_alone
from GPT_SoVITS.synthesis.token_chunking import ChunkSettings

SILENCE_PEAK = 1e-3
"""Peak of a joint below which there is nothing to align."""


class FrameBuffer:
    """The end of a growing sequence of frames (1, C, ·), addressed by their numbers in the whole sequence."""

    def __init__(self) -> None:
        self.start = 0
        """Number of the first frame that is still there."""
        self.data: Tensor | None = None

    @property
    def end(self) -> int:
        """Number of frames in the whole sequence."""
        return self.start + (0 if self.data is None else self.data.shape[2])

    def write(self, start: int, frames: Tensor) -> None:
        """Replace the sequence from frame `start` on."""
        before = None if self.data is None else self.data[:, :, : start - self.start]
        self.data = frames if before is None else torch.cat([before, frames], dim=2)

    def read(self, start: int, end: int) -> Tensor:
        """Return frames `start` to `end` as (1, C, end - start)."""
        assert self.data is not None
        assert start >= self.start, "these frames were discarded"
        return self.data[:, :, start - self.start : end - self.start]

    def discard(self, end: int) -> None:
        """Free the memory of the frames before `end`; if there are no later ones, the next is that."""
        if end > self.start:
            if self.data is not None:
                self.data = self.data[:, :, end - self.start :].clone()
            self.start = end


class StreamingDecoder:
    """One sentence in one voice; owns all of its state.

    Encoded frames are those of the text encoder, two a token; output frames are those of the audio, fewer or more of
    them at another speed than 1.
    """

    @torch.inference_mode()
    def __init__(
        self,
        sovits: SoVITS,
        conditions: AcousticConditions,
        settings: ChunkSettings | None = None,
        graphs: VoiceGraphs | None = None,
    ) -> None:
        """Encode the text; `graphs` replays the work on chunks where it can."""
        assert not isinstance(conditions.noise, Tensor), "a stream draws its noise"
        self.seeded_noise = conditions.noise
        self.sovits, self.graphs = sovits, graphs
        self.style = conditions.style
        self.speed = conditions.speed
        self.settings = settings or ChunkSettings()
        self.text_style = sovits.text_style(self.style)
        phones = conditions.phones.to(self.style.device)[None]
        self.text = sovits.enc_p.encode_text(phones, torch.tensor([phones.shape[1]], device=self.style.device))
        self.tokens: list[int] = []
        """The last tokens, which the next chunk reads again."""
        self.discarded_tokens = 0
        """Tokens before those."""
        self.first_phoneme = 0
        """Index of the phoneme at the first of `tokens`."""
        self.encoded = FrameBuffer()
        """Encoded frames, cross-faded at the joints."""
        self.noise = FrameBuffer()
        """Noise of each output frame."""
        self.paths: list[int] = []
        """The phoneme of each encoded frame, as an index into the sentence's."""
        self.spoken: list[int] = []
        """That of each output frame whose samples `push` returned last."""
        self.emitted_frames = 0
        """Output frames whose samples were returned."""
        self.held_samples = torch.empty(0, device=self.style.device)
        """(N,) samples that follow them, to be cross-faded into the next chunk."""

    def push(self, tokens: list[int], *, final: bool = False) -> Tensor:
        """Add tokens and return the samples (N,) that they settle.

        The last call, with or without tokens, is `final` and returns all samples that are left.
        """
        return generate_alone(self.decoding(tokens, final=final))

    @torch.inference_mode()
    def decoding(self, tokens: list[int], *, final: bool = False) -> GeneratorUse[Tensor]:
        """Do what `push` does."""
        emitted, self.spoken = self.emitted_frames, []
        if tokens:
            self._encode(tokens, final)
        if self._output_frames(self.encoded.end, final) == 0 or not (tokens or final):
            return self.held_samples[:0]
        if tokens or self.speed != 1:
            samples = yield from self._decode(final)
        else:  # nothing new: what was held back is already the end of the sentence
            samples, self.held_samples = self.held_samples, self.held_samples[:0]
            self.emitted_frames = self._output_frames(self.encoded.end, final)
        last = len(self.paths) - 1
        self.spoken = [
            self.paths[min(int((frame + 0.5) * self.speed), last)] for frame in range(emitted, self.emitted_frames)
        ]
        return samples

    def _encode(self, tokens: list[int], final: bool) -> None:
        """Encode the new tokens behind a stretch of the old ones.

        The overlap is cross-faded from the old encoding to the new one, with weights that sum to one.
        """
        old_end = 2 * (self.discarded_tokens + len(self.tokens))
        start = 2 * self.discarded_tokens
        self.tokens += tokens
        codes = torch.tensor(self.tokens, device=self.style.device)[None, None]  # (1, 1, T)
        y, alignment = self._encode_frames(self.sovits.token_vectors(codes), final)  # (1, H, 2T), (1, 2T)
        joint = max(0, old_end - 2 * self.settings.overlap)
        if old_end:
            old, new = self.encoded.read(joint, old_end), y[:, :, joint - start : old_end - start]
            weight = torch.arange(1, old_end - joint + 1, device=y.device) / (old_end - joint + 1)
            y = torch.cat([old + (new - old) * weight, y[:, :, old_end - start :]], dim=2)
        self.encoded.write(joint, y)
        self.paths[joint:] = alignment[0, joint - start :].tolist()
        surplus = len(self.tokens) - self.settings.context
        if surplus > 0:
            del self.tokens[:surplus]
            self.discarded_tokens += surplus
            self.first_phoneme = int(alignment[0, 2 * surplus])

    def _encode_frames(self, vectors: Tensor, final: bool) -> tuple[Tensor, Tensor]:
        """Encode the vectors of tokens, (1, D, F) -> (1, H, F) and the phonemes (1, F) that the frames speak."""
        begin, whole = self.first_phoneme, final
        if self.graphs is not None:
            chunk = self.graphs.encode(vectors, self.text, self.text_style)
            if chunk is not None:
                lengths, text_lengths = torch.tensor(chunk.attention.shape)[:, None]
                return chunk.frames, attention_path(
                    chunk.attention[None], lengths, text_lengths, begin=begin, whole=whole
                )
        mask = self.style.new_ones(1, 1, vectors.shape[2])
        return self.sovits.enc_p.encode_aligned(vectors, mask, self.text, self.text_style, begin=begin, whole=whole)

    def _decode(self, final: bool) -> GeneratorUse[Tensor]:
        """Generate samples up to the last encoded frame, hold back the overlap until it is encoded again -> (N,)."""
        hop = self.sovits.dec.hop
        joint = self.encoded.end - 2 * self.settings.overlap
        ready = self._output_frames(self.encoded.end, final)
        settled = max(ready if final else self._output_frames(joint, False), self.emitted_frames)
        row, lead = self._generator_row(ready)
        wave = yield row
        samples = self._join(wave, lead, (ready - self.emitted_frames) * hop, final)
        size = (settled - self.emitted_frames) * hop
        self.held_samples, self.emitted_frames = samples[size:], settled
        first = self._first_input_frame()
        self.noise.discard(first)
        source = first if self.speed == 1 else max(0, int((first + 0.5) * self.speed - 0.5))
        self.encoded.discard(min(source, joint))
        return samples[:size]

    def _output_frames(self, encoded_frames: int, final: bool) -> int:
        """Return how many output frames so many encoded frames make; whole sentences have one more (s2-sovits §5)."""
        if encoded_frames <= 0:
            return 0
        return encoded_frames if self.speed == 1 else int(encoded_frames / self.speed) + final

    def _first_input_frame(self) -> int:
        """Return the first output frame that the networks read for the next chunk, by their receptive fields."""
        return max(0, self.emitted_frames - self.sovits.dec.reach - self.sovits.flow.reach)

    def _generator_row(self, ready: int) -> tuple[GeneratorRow, int]:
        """Return what the generator reads up to output frame `ready`; so many of its samples were returned before."""
        generator, first = self.sovits.dec, self._first_input_frame()
        y, z = self._stretched(first, ready), None  # (1, H, F), (1, C, F)
        if self.graphs is not None:
            z = self.graphs.sample_latent(y, self.style, self.seeded_noise, first)
        if z is None:
            z = self._sample_latent(y, first, ready)
        start = max(0, self.emitted_frames - generator.reach)
        row = GeneratorRow(generator, z[:, :, start - first :], self.style, self.graphs)
        return row, (self.emitted_frames - start) * generator.hop

    def _sample_latent(self, y: Tensor, first: int, ready: int) -> Tensor:
        """Sample the latent (1, C, F) of output frames `first` to `ready`, (1, H, F)."""
        prior = self.sovits.enc_p.prior(y, y.new_ones(1, 1, y.shape[2]))
        noise = None
        if not isinstance(self.sovits.flow, IdentityFlow):
            self.noise.discard(first)  # frames that graphs have decoded left none
            end, channels = self.noise.end, prior.mean.shape[1]
            self.noise.write(end, frame_noise(self.seeded_noise, end, ready - end, channels, y.device))
            noise = self.noise.read(first, ready)
        return self.sovits.sample_latent(prior, self.style, NOISE_SCALE, noise)

    def _stretched(self, first: int, end: int) -> Tensor:
        """Interpolate output frames `first` to `end` between the encoded frames, as the speed asks -> (1, H, F)."""
        if self.speed == 1:
            return self.encoded.read(first, end)
        last = self.encoded.end - 1
        position = ((torch.arange(first, end, dtype=torch.float64) + 0.5) * self.speed - 0.5).clamp(0, last)
        index = position.long()
        start = int(index[0])
        encoded = self.encoded.read(start, last + 1)
        index = (index - start).to(encoded.device)
        fraction = (position - position.floor()).to(encoded)
        after = (index + 1).clamp_max(last - start)
        return encoded[:, :, index] * (1 - fraction) + encoded[:, :, after] * fraction

    def _join(self, wave: Tensor, lead: int, size: int, final: bool) -> Tensor:
        """Cross-fade the held samples into `wave` (N,), of which the first `lead` were returned before -> (size,).

        The new wave may be shifted a little to agree with the old. The clock is not: the next joint is where it would
        have been, and the end is filled up with zeros.
        """
        held = self.held_samples
        if len(held) == 0:
            return wave[lead:][:size]
        shift = min(sola.SEARCH // 2, lead, max(0, len(wave) - lead - len(held)))
        offset = shift
        if float(held.abs().max()) > SILENCE_PEAK:  # silence agrees with silence anywhere
            offset = sola.best_offset(held, wave[lead - shift :], search=2 * shift)
        samples = sola.crossfade(held, wave[lead - shift + offset :])
        return (F.pad(samples, (0, max(0, size - len(samples)))) if final else samples)[:size]
