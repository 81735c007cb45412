"""The pipeline with voices of random weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from GPT_SoVITS.audio import limit_peak, write_wav
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, SamplingOverrides, SamplingSettings, SynthesisRequest
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

SENTENCE = "Hello there, my friend."
SHORT = SamplingSettings(early_stop_num=30)


def test_the_same_seed_gives_the_same_samples(pipeline: Pipeline, prompt: EncodedPrompt) -> None:
    first = pipeline.speak(SENTENCE, "en", prompt, seed=7)
    torch.manual_seed(99)  # whatever else the process draws
    second = pipeline.speak(SENTENCE, "en", prompt, seed=7)
    other = pipeline.speak(SENTENCE, "en", prompt, seed=8)

    np.testing.assert_array_equal(first.samples, second.samples)
    assert len(other.samples) != len(first.samples) or not np.allclose(other.samples, first.samples)


def test_a_token_lasts_forty_milliseconds(pipeline: Pipeline, prompt: EncodedPrompt) -> None:
    speech = pipeline.speak(SENTENCE, "en", prompt, seed=7)

    assert len(speech.samples) == speech.tokens * speech.sample_rate // 25


def test_twice_the_speed_takes_half_the_time(pipeline: Pipeline, prompt: EncodedPrompt) -> None:
    plain = pipeline.speak_batch([SynthesisRequest(SENTENCE, "en", prompt, 7, sampling=SHORT)])[0]
    fast = pipeline.speak_batch([SynthesisRequest(SENTENCE, "en", prompt, 7, speed=2.0, sampling=SHORT)])[0]

    assert len(fast.samples) == pytest.approx(len(plain.samples) / 2, abs=2 * 320)


def test_speech_that_lost_its_way_is_cut_off(pipeline: Pipeline, prompt: EncodedPrompt) -> None:
    speech = pipeline.speak("One.", "en", prompt, seed=7)

    assert len(speech.samples) / speech.sample_rate < 20.0


def test_two_checkpoints_of_one_kind_are_refused(voice: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="A sovits checkpoint was expected; this one is a gpt"):
        Pipeline.load(voice[0], voice[0])


def test_a_gpt_of_another_family_is_refused(voice: tuple[Path, Path], tiny_voice: Callable) -> None:
    with pytest.raises(ModelError, match=r"The GPT checkpoint is nano, the SoVITS checkpoint v2"):
        Pipeline.load(voice[0], tiny_voice("v2")[1])


def test_a_prompt_that_is_too_short_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", np.zeros(8_000, np.float32), 16_000)

    with pytest.raises(ModelError, match=r"lasts 0\.5 s"):
        pipeline.prepare_prompt(tmp_path / "short.wav", "", "en", tokens=[1])


def test_an_utterance_sounds_the_same_alone_and_among_eight(tiny: Pipeline, tiny_prompt: EncodedPrompt) -> None:
    texts = ["One.", "Two and three.", SENTENCE, "A sentence that is a good deal longer than the others are."]
    speeds = (1.0, 1.0, 1.2, 1.0, 0.8, 1.0, 1.0, 2.0)
    utterances = [
        SynthesisRequest(text, "en", tiny_prompt, seed, speed, SamplingSettings(early_stop_num=20 + 7 * seed))
        for seed, (text, speed) in enumerate(zip(2 * texts, speeds, strict=True))
    ]

    together = tiny.speak_batch(utterances)

    for utterance, among_others in zip(utterances, together, strict=True):
        alone = tiny.speak_batch([utterance])[0]
        assert among_others.tokens == alone.tokens
        np.testing.assert_allclose(among_others.samples, alone.samples, atol=1e-4)


def test_a_generator_for_all_rows_at_once_gives_each_row_what_it_gives_alone(tiny: Pipeline) -> None:
    generator = torch.Generator().manual_seed(3)
    tokens, conditions = [], []
    for count, phones, speed in ((7, 4, 1.0), (19, 9, 1.0), (12, 20, 1.3)):
        tokens.append(torch.randint(1024, (count,), generator=generator))
        conditions.append(
            AcousticConditions(
                phones=torch.randint(732, (phones,), generator=generator),
                style=torch.randn(1, 24, 1, generator=generator),
                noise=torch.randn(1, 16, int(2 * count / speed) + (speed != 1), generator=generator),
                speed=speed,
            )
        )

    assert isinstance(tiny.decoder, WaveformDecoder)
    together = tiny.decoder.decode(tokens, conditions, batch_generator=True)

    for row, condition, wave in zip(tokens, conditions, together, strict=True):
        torch.testing.assert_close(wave, tiny.decoder.decode([row], [condition])[0], atol=1e-5, rtol=0)


def test_two_threads_at_once_each_get_their_own_sound(tiny: Pipeline, tiny_prompt: EncodedPrompt) -> None:
    utterances = [SynthesisRequest(SENTENCE, "en", tiny_prompt, seed, sampling=SHORT) for seed in range(6)]
    alone = [tiny.speak_batch([utterance])[0].samples for utterance in utterances]
    samples: dict[int, np.ndarray] = {}

    def speak(own: range) -> None:
        for i in own:
            samples[i] = tiny.speak_batch([utterances[i]])[0].samples

    threads = [threading.Thread(target=speak, args=(own,)) for own in (range(0, 3), range(3, 6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for i, expected in enumerate(alone):
        np.testing.assert_allclose(samples[i], expected, atol=1e-6)


def test_what_would_clip_is_scaled_down_and_nothing_else() -> None:
    np.testing.assert_allclose(limit_peak(np.array([0.5, -2.0], np.float32)), [0.25, -1.0])
    np.testing.assert_allclose(limit_peak(np.array([0.1], np.float32)), [0.1])


def test_overrides_change_the_settings_that_they_name_and_nothing_else(pipeline: Pipeline, prompt: EncodedPrompt):
    plain = SynthesisRequest(SENTENCE, "en", prompt, 7)
    same = SynthesisRequest(SENTENCE, "en", prompt, 7, sampling=SamplingOverrides(temperature=0.4, top_k=5))
    greedy = [SynthesisRequest(SENTENCE, "en", prompt, seed, sampling=SamplingOverrides(top_k=1)) for seed in (1, 2)]

    own = pipeline.conditioner.condition(plain).sampling
    overridden = pipeline.conditioner.condition(greedy[0]).sampling
    expected, repeated, *likeliest = pipeline.speak_batch([plain, same, *greedy])

    assert (own.temperature, own.top_k, own.repetition_penalty) == (0.4, 5, 1.0)
    assert overridden == replace(own, top_k=1)
    np.testing.assert_array_equal(repeated.samples, expected.samples)
    assert likeliest[0].tokens == likeliest[1].tokens
