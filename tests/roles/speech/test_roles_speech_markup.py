"""Marks in a text on their way: from the splitter to utterances, and from the synthesizer to the pipeline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.errors import BadMarkup, BadPronunciation
from core.jobs.job import NewJob
from core.jobs.roles import SPLITTER
from core.speech.requests import PronunciationSpan, SpeechRequest, UtteranceRequest
from core.speech.sampling import SamplingOptions
from GPT_SoVITS.pipeline import EncodedPrompt, SamplingOverrides, SynthesisRequest
from GPT_SoVITS.text import InlinePronunciation
from roles.runtime.services import WorkerServices
from roles.speech.synthesis_options import synthesis_request
from roles.splitter import Splitter

CONTEXT: Any = SimpleNamespace(check=lambda: None)


def split(services: WorkerServices, text: str, **more: Any) -> list[UtteranceRequest]:
    splitter = Splitter()
    splitter.start(services)
    request = SpeechRequest(text=text, voice_id="voice-1", **more)
    job = services.queue.enqueue(NewJob(SPLITTER, request.stored()))
    utterances = splitter.run(job, CONTEXT)["utterances"]
    return [UtteranceRequest.model_validate(utterance["request"]) for utterance in utterances]


def test_the_utterances_of_a_text_belong_to_the_owner_of_the_text(services: WorkerServices):
    splitter = Splitter()
    splitter.start(services)
    request = SpeechRequest(text="One. Two.", language="en", voice_id="voice-1", assembly="infer-1")
    services.queue.enqueue(NewJob("files", {}, job_id="infer-1", depends_on=["split-1"]))
    job = services.queue.enqueue(NewJob(SPLITTER, request.stored(), job_id="split-1", owner="key-1"))

    utterances = splitter.run(job, CONTEXT)["utterances"]

    jobs = [services.queue.job(utterance["job_id"]) for utterance in utterances]
    assert [utterance and utterance.owner for utterance in jobs] == ["key-1"] * len(jobs)
    assert jobs


@pytest.mark.parametrize("text", ["42.", "$1,234.56."])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_numbers_alone_are_spoken_in_the_language_of_the_voice(services: WorkerServices, text: str, language: str):
    (utterance,) = split(services, text, number_language=language)

    assert (utterance.text, utterance.language) == (text, language)


def pipeline_request(**more: Any) -> SynthesisRequest:
    """Return what the pipeline is asked for an utterance."""
    request = UtteranceRequest(parent="speech-1", index=0, text="银行", language="zh", voice_id="voice-1", **more)
    return synthesis_request(request, cast(EncodedPrompt, None), seed=1)


def test_marks_and_the_dictionary_become_readings_and_pauses_of_utterances(services):
    utterances = split(
        services, "{银行|yin2 hang2}。{1s}我的GIF动图在这里。", pronunciations={"GIF": "JH IH1 F"}, speed=1.5
    )

    assert [(utterance.text, utterance.silence_after, utterance.speed) for utterance in utterances] == [
        ("银行。", 1.0, 1.5),
        ("我的GIF动图在这里。", 0.0, 1.5),
    ]
    assert utterances[0].readings == (PronunciationSpan(start=0, end=2, language="zh", units=("yin2", "hang2")),)
    assert utterances[1].readings == (PronunciationSpan(start=2, end=5, language="en", units=("JH", "IH1", "F")),)


def test_the_rate_of_ssml_multiplies_the_speed_within_what_can_be_spoken(services):
    document = "<speak>one<prosody rate='50%'>two</prosody><prosody rate='400%'>three</prosody></speak>"

    assert [utterance.speed for utterance in split(services, document, speed=2.0)] == [2.0, 1.0, 4.0]


def test_a_text_may_be_sent_without_marks(services):
    assert [utterance.text for utterance in split(services, "use {a|b}", input_type="text")] == ["use {a|b}"]


@pytest.mark.parametrize(("text", "error"), [("<speak><voice/></speak>", BadMarkup), ("{字|zz4}", BadPronunciation)])
def test_what_cannot_be_followed_is_refused_by_the_splitter(services, text, error):
    with pytest.raises(error):
        split(services, text)


def test_a_reading_reaches_the_pipeline():
    request = pipeline_request(readings=(PronunciationSpan(start=0, end=2, language="zh", units=("yin2", "xing2")),))

    assert request.inline_pronunciations == [InlinePronunciation(0, 2, "zh", ("yin2", "xing2"))]


def test_the_sampling_options_of_a_text_reach_the_model(services):
    options = SamplingOptions(
        top_k=5, top_p=0.9, temperature=0.7, repetition_penalty=1.2, sample_steps=8, super_sampling=True
    )

    (utterance,) = split(services, "银行", sampling=options, extra_references=("prompts/a.wav",))
    request = pipeline_request(sampling=utterance.sampling)

    assert utterance.extra_references == ("prompts/a.wav",)
    assert request.sampling == SamplingOverrides(top_k=5, top_p=0.9, temperature=0.7, repetition_penalty=1.2)
    assert (request.steps, request.super_sampling) == (8, True)


def test_options_that_a_text_leaves_out_are_those_of_the_model():
    request = pipeline_request()

    assert (request.sampling, request.steps, request.super_sampling) == (SamplingOverrides(), None, False)


def test_every_utterance_has_a_seed_before_it_is_enqueued(services):
    first, second = split(services, "The weather is fine today. Tomorrow it will rain.")

    assert first.seed is not None
    assert second.seed is not None
    assert [utterance.seed for utterance in split(services, "The weather is fine.", seed=7)] == [7]


def test_a_text_is_cut_by_the_method_that_its_request_names(services):
    text = "First comes this, then comes that. In the end comes nothing at all."

    assert [utterance.text for utterance in split(services, text, text_split_method="cut5")] == [
        "First comes this,",
        "then comes that.",
        "In the end comes nothing at all.",
    ]
    assert [utterance.text for utterance in split(services, text, text_split_method="cut0")] == [text]
