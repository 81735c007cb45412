"""Utterances of a running engine."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from utterance_recorder import WAIT_SECONDS, Recorder

from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceCancelled, UtteranceTask
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, Speech, SynthesisRequest

CHUNKS = ChunkSettings()
CANCELLED_AT = 20
"""The step of the decoder in which a caller cancels, of at least 50."""
TEXTS = ("Good evening to all of you.", "Hello.", "The last train leaves before midnight, they say.")


def utterance_of(text: str, prompt: EncodedPrompt, seed: int = 1) -> SynthesisRequest:
    return SynthesisRequest(text, "en", prompt, seed, sampling=SamplingSettings(early_stop_num=60, min_tokens=50))


def submit(engine: SpeechEngine, pipeline: Pipeline, utterance: SynthesisRequest, **options) -> Recorder:
    recorder = Recorder()
    engine.submit(UtteranceTask(pipeline, utterance, **options), recorder)
    return recorder


def test_an_utterance_in_one_piece_has_the_samples_that_the_pipeline_gives(engine, nano, nano_prompt):
    utterance = utterance_of("Good evening to all of you.", nano_prompt)

    recorder = submit(engine, nano, utterance)

    assert np.array_equal(recorder.samples(), nano.speak_batch([utterance])[0].samples)
    assert len(recorder.chunks) == 1


@pytest.mark.parametrize("voice", ["nano", "tiny"])
def test_a_streamed_utterance_has_the_chunks_of_the_pipeline_whatever_is_spoken_beside_it(engine, voice, request):
    pipeline, prompt = request.getfixturevalue(voice), request.getfixturevalue(f"{voice}_prompt")
    utterances = [utterance_of(text, prompt, seed) for seed, text in enumerate(TEXTS)]

    recorders = [submit(engine, pipeline, utterance, chunks=CHUNKS) for utterance in utterances]

    for utterance, recorder in zip(utterances, recorders, strict=True):
        samples = recorder.samples()
        expected = list(pipeline.stream(utterance, chunks=CHUNKS))
        assert [chunk.tokens for chunk in recorder.chunks] == [chunk.tokens for chunk in expected]
        assert np.array_equal(samples, np.concatenate([chunk.samples for chunk in expected]))
        assert recorder.totals is not None
        assert recorder.totals.samples == len(samples)
        assert recorder.totals.tokens == sum(chunk.tokens for chunk in expected)


def test_a_text_without_pronunciation_is_the_error_of_its_utterance_alone(engine, nano, nano_prompt):
    wrong = submit(engine, nano, utterance_of("…", nano_prompt))
    right = submit(engine, nano, utterance_of("Hello.", nano_prompt))

    assert len(right.samples()) > 0
    with pytest.raises(ModelError):
        wrong.samples()


def test_a_cancelled_utterance_ends_without_its_other_chunks(engine, nano, nano_prompt):
    cancelled = threading.Event()

    class CancelAtFirstChunk(Recorder):
        def on_chunk(self, speech: Speech) -> None:
            super().on_chunk(speech)
            handles[0].cancel()
            cancelled.set()

    recorder = CancelAtFirstChunk()
    handles = [engine.submit(UtteranceTask(nano, utterance_of(TEXTS[0], nano_prompt), CHUNKS), recorder)]

    assert cancelled.wait(WAIT_SECONDS)
    with pytest.raises(UtteranceCancelled):
        recorder.samples()
    assert len(recorder.chunks) == 1


def test_a_cancel_takes_effect_within_eight_steps(monkeypatch, engine, nano, nano_prompt):
    steps = 0
    step = ContinuousBatch.step

    def counted_step(batch: ContinuousBatch) -> dict[int, list[int]]:
        nonlocal steps
        steps += 1
        if steps == CANCELLED_AT:
            handles[0].cancel()
        return step(batch)

    monkeypatch.setattr(ContinuousBatch, "step", counted_step)
    recorder = Recorder()
    handles = [engine.submit(UtteranceTask(nano, utterance_of(TEXTS[2], nano_prompt), CHUNKS), recorder)]
    with pytest.raises(UtteranceCancelled):
        recorder.samples()

    assert CANCELLED_AT <= steps <= CANCELLED_AT + 8


def test_a_function_runs_on_the_thread_of_the_device_and_its_error_is_the_callers(engine):
    assert engine.call(lambda: threading.current_thread().name).result() == "engine"
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0).result()


def test_closing_cancels_what_is_not_finished_and_accepts_nothing_more(nano, nano_prompt):
    engine = SpeechEngine(threads=1)
    recorders = [submit(engine, nano, utterance_of(text, nano_prompt), chunks=CHUNKS) for text in TEXTS]

    engine.close()

    for recorder in recorders:
        assert recorder.ended.is_set()
    with pytest.raises(RuntimeError):
        engine.submit(UtteranceTask(nano, utterance_of("Hello.", nano_prompt)), Recorder())
