"""Utterances are verified before they are delivered: clean ones stay as they are, others are spoken again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from utterance_recorder import Recorder

from GPT_SoVITS.engine.attempts import Attempts, halves
from GPT_SoVITS.engine.speech_cache import SpeechCache
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.engine.verification import Recognition, VerificationReport, VerificationSettings
from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.pipeline import ChunkSettings, Pipeline, SamplingOverrides, SynthesisRequest
from GPT_SoVITS.synthesis.verification.faults import Fault, FaultKind

TEXTS = ("The library closes at nine tonight.", "She poured a cup of tea, and sat down beside the window.", "Yes.")
RETRIES = VerificationSettings(retries=3)
WILD = SamplingOverrides(temperature=8.0, top_k=1000)
"""So much chance that something goes wrong in every attempt."""


@pytest.fixture(scope="module")
def base() -> Pipeline:
    return Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")


def request_of(pipeline: Pipeline, text: str, **options) -> SynthesisRequest:
    return SynthesisRequest(text, "en", neutral_prompt(pipeline), options.pop("seed", 1), **options)


def speak(engine: SpeechEngine, task: UtteranceTask) -> tuple[np.ndarray, VerificationReport | None]:
    recorder = Recorder()
    engine.submit(task, recorder)
    samples = recorder.samples()
    assert recorder.totals is not None
    assert recorder.totals.samples == len(samples)
    return samples, recorder.totals.verification


@pytest.mark.parametrize("chunks", [None, ChunkSettings()])
@pytest.mark.parametrize("text", TEXTS)
def test_clean_speech_is_what_it_is_without_verification(engine, base, text: str, chunks) -> None:
    request = request_of(base, text)

    plain, nothing = speak(engine, UtteranceTask(base, request, chunks))
    verified, report = speak(engine, UtteranceTask(base, request, chunks, verification=RETRIES))

    assert np.array_equal(plain, verified)
    assert nothing is None
    assert report is not None
    assert (report.verdict, report.attempts, report.faults) == ("ok", 1, ())


@pytest.mark.parametrize("chunks", [None, ChunkSettings()])
def test_speech_with_faults_is_spoken_again_and_the_same_each_time(engine, base, chunks) -> None:
    task = UtteranceTask(base, request_of(base, TEXTS[1], sampling=WILD), chunks, verification=RETRIES)

    samples, report = speak(engine, task)
    again, second_report = speak(engine, task)
    _, unverified = speak(engine, replace(task, verification=VerificationSettings(retries=0)))

    assert report is not None
    assert second_report is not None
    assert unverified is not None
    assert np.array_equal(samples, again)
    assert (report.attempts, report.faults) == (second_report.attempts, second_report.faults)
    # A stream reports what shows only when it was sent.
    assert report.attempts > 1 or (chunks and report.verdict == "doubtful")
    assert unverified.verdict == "doubtful"
    assert unverified.attempts == 1
    assert len(report.faults) <= len(unverified.faults)


def test_the_best_attempt_is_delivered_with_its_faults_and_their_places(engine, base) -> None:
    def recognize(samples: np.ndarray, rate: int) -> Recognition:
        return Recognition([Fault(FaultKind.WRONG_WORDS, 0.0, len(samples) / rate)], 0.9, ("speaker",))

    always = VerificationSettings(2, recognize)

    samples, report = speak(engine, UtteranceTask(base, request_of(base, TEXTS[0]), verification=always))

    assert report is not None
    assert (report.verdict, report.attempts) == ("doubtful", 3)
    assert report.faults[-1].kind is FaultKind.WRONG_WORDS
    assert report.faults[-1].end == pytest.approx(len(samples) / base.sample_rate)
    assert len(report.corrected) >= 2
    assert (report.speaker_similarity, report.unchecked) == (0.9, ("speaker",))


def test_what_a_recognizer_finds_wrong_is_spoken_again_before_anything_is_delivered(engine, base) -> None:
    lengths: list[int] = []

    def recognize(samples: np.ndarray, rate: int) -> Recognition:
        lengths.append(len(samples))
        return Recognition([Fault(FaultKind.WRONG_WORDS, 0.0, 1.0)] if len(lengths) == 1 else [])

    task = UtteranceTask(base, request_of(base, TEXTS[1]), ChunkSettings(), verification=RETRIES)
    samples, report = speak(engine, replace(task, verification=VerificationSettings(3, recognize)))

    assert report is not None
    assert (report.verdict, report.attempts) == ("ok", 2)
    assert len(samples) == lengths[-1]


def test_an_utterance_from_the_cache_has_its_report(base) -> None:
    base.key = "base"
    engine = SpeechEngine(threads=1, speech_cache=SpeechCache(1 << 22))
    request = request_of(base, TEXTS[1], sampling=WILD)
    request = replace(request, prompt=replace(request.prompt, key="neutral"))
    task = UtteranceTask(base, request, verification=RETRIES)

    first, second = (speak(engine, task) for _ in range(2))
    engine.close()
    base.key = None

    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_a_row_goes_on_behind_the_tokens_that_are_forced(base) -> None:
    utterance = base.conditioner.condition(request_of(base, TEXTS[0]))
    inputs = (utterance.gpt_input, utterance.sampling, utterance.request.noise)

    def tokens(forced: list[int]) -> list[int]:
        batch = ContinuousBatch(base.gpt)
        row = batch.add_request(*inputs, forced)
        finished: dict[int, list[int]] = {}
        while batch:
            finished |= batch.step()
        return finished[row]

    whole = tokens([])
    assert tokens(whole[:20]) == whole
    other = [whole[0], *whole[:19]]
    assert tokens(other)[:20] == other
    assert tokens(other) != whole


def test_an_utterance_is_halved_at_the_pause_next_to_its_middle(base) -> None:
    utterance = base.conditioner.condition(request_of(base, TEXTS[1]))
    text = base.text_to_verify(utterance)

    first, second = halves(utterance, text.is_pause.tolist())

    assert [*first.phonemes.tolist(), *second.phonemes.tolist()] == utterance.phones.tolist()
    assert text.is_pause[len(first.phonemes) - 1]
    assert halves(base.conditioner.condition(request_of(base, "Yes.")), [False] * 5)[0].phonemes.tolist()


def test_a_fault_that_another_seed_repeats_begins_no_third_attempt_and_is_reported(base) -> None:
    spoken = base.conditioner.condition(request_of(base, "The library closes at nine tonight."))
    expected = base.conditioner.condition(request_of(base, "The library closes at seven tonight."))
    attempts = Attempts(spoken, RETRIES, base.text_to_verify(expected), first=0)

    leaves = True
    while leaves:
        row = attempts.row()
        (tokens,) = generate_batch(base.gpt, [row.row], [row.settings], [row.noise])
        leaves = attempts.take_tokens(tokens.tolist(), finished=True)
    report = attempts.report([], 0.0)

    assert report is not None
    assert (report.verdict, report.attempts) == ("doubtful", 2)
    assert {fault.kind for fault in report.faults} >= {FaultKind.SKIPPED}
    assert all(fault.as_dict()["repeated"] for fault in report.faults)
