"""From a text to what the first stage reads: phonemes, text features and the prompt before them (inference-pipeline §3
to §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from GPT_SoVITS.gpt.generate import GenerationInput, SamplingSettings
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.synthesis.prompt import EncodedPrompt
from GPT_SoVITS.text import Phonemes, Reading, process

FINAL_MARKS = "，。？！,.?!~:：—…"


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """What is spoken in one go, in whose voice and how."""

    text: str
    language: str
    prompt: EncodedPrompt
    seed: int
    """The same one gives the same samples whatever else the process does."""
    speed: float = 1.0
    """Above 1 is faster."""
    sampling: SamplingSettings | None = None
    """How tokens are chosen; None as suits the voice."""
    steps: int | None = None
    """Of the sampler of v3 and v4; None as their recipe says."""
    readings: Sequence[Reading] = ()
    """What places in the text are read as, where a user said so."""

    def generator(self) -> torch.Generator:
        """A new source of chance, on the CPU, so that a seed sounds the same on every device."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Task:
    """An utterance as the models read it."""

    utterance: SynthesisRequest
    phones: Tensor
    """(S,) of the sentence alone."""
    row: GenerationInput
    """The same behind the prompt's."""
    settings: SamplingSettings
    skipped: list[tuple[int, str]]
    """(position, text) of what no phonemiser could read."""


class Reader:
    """Reads texts for the models of one version."""

    def __init__(self, version: str, parts: HelperNetworks, device: torch.device) -> None:
        self.version = version
        self.parts = parts
        self.device = device

    def read(self, utterance: SynthesisRequest) -> Task:
        """Raises ModelError: those of `process`, and "missing_part" for Mandarin without RoBERTa."""
        prompt = utterance.prompt
        phones, bert, spoken = self.read_text(utterance.text, utterance.language, utterance.readings)
        settings = utterance.sampling or self._settings(len(phones))
        if len(prompt.phones) == 0:
            return Task(utterance, phones, GenerationInput(phones, bert, None), settings, spoken.skipped)
        joined = _joined((prompt.bert, len(prompt.phones)), (bert, len(phones)))
        row = GenerationInput(torch.cat([prompt.phones, phones]), joined, prompt.tokens)
        return Task(utterance, phones, row, settings, spoken.skipped)

    def read_text(
        self, text: str, language: str, readings: Sequence[Reading] = ()
    ) -> tuple[Tensor, Tensor | None, Phonemes]:
        """((N,) phoneme ids, (1024, N) features or None for zeros, and all else that was found)."""
        if self.version == "nano":  # learns from texts as they are, and without features
            spoken, bert = process(text, language, readings=readings), None
        else:
            blanks = len(text) - len(text.lstrip())  # which `finished` takes away
            moved = [replace(one, start=one.start - blanks, end=one.end - blanks) for one in readings]
            version = "v1" if self.version == "v1" else "v2"
            read = self.parts.frontend().process
            spoken = read(finished(text, language), language, version, readings=moved)
            bert = self.parts.text_features(spoken.pieces)
        phones = torch.tensor(spoken.ids, dtype=torch.long, device=self.device)
        return phones, None if bert is None else bert.to(self.device), spoken

    def _settings(self, phones: int) -> SamplingSettings:
        return nano_settings(phones) if self.version == "nano" else SamplingSettings()


def nano_settings(phones: int) -> SamplingSettings:
    """Of a GPT with pointers, which ends when its text is over; a token is as likely again as before, since the same
    sound comes back in any sentence."""
    return SamplingSettings(
        temperature=0.4,
        top_k=5,
        repetition_penalty=1.0,
        fewest_tokens=1,
        early_stop_num=MAX_TOKENS_PER_PHONEME * phones,
    )


def finished(text: str, language: str) -> str:
    """One line that ends with a mark, as every text did that the official models learnt from (§3)."""
    text = " ".join(text.split("\n")).strip()
    if not text or text[-1] in FINAL_MARKS:
        return text
    return text + ("." if language == "en" else "。")


def _joined(*parts: tuple[Tensor | None, int]) -> Tensor | None:
    """Features of texts of so many phonemes, one after the other; None when there are none at all."""
    given = [features for features, _ in parts if features is not None]
    if not given:
        return None
    return torch.cat([given[0].new_zeros(len(given[0]), n) if f is None else f for f, n in parts], dim=1)
