"""Marks in a text on their way: from the splitter to utterances, and from the synthesizer to sound."""

from __future__ import annotations

import wave
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from core.errors import BadMarkup, BadPronunciation
from core.jobs.job import Job, NewJob
from core.jobs.roles import SPLITTER
from core.speech.requests import PronunciationSpan, SpeechRequest, UtteranceRequest
from core.speech.sampling import SamplingOptions
from GPT_SoVITS.pipeline import SamplingOverrides, Speech, SynthesisRequest
from GPT_SoVITS.text import InlinePronunciation
from roles.runtime.services import WorkerServices
from roles.speech.loaded_voices import LoadedVoices
from roles.splitter import Splitter
from roles.synthesizer import PAUSE_SECONDS, Synthesizer

RATE = 1000
CONTEXT: Any = SimpleNamespace(check=lambda: None)


def split(services: WorkerServices, text: str, **more: Any) -> list[UtteranceRequest]:
    splitter = Splitter()
    splitter.start(services)
    request = SpeechRequest(text=text, voice_id="voice-1", **more)
    job = services.queue.enqueue(NewJob(SPLITTER, request.stored()))
    utterances = splitter.run(job, CONTEXT)["utterances"]
    jobs = [services.queue.job(utterance["job_id"]) for utterance in utterances]
    return [UtteranceRequest.model_validate(job.payload) for job in jobs if job is not None]


def test_the_utterances_of_a_text_belong_to_the_owner_of_the_text(services: WorkerServices):
    splitter = Splitter()
    splitter.start(services)
    request = SpeechRequest(text="One. Two.", language="en", voice_id="voice-1")
    job = services.queue.enqueue(NewJob(SPLITTER, request.stored(), owner="key-1"))

    utterances = splitter.run(job, CONTEXT)["utterances"]

    jobs = [services.queue.job(utterance["job_id"]) for utterance in utterances]
    assert [utterance and utterance.owner for utterance in jobs] == ["key-1"] * len(jobs)
    assert jobs


@pytest.mark.parametrize("text", ["42.", "$1,234.56."])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_numbers_alone_are_spoken_in_the_language_of_the_voice(services: WorkerServices, text: str, language: str):
    (utterance,) = split(services, text, number_language=language)

    assert (utterance.text, utterance.language) == (text, language)


class Singer:
    """A pipeline that sings one tone and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[SynthesisRequest] = []

    def speak_batch(self, requests: list[SynthesisRequest]) -> list[Speech]:
        self.asked += requests
        return [Speech(np.full(RATE, 0.5, dtype=np.float32), RATE, tokens=25)]


@pytest.fixture
def singer() -> Singer:
    return Singer()


@pytest.fixture
def synthesizer(services: WorkerServices, singer: Singer) -> Synthesizer:
    role = Synthesizer()
    role.services = services
    role.voices = cast(LoadedVoices, SimpleNamespace(load=lambda _: (singer, None)))
    return role


def speak(synthesizer: Synthesizer, **more: Any) -> tuple[dict[str, Any], np.ndarray]:
    request = UtteranceRequest(parent="speech-1", index=0, text="银行", language="zh", voice_id="voice-1", **more)
    result = synthesizer.run(cast(Job, SimpleNamespace(payload=request.stored())), CONTEXT)
    with wave.open(str(synthesizer.services.storage.path(result["audio"]))) as file:
        assert file.getframerate() == RATE
        return result, np.frombuffer(file.readframes(file.getnframes()), "<i2")


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


def test_a_reading_reaches_the_pipeline(synthesizer, singer):
    speak(synthesizer, readings=(PronunciationSpan(start=0, end=2, language="zh", units=("yin2", "xing2")),))

    assert singer.asked[0].inline_pronunciations == [InlinePronunciation(0, 2, "zh", ("yin2", "xing2"))]


def test_pauses_become_silence_around_the_speech_at_its_own_rate(synthesizer):
    result, samples = speak(synthesizer, silence_before=0.25, silence_after=0.5)

    assert (result["seconds"], result["pause_seconds"]) == (1.75, 0.0)
    assert not samples[:250].any()
    assert samples[250:1250].all()
    assert not samples[1250:].any()


def test_an_utterance_without_pauses_is_followed_by_the_usual_one(synthesizer):
    result, samples = speak(synthesizer)

    assert (len(samples), result["pause_seconds"]) == (RATE, PAUSE_SECONDS)


def test_the_sampling_options_of_a_text_reach_the_model(services, synthesizer, singer):
    options = SamplingOptions(
        top_k=5, top_p=0.9, temperature=0.7, repetition_penalty=1.2, sample_steps=8, super_sampling=True
    )

    (utterance,) = split(services, "银行", sampling=options, extra_references=("prompts/a.wav",))
    speak(synthesizer, sampling=utterance.sampling)

    assert utterance.extra_references == ("prompts/a.wav",)
    (request,) = singer.asked
    assert request.sampling == SamplingOverrides(top_k=5, top_p=0.9, temperature=0.7, repetition_penalty=1.2)
    assert (request.steps, request.super_sampling) == (8, True)


def test_options_that_a_text_leaves_out_are_those_of_the_model(synthesizer, singer):
    speak(synthesizer)

    (request,) = singer.asked
    assert (request.sampling, request.steps, request.super_sampling) == (SamplingOverrides(), None, False)


def test_the_fragment_interval_is_the_pause_after_an_utterance(synthesizer):
    result, samples = speak(synthesizer, sampling=SamplingOptions(fragment_interval=1.25))

    assert (len(samples), result["pause_seconds"]) == (RATE, 1.25)


def test_a_text_is_cut_by_the_method_that_its_request_names(services):
    text = "First comes this, then comes that. In the end comes nothing at all."

    assert [utterance.text for utterance in split(services, text, text_split_method="cut5")] == [
        "First comes this,",
        "then comes that.",
        "In the end comes nothing at all.",
    ]
    assert [utterance.text for utterance in split(services, text, text_split_method="cut0")] == [text]
