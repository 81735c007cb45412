"""The recordings that come with the server say what their texts say, and none of what the base is evaluated by."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.repository import BUNDLED_PROMPTS, REPOSITORY
from core.voices.prompt_catalog import CatalogPrompt, read_prompt_catalog
from GPT_SoVITS.audio import loudness, peak, read_mono
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.features.whisper_model import model_folder
from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.data import table
from scripts.demo_language import DEMO_LANGUAGES
from scripts.train_base.data import held_out
from scripts.train_base.mandarin_sentences import ideographs_of
from scripts.train_base.prompts import GAP, TEACHERS, prompt_texts

RATE = 16_000
PROMPTS = read_prompt_catalog(BUNDLED_PROMPTS)
RECORDINGS = sorted((REPOSITORY / "prompts").glob("*/recording.flac"))


def test_the_sentences_have_all_tones_initials_and_finals_and_none_of_the_evaluation() -> None:
    phonemes = [phoneme for text in prompt_texts() for phoneme in phonemize(text.text, "zh", version="nano").phonemes]
    tones = Counter(phoneme[-1] for phoneme in phonemes if phoneme[-1].isdigit())
    symbols = {phoneme.rstrip("12345") for phoneme in phonemes}
    initials, finals = (set(column) for column in zip(*table("pinyin_to_symbols").values(), strict=True))

    assert min(tones[tone] for tone in "12345") > 20
    assert initials <= symbols
    assert len(finals - symbols) <= 2, "rare interjections"
    assert not {ideographs_of(text.text) for text in prompt_texts()} & held_out("zh")
    assert not {ideographs_of(text) for text in DEMO_LANGUAGES["zh"].sentences} & held_out("zh")


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_is_a_few_clear_seconds(prompt: CatalogPrompt) -> None:
    samples, rate = read_mono(Path(prompt.audio))

    assert (rate, soundfile.info(prompt.audio).channels) == (RATE, 1)
    assert 3.5 <= len(samples) / rate <= 7
    assert peak(samples) < 0.95
    assert -18.5 < loudness(samples) < -15
    assert prompt.speaker
    assert prompt.licence
    assert prompt.source


def test_the_prompts_of_the_teacher_are_read_from_the_list() -> None:
    texts = {text.voice: text.text for text in prompt_texts() if text.name == "prompt"}

    assert {name: prompt.text for name, prompt in PROMPTS.items() if name in TEACHERS} == texts
    assert {PROMPTS[name].language for name in TEACHERS} == {"zh"}


@pytest.mark.parametrize("file", RECORDINGS, ids=[file.parent.name for file in RECORDINGS])
def test_a_recording_is_sentences_with_silence_between_them_as_its_transcript_says(file: Path) -> None:
    samples, rate = read_mono(file)
    lines = [line.split("\t") for line in (file.parent / "transcript.txt").read_text(encoding="utf-8").splitlines()]
    spans = [(float(start), float(end)) for start, end, *_ in lines]

    assert rate == RATE
    assert 60 <= len(samples) / rate <= 91
    assert spans[-1][1] == pytest.approx(len(samples) / rate, abs=0.02)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start - end == pytest.approx(GAP, abs=0.011)
        assert not np.any(samples[round((end + 0.01) * rate) : round((start - 0.01) * rate)])
    assert peak(samples) < 0.95
    assert -19.5 < loudness(samples) < -16
    assert file.stat().st_size < 2_500_000


def test_the_mandarin_recording_has_the_sentences_of_the_list_in_order() -> None:
    for voice in {text.voice for text in prompt_texts() if text.name != "prompt"}:
        transcript = (REPOSITORY / "prompts" / voice / "transcript.txt").read_text(encoding="utf-8").splitlines()
        texts = [text for text in prompt_texts() if text.voice == voice and text.name != "prompt"]
        assert [line.split("\t")[2:] for line in transcript] == [[text.name, text.text] for text in texts]


@pytest.mark.slow
def test_a_recognizer_understands_every_prompt(tmp_path: Path) -> None:
    transcriber = Transcriber(model_folder(tmp_path))

    rates = {
        name: error_rate(prompt.text, transcriber.transcribe(Path(prompt.audio), prompt.language).text, prompt.language)
        for name, prompt in PROMPTS.items()
    }

    assert {name: rate for name, rate in rates.items() if rate > 0.1} == {}
