"""v3 and v4 by chunks: what one sentence, one batch and one stream give is the same sound."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stage import CONDITION, MELS, SIZES, VOCODERS, sentence, tiny_prompt, tiny_synthesis

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.synthesis.mel_chunking import overlapping_windows
from GPT_SoVITS.synthesis.mel_synthesis import METHODS, ChunkedSynthesis, mel_prompt

STEPS = 2
ROOM = SIZES.chunk - SIZES.reference
SAME = 1e-4


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Listener:
    """A sampler that remembers what it was asked and gives back noise."""

    def __init__(self) -> None:
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.given: list[torch.Tensor] = []

    def sample(self, condition, prompt, *, generators, **_) -> torch.Tensor:
        self.asked.append((condition, prompt))
        self.given.append(torch.randn(len(condition), MELS, condition.shape[2], generator=generators[0]))
        return self.given[-1]


@pytest.mark.parametrize("method", METHODS)
def test_a_sentence_sounds_the_same_alone_and_in_a_batch_of_eight(method):
    synthesis, prompt = tiny_synthesis(rows_at_once=8), tiny_prompt()
    sentences = [sentence(frames, seed) for seed, frames in enumerate((5, 28, 29, 40, 61, 17, 90, 33))]
    generators = [seeded(100 + i) for i in range(8)]

    together = synthesis.speak_batch(sentences, prompt, generators, steps=STEPS, method=method)

    for i, features in enumerate(sentences):
        alone = synthesis.speak(features, prompt, seeded(100 + i), steps=STEPS, method=method)
        assert len(alone) == len(together[i])
        assert (alone - together[i]).abs().max() < SAME


@pytest.mark.parametrize("method", METHODS)
def test_how_many_rows_go_at_once_changes_no_sound(method):
    prompt, sentences = tiny_prompt(), [sentence(frames, frames) for frames in (70, 12, 45)]

    waves = [
        tiny_synthesis(rows_at_once=rows).speak_batch(
            sentences, prompt, [seeded(i) for i in range(3)], steps=STEPS, method=method
        )
        for rows in (None, 2, 8)
    ]

    for other in waves[1:]:
        for one, two in zip(waves[0], other, strict=True):
            assert torch.allclose(one, two, atol=SAME)


@pytest.mark.parametrize("kind", sorted(VOCODERS))
@given(frames=st.integers(1, 120), first=st.one_of(st.none(), st.integers(1, 40)))
@settings(max_examples=6, deadline=None)
def test_a_stream_is_the_whole_sound_piece_by_piece(kind, frames, first):
    synthesis, prompt = tiny_synthesis(kind), tiny_prompt()
    features = sentence(frames)

    streamed = list(synthesis.stream(features, prompt, seeded(7), steps=STEPS, first=first))

    assert sum(map(len, streamed)) == frames * synthesis.vocoder.hop
    assert all(len(piece) for piece in streamed)
    if first is None:
        whole = synthesis.speak(features, prompt, seeded(7), steps=STEPS)
        assert (torch.cat(streamed) - whole).abs().max() < SAME


def test_the_first_sound_of_a_stream_comes_before_the_second_chunk_is_made():
    listener = Listener()
    synthesis = ChunkedSynthesis(listener, tiny_synthesis().vocoder, SIZES)

    stream = synthesis.stream(sentence(3 * ROOM), tiny_prompt(), seeded(1), steps=STEPS)
    next(stream)

    assert len(listener.asked) == 1


def test_a_short_first_chunk_is_the_length_that_was_asked():
    listener = Listener()
    synthesis = ChunkedSynthesis(listener, tiny_synthesis().vocoder, SIZES)

    list(synthesis.stream(sentence(ROOM + 10), tiny_prompt(), seeded(1), steps=STEPS, first=6))

    assert [condition.shape[2] - SIZES.reference for condition, _ in listener.asked] == [6, 16, 16]


def test_by_the_serial_method_each_chunk_continues_the_one_before():
    listener, prompt, features = Listener(), tiny_prompt(), sentence(ROOM + 3)
    synthesis = ChunkedSynthesis(listener, tiny_synthesis().vocoder, SIZES)

    synthesis.speak(features, prompt, seeded(1), steps=STEPS)

    (first, first_mel), (second, second_mel) = listener.asked
    piece = first.shape[2] - SIZES.reference
    made = listener.given[0][:, :, SIZES.reference :]
    assert torch.equal(first_mel, prompt.mel)
    assert torch.equal(second[:, :, : SIZES.reference], first[:, :, -SIZES.reference :])
    assert torch.equal(second_mel, made[:, :, -SIZES.reference :])
    assert torch.equal(torch.cat([first[:, :, SIZES.reference :], second[:, :, SIZES.reference :]], dim=2), features)
    assert piece >= SIZES.reference


def test_a_chunk_shorter_than_the_prompt_keeps_the_end_of_the_recording_before_it():
    listener, prompt = Listener(), tiny_prompt()
    synthesis = ChunkedSynthesis(listener, tiny_synthesis().vocoder, SIZES)

    list(synthesis.stream(sentence(20), prompt, seeded(1), steps=STEPS, first=5))

    _, (_, second_mel) = listener.asked
    made = listener.given[0][:, :, SIZES.reference :]
    assert torch.equal(second_mel, torch.cat([prompt.mel, made], dim=2)[:, :, -SIZES.reference :])


def test_by_the_parallel_method_every_chunk_begins_with_the_recording():
    listener, prompt = Listener(), tiny_prompt()
    synthesis = ChunkedSynthesis(listener, tiny_synthesis().vocoder, SIZES, rows_at_once=8)

    synthesis.speak(sentence(3 * ROOM), prompt, seeded(1), steps=STEPS, method="parallel")

    ((conditions, mels),) = listener.asked
    assert len(conditions) == len(overlapping_windows(3 * ROOM, ROOM, SIZES.overlap)) > 1
    for condition, mel in zip(conditions, mels, strict=True):
        assert torch.equal(condition[:, : SIZES.reference], prompt.condition[0])
        assert torch.equal(mel, prompt.mel[0])


def test_joints_of_the_parallel_method_take_no_more_than_their_search():
    synthesis = tiny_synthesis()
    hop, frames = synthesis.vocoder.hop, 3 * ROOM

    wave = synthesis.speak(sentence(frames), tiny_prompt(), seeded(1), steps=STEPS, method="parallel")

    joints = len(overlapping_windows(frames, ROOM, SIZES.overlap)) - 1
    assert 0 <= frames * hop - len(wave) <= joints * 320


def test_a_sentence_of_one_chunk_sounds_the_same_by_both_methods():
    synthesis, prompt, features = tiny_synthesis(), tiny_prompt(), sentence(ROOM)

    serial, parallel = (synthesis.speak(features, prompt, seeded(5), steps=STEPS, method=method) for method in METHODS)

    assert torch.equal(serial, parallel)


def test_another_seed_gives_another_sound():
    synthesis, prompt, features = tiny_synthesis(), tiny_prompt(), sentence(20)

    one, two = (synthesis.speak(features, prompt, seeded(seed), steps=STEPS) for seed in (1, 2))

    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_say_is_silence_of_no_length(method):
    synthesis, prompt = tiny_synthesis(), tiny_prompt()

    waves = synthesis.speak_batch(
        [sentence(0), sentence(9)], prompt, [seeded(1), seeded(2)], steps=STEPS, method=method
    )

    assert len(waves[0]) == 0
    assert len(waves[1]) == 9 * synthesis.vocoder.hop
    assert list(synthesis.stream(sentence(0), prompt, seeded(1), steps=STEPS)) == []


def test_the_prompt_is_the_end_of_what_both_parts_of_the_recording_cover():
    condition, mel = torch.arange(30.0)[None, None], torch.arange(25.0)[None, None]

    prompt = mel_prompt(condition, mel, SIZES)

    assert prompt.condition.flatten().tolist() == prompt.mel.flatten().tolist() == [float(i) for i in range(13, 25)]


def test_a_recording_without_a_frame_is_refused():
    with pytest.raises(ModelError, match="too short") as refusal:
        mel_prompt(torch.zeros(1, CONDITION, 0), torch.zeros(1, MELS, 5), SIZES)

    assert refusal.value.code == "bad_prompt"


def test_a_prompt_that_fills_the_chunk_is_refused():
    with pytest.raises(ModelError, match="leaves no room") as refusal:
        tiny_synthesis().speak(sentence(5), tiny_prompt(SIZES.chunk), seeded(1), steps=STEPS)

    assert refusal.value.code == "bad_prompt"


def test_an_unknown_method_is_refused_with_those_that_work():
    with pytest.raises(ModelError, match="sideways") as refusal:
        tiny_synthesis().speak(sentence(5), tiny_prompt(), seeded(1), steps=STEPS, method="sideways")

    assert "serial, parallel" in refusal.value.hint


def test_sentences_and_generators_come_in_pairs():
    with pytest.raises(ValueError, match="zip"):
        tiny_synthesis().speak_batch([sentence(5)], tiny_prompt(), [], steps=STEPS)
