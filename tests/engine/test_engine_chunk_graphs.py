"""When an engine captures the graphs of chunks, with graphs that are recorded and repeated on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from recorded_replays import RecordedReplays
from utterance_recorder import WAIT_SECONDS, Recorder

from GPT_SoVITS.engine import graph_captures
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.graphs.registry import GraphRegistry
from GPT_SoVITS.graphs.replays import StaticWork
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, SynthesisRequest
from GPT_SoVITS.sovits.graphs import network, registry
from GPT_SoVITS.sovits.graphs.network import WORK
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs, next_capture


class AnnouncedReplays(RecordedReplays):
    """Tells when it has captured something."""

    def __init__(self) -> None:
        super().__init__()
        self.captured = threading.Event()

    def run(self, work: StaticWork[Any]) -> None:
        super().run(work)
        self.captured.set()


@pytest.fixture
def replays(tiny: Pipeline, monkeypatch: pytest.MonkeyPatch) -> AnnouncedReplays:
    """Let the chunks of the voice be recorded and repeated."""
    replays = AnnouncedReplays()
    decoder: Any = tiny.decoder
    monkeypatch.setattr(registry, "_networks", GraphRegistry(WORK))
    monkeypatch.setattr(network, "Replays", lambda device, work: replays)
    monkeypatch.setattr(decoder, "graphs", VoiceGraphs(decoder.sovits))
    return replays


@pytest.fixture
def patient_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpeechEngine]:
    """Return an engine that captures only behind many uses."""
    monkeypatch.setattr(graph_captures.GraphCaptures, "idle_capture", lambda self: None)
    engine = SpeechEngine(threads=1)
    yield engine
    engine.close()


def speak(engine: SpeechEngine, pipeline: Pipeline, prompt: EncodedPrompt) -> np.ndarray:
    sampling = SamplingSettings(early_stop_num=50, min_tokens=40)
    recorder = Recorder()
    request = SynthesisRequest("Good evening to all of you.", "en", prompt, 3, sampling=sampling)
    engine.submit(UtteranceTask(pipeline, request, ChunkSettings()), recorder)
    return recorder.samples()


def test_an_idle_engine_captures_what_has_run_and_replays_it_from_then_on(engine, tiny, tiny_prompt, replays):
    first = speak(engine, tiny, tiny_prompt)
    while engine.call(partial(next_capture, 1)).result(WAIT_SECONDS) is not None:
        assert replays.captured.wait(WAIT_SECONDS)
        replays.captured.clear()
    assert replays.recordings
    assert not replays.replayed
    second = speak(engine, tiny, tiny_prompt)

    assert replays.replayed.total() >= 3
    assert np.array_equal(first, second)


def test_a_busy_engine_captures_what_has_run_often(patient_engine, tiny, tiny_prompt, replays):
    for _ in range(graph_captures.TOO_MANY_USES):
        samples = speak(patient_engine, tiny, tiny_prompt)
        if replays.replayed:
            break

    assert replays.replayed.total() > 0
    assert np.array_equal(samples, speak(patient_engine, tiny, tiny_prompt))


def test_an_engine_whose_memory_is_exhausted_forgets_the_graphs_and_goes_on(engine, tiny, tiny_prompt, replays):
    speak(engine, tiny, tiny_prompt)
    assert engine.call(lambda: len(registry._networks.kept)).result(WAIT_SECONDS) == 1
    engine.call(graph_captures.GraphCaptures(enabled=True).release).result(WAIT_SECONDS)
    assert engine.call(lambda: len(registry._networks.kept)).result(WAIT_SECONDS) == 0
    without = speak(engine, tiny, tiny_prompt)

    assert engine.call(lambda: len(registry._networks.kept)).result(WAIT_SECONDS) == 0
    assert len(without) > 0
