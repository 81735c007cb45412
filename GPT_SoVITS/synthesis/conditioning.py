"""From a text and a prompt to what the models read: phonemes, text features, sampling settings (inference-pipeline §3
to §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from GPT_SoVITS.gpt.generate import GenerationInput, SamplingSettings
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.synthesis.prompt import EncodedPrompt
from GPT_SoVITS.synthesis.utterance_ends import (
    one_line,
    with_ending,
    with_pause_before,
    with_sentence_end,
)
from GPT_SoVITS.synthesis.word_timing import WordTimer
from GPT_SoVITS.text import InlinePronunciation, PhonemizedText, Span, phonemize

NANO_FRAME_DELAY = 0.01
"""Seconds. Frame t of Whisper's encoder is centered at t / 50 s, half a frame before the middle of the audio that is
decoded from it; HuBERT's are centered within 3 ms of that."""


@dataclass(frozen=True, slots=True)
class SamplingOverrides:
    """Sampling settings in place of those that suit the voice; None keeps the voice's."""

    top_k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None

    def apply_to(self, settings: SamplingSettings) -> SamplingSettings:
        """Return the settings with what differs. Raises ModelError("bad_sampling") for a value out of range."""
        changes = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(settings, **changes) if changes else settings


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """An utterance to speak: its text, whose voice it is spoken in, and how."""

    text: str
    language: str
    prompt: EncodedPrompt
    seed: int
    """The same seed gives the same samples whatever else the process does."""
    speed: float = 1.0
    """Above 1 is faster."""
    sampling: SamplingSettings | SamplingOverrides = SamplingOverrides()
    """How tokens are sampled: all settings, or what differs from those that suit the voice."""
    steps: int | None = None
    """Steps of the sampler of v3 and v4; None as their recipe says."""
    inline_pronunciations: Sequence[InlinePronunciation] = ()
    """Pronunciations that the user chose for places in the text."""
    atoms: Sequence[Span] = ()
    """Stretches of the text that are one word each, as what stands in the place of a word with a tag."""
    super_sampling: bool = False
    """Whether v3's audio is extended to 48 kHz; where the network is not installed it stays at 24 kHz."""

    @property
    def noise(self) -> SeededNoise:
        """The noise of the seed, the same on every device."""
        return SeededNoise(self.seed)


@dataclass(frozen=True, slots=True)
class ConditionedRequest:
    """A request as the models read it."""

    request: SynthesisRequest
    phones: Tensor
    """(S,) phoneme ids of the sentence alone."""
    gpt_input: GenerationInput
    """The GPT's input: the prompt's phonemes and tokens before those of the sentence."""
    sampling: SamplingSettings
    phonemes: PhonemizedText
    frame_delay_seconds: float = 0.0
    """By which frames of tokens are later than what they say, at speed 1."""

    @property
    def skipped(self) -> list[tuple[int, str]]:
        """(position, text) of the passages that have no pronunciation."""
        return self.phonemes.skipped

    def word_timer(self) -> WordTimer:
        """Return what tells when its words are heard."""
        delay = self.frame_delay_seconds / self.request.speed
        return WordTimer(self.request.text, self.phonemes, self.request.atoms, delay_seconds=delay)


class TextConditioner:
    """Reads texts for the models of one version."""

    def __init__(self, version: str, helpers: HelperNetworks, device: torch.device) -> None:
        self.version = version
        self.helpers = helpers
        self.device = device

    def condition(self, request: SynthesisRequest, phonemes: PhonemizedText | None = None) -> ConditionedRequest:
        """Convert the text to phonemes and features, and put those of the prompt before them.

        Args:
            phonemes: The text as `phonemize` returned it, where that was done before.

        Raises:
            ModelError: those of `phonemize`, and "missing_part" for Mandarin without RoBERTa.
        """
        prompt = request.prompt
        if phonemes is None:
            phonemes = self.phonemize(request.text, request.language, request.inline_pronunciations)
        phones, bert = self._encode(phonemes)
        sampling = request.sampling
        if isinstance(sampling, SamplingOverrides):
            suitable = nano_sampling(len(phones)) if self.version == "nano" else SamplingSettings()
            sampling = sampling.apply_to(suitable)
        gpt_input = GenerationInput(phones, bert, None)
        if len(prompt.phones) > 0:
            width = next((len(features) for features in (prompt.bert, bert) if features is not None), None)
            if width is None:
                both = None
            else:  # where only one of the texts has features, those of the other are zeros
                both = torch.cat(
                    [
                        phones.new_zeros(width, len(ids), dtype=torch.float32) if features is None else features
                        for features, ids in ((prompt.bert, prompt.phones), (bert, phones))
                    ],
                    dim=1,
                )
            gpt_input = GenerationInput(torch.cat([prompt.phones, phones]), both, prompt.tokens)
        delay = NANO_FRAME_DELAY if self.version == "nano" else 0.0
        return ConditionedRequest(request, phones, gpt_input, sampling, phonemes, delay)

    def encode_text(
        self, text: str, language: str, inline_pronunciations: Sequence[InlinePronunciation] = ()
    ) -> tuple[Tensor, Tensor | None, PhonemizedText]:
        """Convert a text to phoneme ids (N,), text features (1024, N) or None for zeros, and its `PhonemizedText`.

        Raises:
            ModelError: those of `phonemize`, and "missing_part" for Mandarin without RoBERTa.
        """
        phonemes = self.phonemize(text, language, inline_pronunciations)
        return *self._encode(phonemes), phonemes

    def phonemize(
        self, text: str, language: str, inline_pronunciations: Sequence[InlinePronunciation] = ()
    ) -> PhonemizedText:
        """Convert a text to phonemes that end as the models know it; may run on any thread, beside the device's.

        Raises those of `phonemize`.
        """
        if self.version == "nano":  # a pause before a short text is enough for it
            phonemized = phonemize(text, language, retry=False, inline_pronunciations=inline_pronunciations)
            return with_pause_before(with_ending(phonemized, "v2"), "v2")
        leading = len(text) - len(text.lstrip())  # whitespace that `one_line` removes
        shifted = [
            replace(pronunciation, start=pronunciation.start - leading, end=pronunciation.end - leading)
            for pronunciation in inline_pronunciations
        ]
        symbols = "v1" if self.version == "v1" else "v2"
        frontend, line = self.helpers.frontend(), one_line(text)
        ended = with_sentence_end(line, language)
        phonemized = frontend.phonemize(ended, language, symbols, inline_pronunciations=shifted)
        if ended != line and line[-1].isascii():  # a full stop would make "Wait -" a negative, and "Mr" a title
            plain = frontend.phonemize(line, language, symbols, inline_pronunciations=shifted)
            if plain.spoken_phonemes != phonemized.spoken_phonemes:
                phonemized = plain
        if leading:
            phonemized = phonemized.moved(lambda source: Span(source.start + leading, source.end + leading))
        return with_ending(phonemized, symbols)

    def _encode(self, phonemes: PhonemizedText) -> tuple[Tensor, Tensor | None]:
        """Return phoneme ids (N,) and text features (1024, N), or None for zeros; nano was trained without them."""
        ids = torch.tensor(phonemes.ids, dtype=torch.long, device=self.device)
        bert = None if self.version == "nano" else self.helpers.text_features(phonemes.segments)
        return ids, None if bert is None else bert.to(self.device)


def nano_sampling(phones: int) -> SamplingSettings:
    """Return the sampling settings of a GPT with pointers, for a text of so many phonemes.

    It ends when its text is over. There is no penalty for repetition, since the same sound comes back in any sentence.
    """
    return SamplingSettings(
        temperature=0.4,
        top_k=5,
        repetition_penalty=1.0,
        min_tokens=1,
        early_stop_num=MAX_TOKENS_PER_PHONEME * phones,
    )
