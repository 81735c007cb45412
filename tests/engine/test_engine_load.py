"""An engine under load: what an utterance sounds like depends on its request alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tiny_voices import write_tiny_voice
from utterance_recorder import Recorder

from GPT_SoVITS.engine.running_utterance import UtteranceHandle
from GPT_SoVITS.engine.speech_cache import FinishedSpeech, SpeechCache
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import Urgency, UtteranceCancelled, UtteranceTask
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, SynthesisRequest
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions, AcousticDecoder, AcousticStream, AudioPiece

TEXTS = ("Good evening to all of you.", "Hello.", "The last train leaves before midnight, they say.", "Who is there?")
CHUNKS = (None, ChunkSettings(), ChunkSettings(first=5, least=8))


def utterance_of(prompt: EncodedPrompt, text: int, seed: int) -> SynthesisRequest:
    sampling = SamplingSettings(early_stop_num=40 + 7 * seed, min_tokens=30)
    return SynthesisRequest(TEXTS[text], "en", prompt, seed, sampling=sampling)


def expected(pipeline: Pipeline, request: SynthesisRequest, chunks: ChunkSettings | None) -> list[np.ndarray]:
    if chunks is None:
        return [pipeline.speak_batch([request])[0].samples]
    return [speech.samples for speech in pipeline.stream(request, chunks=chunks)]


class Machine(RuleBasedStateMachine):
    """Utterances come, are cancelled and end in any order; each one's chunks are those that the pipeline gives."""

    pipeline: Pipeline
    prompt: EncodedPrompt
    references: dict[tuple[int, int, int], list[np.ndarray]]

    @initialize(rows=st.integers(1, 4))
    def begin(self, rows: int) -> None:
        self.engine = SpeechEngine(threads=1, max_rows=rows)
        self.speaking: list[tuple[tuple[int, int, int], Recorder, UtteranceHandle]] = []

    @rule(text=st.integers(0, 3), seed=st.integers(0, 3), chunks=st.integers(0, 2), urgency=st.sampled_from(Urgency))
    def submit(self, text: int, seed: int, chunks: int, urgency: Urgency) -> None:
        recorder = Recorder()
        task = UtteranceTask(self.pipeline, utterance_of(self.prompt, text, seed), CHUNKS[chunks], urgency)
        self.speaking.append(((text, seed, chunks), recorder, self.engine.submit(task, recorder)))

    @precondition(lambda self: self.speaking)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        which, recorder, handle = data.draw(st.sampled_from(self.speaking))
        handle.cancel()
        self.check(which, recorder, cancelled=True)
        self.speaking = [item for item in self.speaking if item[1] is not recorder]

    @precondition(lambda self: self.speaking)
    @rule()
    def wait_for_the_first(self) -> None:
        which, recorder, _ = self.speaking.pop(0)
        self.check(which, recorder)

    def check(self, which: tuple[int, int, int], recorder: Recorder, *, cancelled: bool = False) -> None:
        chunks = self.references[which]
        try:
            recorder.samples()
            assert len(recorder.chunks) == len(chunks)
        except UtteranceCancelled:
            assert cancelled
        for speech, samples in zip(recorder.chunks, chunks, strict=False):
            assert np.array_equal(speech.samples, samples)

    def teardown(self) -> None:
        for which, recorder, _ in self.speaking:
            self.check(which, recorder)
        self.engine.close()


@pytest.mark.slow
def test_utterances_come_and_go_in_any_order(tiny, tiny_prompt):
    keys = [(text, seed, chunks) for text in range(4) for seed in range(4) for chunks in range(3)]
    references = {
        (text, seed, chunks): expected(tiny, utterance_of(tiny_prompt, text, seed), CHUNKS[chunks])
        for text, seed, chunks in keys
    }
    machine = type("OfTinyVoice", (Machine,), {"pipeline": tiny, "prompt": tiny_prompt, "references": references})
    case = machine.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=20, suppress_health_check=list(HealthCheck))
    case("runTest").runTest()


@pytest.mark.parametrize("voice", ["nano", "tiny"])
def test_sixteen_rows_have_the_samples_of_one_row_alone(engine, voice, request):
    pipeline, prompt = request.getfixturevalue(voice), request.getfixturevalue(f"{voice}_prompt")
    utterance, recorders = utterance_of(prompt, 2, 1), [Recorder() for _ in range(16)]

    for recorder in recorders:
        engine.submit(UtteranceTask(pipeline, utterance, ChunkSettings()), recorder)

    alone = np.concatenate(expected(pipeline, utterance, ChunkSettings()))
    for recorder in recorders:
        assert np.array_equal(recorder.samples(), alone)


def test_a_listener_that_fails_ends_its_utterance_alone(engine, tiny, tiny_prompt):
    class Failing(Recorder):
        def on_chunk(self, speech: object) -> None:
            raise LookupError

    failing, other = Failing(), Recorder()
    for recorder in (failing, other):
        engine.submit(UtteranceTask(tiny, utterance_of(tiny_prompt, 0, 0), ChunkSettings()), recorder)

    assert len(other.samples()) > 0
    with pytest.raises(LookupError):
        failing.samples()


class MemoryLimit:
    """A decoder whose streams exhaust the memory at chosen slices; it stands in for a small device."""

    def __init__(self, decoder: AcousticDecoder, failing_slices: Iterator[bool]) -> None:
        self._decoder = decoder
        self._failing_slices = failing_slices

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)

    def open_stream(self, conditions: AcousticConditions, settings: ChunkSettings | None) -> AcousticStream:
        stream = self._decoder.open_stream(conditions, settings)
        advance = stream.advance

        def limited() -> AudioPiece | None:
            if next(self._failing_slices, False):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return advance()

        stream.advance = limited  # type: ignore[method-assign]
        return stream


def with_limit(pipeline: Pipeline, *failing_slices: bool) -> Pipeline:
    limited = object.__new__(Pipeline)
    limited.__dict__ |= pipeline.__dict__
    limited.decoder = MemoryLimit(pipeline.decoder, iter(failing_slices))  # type: ignore[assignment]
    return limited


def test_utterances_that_exhaust_the_memory_free_it_and_are_spoken_one_by_one(tiny, tiny_prompt):
    released = threading.Event()
    engine = SpeechEngine(threads=1, release_memory=released.set)
    recorders = [Recorder() for _ in range(3)]
    requests = [utterance_of(tiny_prompt, number, number) for number in range(3)]

    for request, recorder in zip(requests, recorders, strict=True):
        pipeline = with_limit(tiny, False, True)
        engine.submit(UtteranceTask(pipeline, request, ChunkSettings()), recorder)

    for request, recorder in zip(requests, recorders, strict=True):
        assert np.array_equal(recorder.samples(), np.concatenate(expected(tiny, request, ChunkSettings())))
    assert released.is_set()
    engine.close()


def test_a_batch_that_exhausts_the_memory_is_gone_when_memory_is_freed(monkeypatch, tiny, tiny_prompt):
    batches: list[weakref.ref[ContinuousBatch]] = []
    alive: list[bool] = []
    step = ContinuousBatch.step

    def exhausting(self: ContinuousBatch) -> dict[int, list[int]]:
        if not batches:
            batches.append(weakref.ref(self))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self)

    monkeypatch.setattr(ContinuousBatch, "step", exhausting)
    engine = SpeechEngine(threads=1, release_memory=lambda: alive.append(batches[0]() is not None))
    recorder = Recorder()
    engine.submit(UtteranceTask(tiny, utterance_of(tiny_prompt, 0, 0), CHUNKS[1]), recorder)

    assert len(recorder.samples()) > 0
    assert alive == [False]
    engine.close()


def test_an_utterance_that_exhausts_the_memory_alone_fails_with_a_clear_error(engine, tiny, tiny_prompt):
    large, small = Recorder(), Recorder()
    engine.submit(UtteranceTask(with_limit(tiny, *[True] * 99), utterance_of(tiny_prompt, 0, 0), CHUNKS[1]), large)
    engine.submit(UtteranceTask(tiny, utterance_of(tiny_prompt, 1, 0), CHUNKS[1]), small)

    with pytest.raises(ModelError, match="more memory than the device has") as error:
        large.samples()
    assert error.value.code == "out_of_memory"
    assert len(small.samples()) > 0


def test_a_function_that_exhausts_the_memory_is_called_again_after_it_was_freed():
    released = threading.Event()
    engine = SpeechEngine(threads=1, release_memory=released.set)

    def load() -> str:
        if not released.is_set():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "loaded"

    assert engine.call(load).result() == "loaded"
    engine.close()


def test_a_voice_that_exhausts_the_memory_is_loaded_again_after_it_was_freed_on_the_thread_of_its_caller():
    released = threading.Event()
    engine = SpeechEngine(threads=1, release_memory=released.set)

    def load() -> threading.Thread:
        if not released.is_set():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return threading.current_thread()

    assert engine.load(load) is threading.current_thread()
    engine.close()


def test_a_voice_that_needs_more_memory_than_there_is_is_a_clear_error_that_may_pass(engine):
    def load() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(ModelError, match="The voice needs more memory") as error:
        engine.load(load)

    assert error.value.code == "out_of_memory"
    assert not error.value.permanent


def test_an_utterance_that_was_spoken_before_is_not_computed_again(tiny, tiny_prompt):
    engine = SpeechEngine(threads=1, speech_cache=SpeechCache(1 << 20))
    pipeline = with_limit(tiny)
    pipeline.key = "voice"
    prompt = replace(tiny_prompt, key=7)
    first, again, other = Recorder(), Recorder(), Recorder()
    engine.submit(UtteranceTask(pipeline, utterance_of(prompt, 0, 0), CHUNKS[1]), first)
    samples = first.samples()
    pipeline.decoder = MemoryLimit(tiny.decoder, iter([True] * 99))  # type: ignore[assignment]

    engine.submit(UtteranceTask(pipeline, utterance_of(prompt, 0, 0), CHUNKS[1]), again)
    engine.submit(UtteranceTask(pipeline, utterance_of(prompt, 0, 1), CHUNKS[1]), other)

    assert np.array_equal(again.samples(), samples)
    once = Recorder()
    engine.submit(UtteranceTask(pipeline, utterance_of(prompt, 0, 0), CHUNKS[1], repeatable=False), once)
    with pytest.raises(ModelError):  # what will not be asked for again is neither kept nor looked for
        once.samples()
    assert again.totals is not None
    assert again.totals.samples == len(samples)
    with pytest.raises(ModelError):
        other.samples()
    engine.close()


def test_the_cache_of_finished_utterances_keeps_within_its_bytes(tiny, tiny_prompt):
    speech = tiny.speak_batch([utterance_of(tiny_prompt, 1, 0)])[0]
    cache = SpeechCache(3 * speech.samples.nbytes)

    for key in "abcd":
        cache.put(key, FinishedSpeech((speech,)))
        assert cache.get("a" if key < "d" else "d") is not None

    assert cache.bytes <= cache.max_bytes
    assert cache.get("b") is None, "the least recently used one is dropped"
    assert cache.get("a") == FinishedSpeech((speech,))


def test_an_engine_without_work_keeps_no_voice_in_memory(engine, tmp_path, tiny_prompt):
    pipeline = Pipeline.load(*write_tiny_voice(tmp_path, "v2"))
    voice = weakref.ref(pipeline)
    recorder = Recorder()
    engine.submit(UtteranceTask(pipeline, utterance_of(tiny_prompt, 0, 0), ChunkSettings()), recorder)
    assert len(recorder.samples()) > 0
    del pipeline
    engine.call(lambda: None).result()

    gc.collect()

    assert voice() is None
