"""v3 and v4 by chunks: what one sentence, one batch and one stream give is the same sound."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_mel_synthesis import CONDITION, MELS, SIZES, VOCODERS, sentence, tiny_prompt, tiny_synthesis

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.mel_synthesis import ChunkedSynthesis, mel_prompt

STEPS = 2
ROOM = SIZES.chunk - SIZES.prompt
SAME = 1e-4


class RecordingSampler:
    """A sampler that records its inputs and returns noise."""

    bands = MELS

    def __init__(self) -> None:
        self.inputs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.outputs: list[torch.Tensor] = []

    def sample_stepwise(self, condition, prompt, *, noise, **_) -> Generator[None, None, torch.Tensor]:
        self.inputs.append((condition, prompt))
        self.outputs.append(noise)
        yield
        return noise


def test_a_sentence_sounds_the_same_alone_and_in_a_batch_of_eight():
    synthesis, prompt = tiny_synthesis(max_rows=8), tiny_prompt()
    sentences = [sentence(frames, seed) for seed, frames in enumerate((5, 28, 29, 40, 61, 17, 90, 33))]
    noises = [SeededNoise(100 + i) for i in range(8)]

    together = synthesis.synthesize(sentences, prompt, noises, steps=STEPS)

    for i, features in enumerate(sentences):
        alone = synthesis.synthesize([features], prompt, [SeededNoise(100 + i)], steps=STEPS)[0]
        assert len(alone) == len(together[i])
        assert (alone - together[i]).abs().max() < SAME


def test_how_many_rows_go_at_once_changes_no_sound():
    prompt, sentences = tiny_prompt(), [sentence(frames, frames) for frames in (70, 12, 45)]

    waves = [
        tiny_synthesis(max_rows=rows).synthesize(sentences, prompt, [SeededNoise(i) for i in range(3)], steps=STEPS)
        for rows in (None, 2, 8)
    ]

    for other in waves[1:]:
        for first, second in zip(waves[0], other, strict=True):
            assert torch.allclose(first, second, atol=SAME)


@pytest.mark.parametrize("kind", sorted(VOCODERS))
@given(frames=st.integers(1, 120), first=st.one_of(st.none(), st.integers(1, 40)))
@settings(max_examples=6)
def test_a_stream_is_the_whole_sound_piece_by_piece(kind, frames, first):
    synthesis, prompt = tiny_synthesis(kind), tiny_prompt()
    features = sentence(frames)

    streamed = list(synthesis.stream(features, prompt, SeededNoise(7), steps=STEPS, first_frames=first))

    assert sum(map(len, streamed)) == frames * synthesis.vocoder.hop
    assert all(len(piece) for piece in streamed)
    if first is None:
        whole = synthesis.synthesize([features], prompt, [SeededNoise(7)], steps=STEPS)[0]
        assert (torch.cat(streamed) - whole).abs().max() < SAME


def test_the_first_sound_of_a_stream_comes_before_the_second_chunk_is_made():
    sampler = RecordingSampler()
    synthesis = ChunkedSynthesis(sampler, tiny_synthesis().vocoder, SIZES)

    stream = synthesis.stream(sentence(3 * ROOM), tiny_prompt(), SeededNoise(1), steps=STEPS)
    next(stream)

    assert len(sampler.inputs) == 1


def test_a_short_first_chunk_is_the_length_that_was_asked():
    sampler = RecordingSampler()
    synthesis = ChunkedSynthesis(sampler, tiny_synthesis().vocoder, SIZES)

    list(synthesis.stream(sentence(ROOM + 10), tiny_prompt(), SeededNoise(1), steps=STEPS, first_frames=6))

    assert [condition.shape[2] - SIZES.prompt for condition, _ in sampler.inputs] == [6, 16, 16]


def test_each_chunk_continues_the_one_before():
    sampler, prompt, features = RecordingSampler(), tiny_prompt(), sentence(ROOM + 3)
    synthesis = ChunkedSynthesis(sampler, tiny_synthesis().vocoder, SIZES)

    synthesis.synthesize([features], prompt, [SeededNoise(1)], steps=STEPS)[0]

    (first, first_mel), (second, second_mel) = sampler.inputs
    piece = first.shape[2] - SIZES.prompt
    mel = sampler.outputs[0][:, :, SIZES.prompt :]
    assert torch.equal(first_mel, prompt.mel)
    assert torch.equal(second[:, :, : SIZES.prompt], first[:, :, -SIZES.prompt :])
    assert torch.equal(second_mel, mel[:, :, -SIZES.prompt :])
    assert torch.equal(torch.cat([first[:, :, SIZES.prompt :], second[:, :, SIZES.prompt :]], dim=2), features)
    assert piece >= SIZES.prompt


def test_a_chunk_shorter_than_the_prompt_keeps_the_end_of_the_recording_before_it():
    sampler, prompt = RecordingSampler(), tiny_prompt()
    synthesis = ChunkedSynthesis(sampler, tiny_synthesis().vocoder, SIZES)

    list(synthesis.stream(sentence(20), prompt, SeededNoise(1), steps=STEPS, first_frames=5))

    _, (_, second_mel) = sampler.inputs
    mel = sampler.outputs[0][:, :, SIZES.prompt :]
    assert torch.equal(second_mel, torch.cat([prompt.mel, mel], dim=2)[:, :, -SIZES.prompt :])


def test_another_seed_gives_another_sound():
    synthesis, prompt, features = tiny_synthesis(), tiny_prompt(), sentence(20)

    first, second = (synthesis.synthesize([features], prompt, [SeededNoise(seed)], steps=STEPS)[0] for seed in (1, 2))

    assert not torch.allclose(first, second, atol=1e-3)


def test_nothing_to_say_is_silence_of_no_length():
    synthesis, prompt = tiny_synthesis(), tiny_prompt()

    waves = synthesis.synthesize([sentence(0), sentence(9)], prompt, [SeededNoise(1), SeededNoise(2)], steps=STEPS)

    assert len(waves[0]) == 0
    assert len(waves[1]) == 9 * synthesis.vocoder.hop
    assert list(synthesis.stream(sentence(0), prompt, SeededNoise(1), steps=STEPS)) == []


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
        tiny_synthesis().synthesize([sentence(5)], tiny_prompt(SIZES.chunk), [SeededNoise(1)], steps=STEPS)

    assert refusal.value.code == "bad_prompt"


def test_sentences_and_noises_come_in_pairs():
    with pytest.raises(ValueError, match="zip"):
        tiny_synthesis().synthesize([sentence(5)], tiny_prompt(), [], steps=STEPS)
