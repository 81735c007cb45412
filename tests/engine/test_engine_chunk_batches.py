"""Chunks of several utterances that are decoded at once, as on an accelerator."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from utterance_recorder import WAIT_SECONDS, Recorder

from GPT_SoVITS.engine import speech_engine
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, Speech, SynthesisRequest
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, generate

CHUNKS = ChunkSettings()
ROUNDS = 20
TEXTS = ("Good evening to all of you.", "Hello.", "The last train leaves before midnight, they say.", "Who is there?")


@pytest.fixture
def shared_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of each run of a generator that several utterances shared."""
    runs: list[int] = []

    def counted(rows: Sequence[GeneratorRow]) -> list[Tensor]:
        runs.append(len(rows))
        return generate(rows)

    monkeypatch.setattr(speech_engine, "generate", counted)
    return runs


@pytest.fixture
def batching_engine() -> Iterator[SpeechEngine]:
    engine = SpeechEngine(threads=1, max_chunks=8)
    yield engine
    engine.close()


def request_of(prompt: EncodedPrompt, number: int) -> SynthesisRequest:
    sampling = SamplingSettings(early_stop_num=50 + 7 * number, min_tokens=40)
    return SynthesisRequest(TEXTS[number], "en", prompt, number, sampling=sampling)


def submit_at_once(
    engine: SpeechEngine, pipeline: Pipeline, requests: Sequence[SynthesisRequest], recorders: Sequence[Recorder]
) -> None:
    """Submit utterances while the engine is busy, so that they go on side by side."""
    submitted = threading.Event()
    engine.call(partial(submitted.wait, WAIT_SECONDS))
    for request, recorder in zip(requests, recorders, strict=True):
        engine.submit(UtteranceTask(pipeline, request, CHUNKS), recorder)
    submitted.set()


@pytest.mark.parametrize("voice", ["nano", "tiny"])
def test_chunks_that_are_decoded_at_once_sound_as_they_do_alone(batching_engine, shared_runs, voice, request):
    pipeline, prompt = request.getfixturevalue(voice), request.getfixturevalue(f"{voice}_prompt")
    requests = [request_of(prompt, number) for number in range(len(TEXTS))]
    expected = [list(pipeline.stream(utterance, chunks=CHUNKS)) for utterance in requests]

    for _ in range(ROUNDS):  # which chunks are there at the same time depends on the threads that convert texts
        recorders = [Recorder() for _ in requests]
        submit_at_once(batching_engine, pipeline, requests, recorders)
        for recorder, chunks in zip(recorders, expected, strict=True):
            alone = np.concatenate([chunk.samples for chunk in chunks])
            difference = recorder.samples() - alone
            assert [chunk.tokens for chunk in recorder.chunks] == [chunk.tokens for chunk in chunks]
            assert np.linalg.norm(difference) <= 0.01 * np.linalg.norm(alone)
        if shared_runs:
            break
    assert max(shared_runs) > 1


def test_an_utterance_that_fails_ends_no_other_whose_chunks_are_decoded_with_it(batching_engine, tiny, tiny_prompt):
    class Failing(Recorder):
        def on_chunk(self, speech: Speech) -> None:
            raise LookupError

    requests = [request_of(tiny_prompt, number) for number in range(3)]
    recorders = [Recorder(), Failing(), Recorder()]

    submit_at_once(batching_engine, tiny, requests, recorders)

    for recorder in (recorders[0], recorders[2]):
        assert len(recorder.samples()) > 0
    with pytest.raises(LookupError):
        recorders[1].samples()


def test_chunks_that_exhaust_the_memory_together_are_decoded_one_by_one(
    monkeypatch, batching_engine, tiny, tiny_prompt
):
    def exhausted(rows: Sequence[GeneratorRow]) -> list[Tensor]:
        raise torch.OutOfMemoryError(f"CUDA out of memory for {len(rows)} chunks.")

    monkeypatch.setattr(speech_engine, "generate", exhausted)
    requests = [request_of(tiny_prompt, number) for number in range(3)]
    recorders = [Recorder() for _ in requests]

    submit_at_once(batching_engine, tiny, requests, recorders)

    for utterance, recorder in zip(requests, recorders, strict=True):
        expected = np.concatenate([chunk.samples for chunk in tiny.stream(utterance, chunks=CHUNKS)])
        assert np.array_equal(recorder.samples(), expected)
