"""Every utterance ends as the models know it, whatever punctuation its text has, and says the same words."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from bundled_speech import ALLISON

from GPT_SoVITS.engine.warm_up import BASE
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
from GPT_SoVITS.synthesis.conditioning import TextConditioner
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.languages import REGISTRY
from GPT_SoVITS.text.symbols import phoneme_ids

TAIL_SECONDS = 0.05
QUIET_DB = -30.0
"""Of the end, against the whole utterance: speech that was cut off is at about -2, a clean end below -55."""
ENDINGS = [
    "Thank you",
    "Chapter one",
    "Hi",
    "Hi.",
    "No",
    "B",
    "A",
    "z",
    "42",
    "7",
    "3.14",
    "$5",
    "It costs 5%",
    '"Thank you"',
    "“Thank you”",
    'He said "no"',
    'He said "no."',
    "(in the morning)",
    "[note]",
    "the end)",
    "the end.)",
    "- bread",
    "* two eggs and butter",
    "1. Milk",
    "Call me:",
    "one, two,",
    "First;",
    "Wait -",
    "Wait—",
    "Well…",
    "Really?",
    "Stop!",
    "Hello 😀",
    "www.example.com",
    "Good morning, everyone",
]
MULTILINGUAL = {
    "zh": ["你好", "“你好”", "（早上）", "42", "好、", "等等—", "再见～", "OK", "第一章\n", "你好。"],
    "en": ["Hi", '"Hi"', "(hi)", "42", "B", "Wait -", "3 <", "Ask Mr", "Hi ~", "Hi:", "Hi."],
    "ja": ["ありがとう", "「はい」", "42", "第一章", "そう〜", "はい。"],
    "ko": ["안녕하세요", "“네”", "42", "(아침)", "네."],
    "yue": ["你好", "「係」", "42", "（早晨）", "係。"],
}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")


@pytest.fixture(scope="module")
def prompt(pipeline: Pipeline) -> EncodedPrompt:
    return pipeline.prepare_prompt(ALLISON / "prompt.wav", "", "en")


@pytest.mark.parametrize("text", ENDINGS)
def test_an_utterance_of_nano_is_over_when_it_ends(pipeline: Pipeline, prompt: EncodedPrompt, text: str) -> None:
    speech = pipeline.speak(text, "en", prompt, seed=1)

    tail = speech.samples[-round(TAIL_SECONDS * speech.sample_rate) :]
    assert level(tail) - level(speech.samples) < QUIET_DB


@pytest.mark.parametrize("text", ENDINGS)
def test_an_ending_changes_no_word(pipeline: Pipeline, text: str) -> None:
    phonemized = pipeline.conditioner.phonemize(text, "en")

    assert phonemized.spoken_phonemes == phonemize(text, "en", retry=False).spoken_phonemes
    assert phonemized.phonemes[-1] in "!?…,."
    assert phonemized.ids == phoneme_ids(phonemized.phonemes, "v2")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("language", sorted(MULTILINGUAL))
def test_every_language_ends_with_punctuation_in_every_version(language: str, version: str) -> None:
    if version == "v1" and not REGISTRY[language].in_v1:
        pytest.skip("v1 does not speak it")
    if not all(find_spec(name) for name in REGISTRY[language].requires):
        pytest.skip("the libraries of the language are not installed")
    conditioner = TextConditioner(version, HelperNetworks(None), torch.device("cpu"))
    for text in MULTILINGUAL[language]:
        phonemized = conditioner.phonemize(text, language)

        assert phonemized.phonemes[-1] in "!?…,.", text
        assert phonemized.spoken_phonemes == phonemize(text, language, version, retry=False).spoken_phonemes, text
        if phonemized.word2ph is not None:
            assert len(phonemized.word2ph) == len(phonemized.norm_text)
            assert sum(phonemized.word2ph) == len(phonemized.phonemes)


def test_a_very_short_text_of_nano_begins_with_a_pause(pipeline: Pipeline) -> None:
    assert pipeline.conditioner.phonemize("Hi", "en").phonemes == [",", "HH", "AY1", "."]
    assert pipeline.conditioner.phonemize("Yes", "en").phonemes == [",", "Y", "EH1", "S", "."]
    assert pipeline.conditioner.phonemize("Good morning.", "en").phonemes[0] == "G"


def level(samples: np.ndarray) -> float:
    return 10 * math.log10(float(np.mean(np.square(samples))) + 1e-12)
