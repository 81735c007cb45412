"""Every word of an utterance is timed in its audio: whole or in chunks, at any speed, and by every way to speak it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.pipeline import ChunkSettings, Pipeline, SynthesisRequest
from GPT_SoVITS.synthesis.word_timing import PeakLevels, SpokenWord, WordTimer
from GPT_SoVITS.text import phonemize

TEXT = "Hello there, I paid $5.99 on March 5; Dr. Smith's dog ran 10 km."
WORDS = ["Hello", "there,", "I", "paid", "$5.99", "on", "March", "5;", "Dr.", "Smith's", "dog", "ran", "10", "km."]
FRAME = 0.02


@pytest.fixture(scope="module")
def nano() -> Pipeline:
    return Pipeline.load(Path(BASE / "gpt.safetensors"), Path(BASE / "sovits.safetensors"))


def request(nano: Pipeline, speed: float = 1.0, text: str = TEXT) -> SynthesisRequest:
    return SynthesisRequest(text, "en", neutral_prompt(nano), 7, speed)


def written(words: list[SpokenWord], text: str = TEXT) -> list[str]:
    return [text[word.text_start : word.text_end].strip() for word in words]


@pytest.mark.parametrize("speed", [1.0, 1.4, 0.8])
def test_all_words_are_timed_in_order_within_the_audio(nano, speed):
    (speech,) = nano.speak_batch([request(nano, speed)])
    words = list(speech.words)

    assert written(words) == WORDS
    assert words[-1].end <= len(speech.samples) / speech.sample_rate
    assert all(word.start < word.end for word in words)
    assert all(word.end <= following.start for word, following in pairwise(words))
    for word in words:
        assert word.phonemes[0].start == word.start
        assert word.phonemes[-1].end == word.end
        assert all(first.end == second.start for first, second in pairwise(word.phonemes))


@pytest.mark.parametrize("speed", [1.0, 1.4])
def test_a_stream_tells_each_word_with_the_chunk_it_ends_in(nano, speed):
    chunks = list(nano.stream(request(nano, speed), chunks=ChunkSettings()))
    (whole,) = nano.speak_batch([request(nano, speed)])

    words = [word for chunk in chunks for word in chunk.words]
    assert written(words) == WORDS
    seconds = 0.0
    for chunk in chunks:
        seconds += len(chunk.samples) / chunk.sample_rate
        assert all(word.end <= seconds + 1e-9 for word in chunk.words)
    assert sum(bool(chunk.words) for chunk in chunks) > 3
    for word, same in zip(words, whole.words, strict=True):
        assert abs(word.start - same.start) <= 3 * FRAME
        assert abs(word.end - same.end) <= 3 * FRAME


@pytest.mark.parametrize(
    ("seed", "text"),
    [
        (4, "Two students forgot?... the umbrella behind the school at midnight."),
        (40, "His uncle looked; at! the mountains in the: village."),
        (135, "Two? students repaired, the broken clock under the bridge."),
        (288, "Her grandmother wrote a short story at the library, while the captain read a? long letter."),
        (329, "The. driver... read a long letter in the garden. on a cold day."),
    ],
)
def test_a_word_behind_a_pause_has_the_time_in_a_stream_that_it_has_in_a_file(nano, seed, text):
    request = SynthesisRequest(text, "en", neutral_prompt(nano), seed)
    (whole,) = nano.speak_batch([request])
    words = [word for chunk in nano.stream(request) for word in chunk.words]

    for word, same in zip(words, whole.words, strict=True):
        assert word.start == pytest.approx(same.start, abs=3 * FRAME)
        assert word.end == pytest.approx(same.end, abs=3 * FRAME)


def test_twice_as_fast_is_half_as_late(nano):
    slow, fast = (nano.speak_batch([request(nano, speed)])[0].words for speed in (1.0, 2.0))

    for word, same in zip(slow, fast, strict=True):
        assert word.start / 2 == pytest.approx(same.start, abs=FRAME)


def test_silence_stands_between_words_and_not_in_them(nano):
    (speech,) = nano.speak_batch([request(nano)])
    power = speech.samples**2

    def level(start: float, end: float) -> float:
        return float(np.mean(power[round(start * speech.sample_rate) : round(end * speech.sample_rate)]))

    gaps = [(word.end, following.start) for word, following in pairwise(speech.words) if following.start > word.end]
    assert gaps  # at commas
    inside = float(np.mean([level(word.start, word.end) for word in speech.words]))
    assert all(level(start + 0.04, end - 0.04) < inside / 10 for start, end in gaps if end - start > 0.1)


def test_rows_of_a_batch_have_the_times_they_have_alone(nano):
    texts = ["One two three.", TEXT, "A much shorter one, really."]
    together = nano.speak_batch([request(nano, text=text) for text in texts])

    for text, speech in zip(texts, together, strict=True):
        assert speech.words == nano.speak_batch([request(nano, text=text)])[0].words


def test_words_wait_for_their_end_and_a_joint_never_leads_back():
    phonemized = phonemize("Hi there you.", "en")
    timer = WordTimer("Hi there you.", phonemized)
    first = next(index for index, phoneme in enumerate(phonemized.phonemes) if phoneme == "HH")

    assert timer.add([*range(first + 2)]) == []
    (hi,) = timer.add([first + 2, first + 1, first + 2])
    assert (hi.start, hi.end) == (first * FRAME, (first + 2) * FRAME)
    rest = timer.add([first + 3], last=True)
    assert [(word.text_start, word.text_end) for word in rest] == [(3, 9), (9, 13)]
    assert rest[-1].end == (first + 6) * FRAME


def test_phonemes_far_ahead_of_where_a_joint_leads_back_to_begin_again():
    phonemized = phonemize("Hi there you.", "en")
    timer = WordTimer("Hi there you.", phonemized)
    there = next(index for index, phoneme in enumerate(phonemized.phonemes) if phoneme == "DH")

    assert timer.add(range(there)) == []  # as far as the last phoneme of "Hi"
    (hi,) = timer.add([0] * 5 + [*range(there + 1)])
    assert (hi.start, hi.end) == (0.0, (there + 5 + there) * FRAME)


def test_a_word_that_begins_in_a_long_silence_is_heard_behind_it():
    text = "Hi, you."
    phonemized = phonemize(text, "en")
    comma = phonemized.phonemes.index(",")
    spoken = [frame // 5 for frame in range(5 * len(phonemized.phonemes))]  # a tenth of a second each
    levels = [0.5] * (20 * len(phonemized.phonemes))
    begin = 20 * comma
    levels[begin : begin + 50] = [0.001] * 50  # all but 50 ms of the first two phonemes of "you"

    _hi, you = WordTimer(text, phonemized).add(spoken, levels, last=True)
    assert you.start == (begin + 50) / 200


def test_frames_that_are_late_give_earlier_words_within_the_audio(nano):
    phonemized = phonemize("Hi there you.", "en")
    spoken = [frame // 4 for frame in range(4 * len(phonemized.phonemes))]
    first = next(index for index, phoneme in enumerate(phonemized.phonemes) if phoneme == "HH")

    usual, early = (
        WordTimer("Hi there you.", phonemized, delay_seconds=delay).add(spoken, last=True) for delay in (0.0, 0.01)
    )

    assert early[0].start == max(0.0, 4 * first * FRAME - 0.01)
    assert [word.start for word in early[1:]] == pytest.approx([word.start - 0.01 for word in usual[1:]])
    assert early[-1].end <= usual[-1].end
    # The encoder that made nano's tokens centers its frames half a frame before the middle of the audio.
    assert nano.conditioner.condition(request(nano)).frame_delay_seconds == FRAME / 2


def test_beside_a_pause_a_word_begins_and_ends_where_it_is_heard():
    text = "Hi, you."
    phonemized = phonemize(text, "en")
    phonemes = phonemized.phonemes
    comma = phonemes.index(",")
    spoken = [frame // 5 for frame in range(5 * len(phonemes))]  # a tenth of a second each
    levels = [0.5] * (20 * len(phonemes))
    begin = 20 * comma - 6
    levels[begin : begin + 32] = [0.001] * 32  # quiet from 30 ms before the pause until 30 ms behind it

    hi, you = WordTimer(text, phonemized).add(spoken, levels, last=True)
    assert hi.end == begin / 200
    assert you.start == (begin + 32) / 200
    assert (hi.phonemes[-1].end, you.phonemes[0].start) == (hi.end, you.start)

    same, later = WordTimer(text, phonemized).add(spoken, [0.5] * len(levels), last=True)  # noise: nothing is quiet
    assert (same.end, later.start) == (comma / 10, (comma + 1) / 10)


def test_levels_do_not_depend_on_how_a_wave_is_cut():
    wave = torch.sin(torch.arange(4000) / 7) * torch.linspace(0, 1, 4000)
    whole = PeakLevels(16_000).add(wave)
    levels = PeakLevels(16_000)

    assert [level for piece in wave.split(333) for level in levels.add(piece)] == whole
    assert len(whole) == 50
