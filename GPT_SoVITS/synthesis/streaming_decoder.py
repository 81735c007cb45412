"""Speech while its tokens are still being made (inference-pipeline §13, with the faults of §15 mended).

`Cutter` decides where a sentence's tokens are cut into chunks; every token is spoken once. `Stream` turns chunks into
sound on one clock, samples at the output's rate: a chunk reads a bounded stretch of what came before, never the whole
prefix again, and each joint is faded twice, first the text encoder's frames and then the sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.sovits.model import SoVITS, frame_noise
from GPT_SoVITS.synthesis import sola
from GPT_SoVITS.synthesis.waveform_decoder import NOISE_SCALE

QUIET_TOKEN = 486
"""The official codebooks' token of silence (s1-gpt §7)."""
SILENCE = 1e-3
"""Peak of a joint at which there is nothing to align."""


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How speech is cut into chunks; all numbers are semantic tokens, 25 to the second."""

    first: int = 10
    """The first chunk ends at the first good place from here on, so that sound begins early."""
    least: int = 16
    """The same for all other chunks (min_chunk_length)."""
    most: int = 40
    """No chunk grows longer, however loud it is there; also what the first sound waits for at worst."""
    overlap: int = 2
    """Tokens that the next chunk speaks again, to be faded into it."""
    context: int = 50
    """Tokens before a chunk that the text encoder reads again."""

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.most or not 1 <= self.least <= self.most:
            raise ValueError("a chunk has at least one token and no more than `most`")
        if not 1 <= self.overlap <= self.context:
            raise ValueError("chunks overlap by one token or more, and read at least that much again")


class Cutter:
    """Takes tokens one by one and says where chunks end.

    A chunk ends behind the first token that is as quiet as silence once it has its least length. Where there is none,
    it ends behind the quietest of those tokens when it has its most. What came before them has no say.
    """

    def __init__(self, settings: ChunkSettings, likeness: list[float] | None) -> None:
        """`likeness`: every token's cosine similarity to silence; None cuts by length alone."""
        self.settings = settings
        self.likeness = likeness
        self.least = settings.first
        self.fresh: list[int] = []

    def add(self, token: int) -> list[int]:
        """The chunk that this token completes, or nothing."""
        self.fresh.append(token)
        size = self._size()
        chunk, self.fresh = self.fresh[:size], self.fresh[size:]
        if chunk:
            self.least = self.settings.least
        return chunk

    def rest(self) -> list[int]:
        """What is left at the end; maybe nothing."""
        chunk, self.fresh = self.fresh, []
        return chunk

    def _size(self) -> int:
        count = len(self.fresh)
        if count < self.least:
            return 0
        if self.likeness is None:
            return count
        window = [self.likeness[token] for token in self.fresh[self.least - 1 :]]
        # As in the original: a spot is worth what it and its successor are, and a loud token costs as much as it can.
        quiet = [value if value >= 0 else -1.0 for value in window]
        scores = [one + after for one, after in pairwise(quiet)]
        if scores and scores[-1] >= 0:
            return count - 1
        if count < self.settings.most:
            return 0
        return self.least + max(range(len(scores)), key=scores.__getitem__) if scores else count


def silence_likeness(embedding: Tensor) -> list[float] | None:
    """Cosine similarity of each row of (V, E) with that of silence; None for a codebook that has no such token."""
    if len(embedding) <= QUIET_TOKEN + 1:
        return None
    table = embedding.detach().float()
    return F.cosine_similarity(table, table[QUIET_TOKEN : QUIET_TOKEN + 1]).tolist()


def speak_chunks(
    made: Iterable[tuple[Tensor | None, bool]], cutter: Cutter, stream: Stream
) -> Iterator[tuple[Tensor, int]]:
    """Tokens as they are made, (tokens, is_final), to (sound (N,), how many tokens it took), chunk by chunk."""
    for tokens, final in made:
        for token in [] if tokens is None else tokens.tolist():
            if chunk := cutter.add(token):
                yield stream.push(chunk), len(chunk)
        if final:
            rest = cutter.rest()
            yield stream.push(rest, final=True), len(rest)


class Frames:
    """The end of a growing row of frames, (1, C, ·), addressed by their numbers from the very first one."""

    def __init__(self) -> None:
        self.start = 0
        self.data: Tensor | None = None

    @property
    def end(self) -> int:
        return self.start + (0 if self.data is None else self.data.shape[2])

    def put(self, at: int, data: Tensor) -> None:
        """Write from frame `at` on, over whatever followed it."""
        kept = None if self.data is None else self.data[:, :, : at - self.start]
        self.data = data if kept is None else torch.cat([kept, data], dim=2)

    def get(self, start: int, end: int) -> Tensor:
        assert self.data is not None
        assert start >= self.start, "these frames were forgotten"
        return self.data[:, :, start - self.start : end - self.start]

    def forget(self, before: int) -> None:
        if self.data is not None and before > self.start:
            self.data = self.data[:, :, before - self.start :].clone()
            self.start = before


class Stream:
    """One sentence in one voice, spoken chunk by chunk. Owns all its state."""

    @torch.inference_mode()
    def __init__(
        self,
        sovits: SoVITS,
        phones: Tensor,
        style: Tensor,
        *,
        speed: float = 1.0,
        generator: torch.Generator | None = None,
        settings: ChunkSettings | None = None,
        noise_scale: float = NOISE_SCALE,
    ) -> None:
        """phones (S,) of the sentence alone, style (1, G, 1)."""
        self.sovits = sovits
        self.style = style
        self.speed = speed
        self.generator = generator
        self.settings = settings or ChunkSettings()
        self.noise_scale = noise_scale
        self.text_style = sovits.text_style(style)
        phones = phones.to(style.device)[None]
        self.text = sovits.enc_p.read_text(phones, torch.tensor([phones.shape[1]], device=style.device))
        self.tokens: list[int] = []
        """The last of them; `forgotten` came before."""
        self.forgotten = 0
        self.phone = 0
        """The first one that the kept tokens speak, where the encoder follows the text."""
        self.encoded = Frames()
        """Two frames a token: what the text encoder said, joints faded."""
        self.noise = Frames()
        """One for each frame of sound."""
        self.spoken = 0
        """Frames of sound that were returned."""
        self.held = torch.empty(0, device=style.device)
        """The sound that follows them, (N,), to be faded into the next chunk."""

    @torch.inference_mode()
    def push(self, tokens: list[int], *, final: bool = False) -> Tensor:
        """The sound (N,) that these tokens settle. The last call, with or without tokens, returns all that is left."""
        if tokens:
            self._read(tokens, final)
        if self._sounding(self.encoded.end, final) == 0 or not (tokens or final):
            return self.held[:0]
        if tokens or self.speed != 1:
            return self._speak(self.encoded.end, final)
        # Nothing new: what was held back is already the end of the sentence.
        settled, self.held = self.held, self.held[:0]
        return settled

    def _read(self, tokens: list[int], final: bool) -> None:
        """Encode the new tokens behind a stretch of the old ones.

        The overlap is faded from the old reading to the new one, with weights that sum to one.
        """
        before = 2 * (self.forgotten + len(self.tokens))
        self.tokens += tokens
        start = 2 * self.forgotten
        codes = torch.tensor(self.tokens, device=self.style.device)[None, None]  # (1, 1, T)
        mask = self.style.new_ones(1, 1, 2 * codes.shape[2])
        encoder, frames = self.sovits.enc_p, self.sovits.frames(codes)
        where = encoder.align_phonemes(frames, mask, self.text, begin=self.phone, whole=final)
        y = encoder.encode(frames, mask, self.text, self.text_style, where=where)  # (1, H, 2T)
        joint = max(0, before - 2 * self.settings.overlap)
        if before:
            old, new = self.encoded.get(joint, before), y[:, :, joint - start : before - start]
            weight = torch.arange(1, before - joint + 1, device=y.device) / (before - joint + 1)
            y = torch.cat([old + (new - old) * weight, y[:, :, before - start :]], dim=2)
        self.encoded.put(joint, y)
        spare = len(self.tokens) - self.settings.context
        if spare > 0:
            del self.tokens[:spare]
            self.forgotten += spare
            self.phone = 0 if where is None else int(where[0, 2 * spare])

    def _speak(self, total: int, final: bool) -> Tensor:
        """Sound up to the last of `total` encoded frames, of which the overlap is held back until it was read again."""
        ready = self._sounding(total, final)
        settled = ready if final else self._sounding(total - 2 * self.settings.overlap, False)
        settled = max(settled, self.spoken)
        hop = self.sovits.dec.hop
        sound = self._join(*self._generate(ready), (ready - self.spoken) * hop, final)[: (ready - self.spoken) * hop]
        size = (settled - self.spoken) * hop
        self.held, self.spoken = sound[size:], settled
        first = self._first_read()
        self.noise.forget(first)
        self.encoded.forget(min(self._source(first), total - 2 * self.settings.overlap))
        return sound[:size]

    def _sounding(self, frames: int, final: bool) -> int:
        """How many frames of sound so many encoded frames make; whole sentences have one more (s2-sovits §5)."""
        if frames <= 0:
            return 0
        return frames if self.speed == 1 else int(frames / self.speed) + final

    def _source(self, frame: int) -> int:
        """The encoded frame that a frame of sound is made from, or the one before it."""
        return frame if self.speed == 1 else max(0, int((frame + 0.5) * self.speed - 0.5))

    def _first_read(self) -> int:
        """The first frame of sound that the next chunk computes again: as far back as its beginning hears."""
        return max(0, self.spoken - self.sovits.dec.reach - self.sovits.flow.reach)

    def _generate(self, ready: int) -> tuple[Tensor, int]:
        """(sound up to frame `ready`, samples of it that were returned before)."""
        first = self._first_read()
        y = self._stretched(first, ready)  # (1, H, F)
        prior = self.sovits.enc_p.prior(y, y.new_ones(1, 1, y.shape[2]))
        missing = ready - self.noise.end
        drawn = frame_noise((1, prior.mean.shape[1], missing), self.generator).to(prior.mean)
        self.noise.put(self.noise.end, drawn)
        z = self.sovits.latent(prior, self.style, self.noise_scale, self.noise.get(first, ready))
        heard = max(0, self.spoken - self.sovits.dec.reach)
        wave = self.sovits.dec(z[:, :, heard - first :], self.style)[0, 0]
        return wave, (self.spoken - heard) * self.sovits.dec.hop

    def _stretched(self, first: int, end: int) -> Tensor:
        """Frames of sound `first` to `end`, between the encoded frames where the speed puts them."""
        if self.speed == 1:
            return self.encoded.get(first, end)
        last = self.encoded.end - 1
        position = ((torch.arange(first, end, dtype=torch.float64) + 0.5) * self.speed - 0.5).clamp(0, last)
        low = position.long()
        start = int(low[0])
        known = self.encoded.get(start, last + 1)
        low = (low - start).to(known.device)
        part = (position - position.floor()).to(known)
        return known[:, :, low] * (1 - part) + known[:, :, (low + 1).clamp_max(last - start)] * part

    def _join(self, wave: Tensor, lead: int, size: int, final: bool) -> Tensor:
        """What was held back faded into `wave`, whose first `lead` samples were returned before; `size` is wanted.

        The new sound may be shifted a little to meet the old. The clock is not: the next joint stands where it would
        have stood, and the end is filled up.
        """
        if len(self.held) == 0:
            return wave[lead:]
        shift = min(sola.SEARCH // 2, lead, max(0, len(wave) - lead - len(self.held)))
        offset = shift
        if float(self.held.abs().max()) > SILENCE:  # silence meets silence anywhere
            offset = sola.best_offset(self.held, wave[lead - shift :], search=2 * shift)
        sound = sola.crossfade(self.held, wave[lead - shift + offset :])
        return F.pad(sound, (0, max(0, size - len(sound)))) if final else sound
