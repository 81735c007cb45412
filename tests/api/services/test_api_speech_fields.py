"""How a text is spoken, on every speech route: it reaches the utterances, and values out of range are named."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_support import Api, ToneWorkers, make_voice, running, tone, upload

from core.access import USER_SCOPES, Caller, act_as
from core.errors import NotFound
from core.jobs.queue import AsyncQueue
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.speech.requests import SpeechRequest
from core.speech.sampling import SamplingOptions

SAMPLING: dict[str, Any] = {
    "top_k": 7,
    "top_p": 0.9,
    "temperature": 0.8,
    "repetition_penalty": 1.1,
    "sample_steps": 8,
    "super_sampling": True,
    "fragment_interval": 0.5,
    "min_chunk_length": 20,
    "overlap_length": 3,
    "verify": "asr",
    "verify_speaker": True,
}
TEXT = "This is the first one, that is the second one."
LIVE: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"model": "tts-1", "voice": "Allison", "input": TEXT, "response_format": "wav"},
    "/synthesize": {"target": TEXT, "voice": "Allison"},
}
BACKGROUND: dict[str, dict[str, Any]] = {
    "/api/v1/inference": {"text": TEXT, "voice": "Allison"},
    "/api/v1/inference/batch": {"voice": "Allison", "items": [{"text": TEXT}]},
    "/api/v2/inference/start": {"cfg_path": "Allison", "weight_path": "", "source_path": TEXT},
    "/api/v2/inference/batch": {"cfg_path": "Allison", "weight_path": "", "source_paths": [TEXT]},
}


@pytest.mark.parametrize("path", LIVE)
async def test_live_speech_is_sampled_and_cut_as_the_request_says(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord, path: str
) -> None:
    more = {"text_split_method": "cut5", "extra_references": ["allison/default"], "seed": 5}

    response = await client.post(path, json=LIVE[path] | SAMPLING | more)
    plain = await client.post(path, json=LIVE[path])

    first, second, whole = tone_workers.requests
    assert (response.status_code, plain.status_code) == (200, 200)
    assert [first.text, second.text, whole.text] == ["This is the first one,", "that is the second one.", TEXT]
    assert first.sampling == SamplingOptions(**SAMPLING)
    assert (first.seed, first.extra_references) == (5, ("voices/x/prompt.wav",))
    assert (whole.sampling, whole.extra_references) == (SamplingOptions(), ())


@pytest.mark.parametrize("path", BACKGROUND)
async def test_jobs_and_batches_carry_the_settings(
    client: httpx.AsyncClient, voice: VoiceRecord, queue: AsyncQueue, path: str
) -> None:
    body = BACKGROUND[path]
    more = SAMPLING | {"text_split_method": "cut3", "extra_references": ["Allison"], "speed": 2, "sample_rate": 8000}
    body = {**body, "items": [body["items"][0] | more]} if "items" in body else body | more

    response = await client.post(path, json=body)

    assert response.status_code in (200, 202), response.text
    view = response.json()
    items = path == "/api/v1/inference/batch"
    started = view["data"] if path.startswith("/api/v2/") else view
    job_id = started["task_ids"][0] if "task_ids" in started else started.get("task_id") or started["id"]
    job = await queue.job(f"{job_id}.open" if items else f"{job_id}.split")
    assert job is not None
    stored: Any = job.payload
    payload = stored["items"][0]["speech"] if items else stored
    request = SpeechRequest.model_validate(payload)
    assert (request.speed, request.sample_rate) == (2.0, 8000)
    assert request.sampling == SamplingOptions(**SAMPLING)
    assert (request.text_split_method, request.extra_references) == ("cut3", ("voices/x/prompt.wav",))


@pytest.mark.parametrize("path", [*LIVE, "/api/v1/inference", "/api/v2/inference/start"])
async def test_a_value_out_of_range_is_rejected_and_named(
    client: httpx.AsyncClient, voice: VoiceRecord, tone_workers: ToneWorkers, path: str
) -> None:
    wrong: dict[str, Any] = {"top_k": 0, "top_p": 2, "temperature": 3, "repetition_penalty": 0, "sample_steps": 0}
    wrong |= {"fragment_interval": 11, "text_split_method": "cut9", "overlap_length": 0, "min_chunk_length": 500}
    wrong |= {"verify": "always"}
    for name, value in wrong.items():
        response = await client.post(path, json=(LIVE | BACKGROUND)[path] | {name: value})
        assert response.status_code in (400, 422)
        assert name in response.text


async def test_the_speaker_is_not_verified_where_nothing_is(
    client: httpx.AsyncClient, voice: VoiceRecord, tone_workers: ToneWorkers
) -> None:
    for path, body in (LIVE | BACKGROUND).items():
        response = await client.post(path, json=body | {"verify": "off", "verify_speaker": True})
        assert response.status_code in (400, 422), path
        assert "verify_speaker" in response.text


async def test_v3_takes_no_more_references(client: httpx.AsyncClient, records: Records, settings: Settings) -> None:
    voice = await make_voice(records, "Clara")
    await records.voices.update(voice.id, version="v3")

    response = await client.post(
        "/api/v1/inference", json={"text": TEXT, "voice": "Clara", "extra_references": ["Clara"]}
    )

    assert response.status_code == 400
    assert "v3 continues one reference recording" in response.json()["error"]["message"]


async def test_an_upload_is_a_reference_for_its_owner_alone(settings: Settings, records: Records) -> None:
    keyed = settings.model_copy(update={"valid_api_keys": ("k1", "k2")})
    async with running(keyed) as api:
        api.client.headers["X-API-Key"] = "k1"
        file = await upload(api.client, tone(4.0), "mine.wav")
        owner = (await api.services.keys.check("k1")).owner
        with act_as(Caller(owner, USER_SCOPES, "k1")):
            assert await api.services.references.find("mine.wav")
        with act_as(Caller("another", USER_SCOPES, "k2")):
            for path in ("mine.wav", file["id"], f"x/{file['id']}.wav"):
                with pytest.raises(NotFound):
                    await api.services.references.find(path)


async def test_a_text_of_punctuation_is_a_moment_of_silence(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    for text in (".", "…", "?!", " . "):
        response = await api.client.post("/v1/audio/speech", json=LIVE["/v1/audio/speech"] | {"input": text})
        assert response.status_code == 200
        assert len(response.content) == 44 + 24_000
        assert not any(response.content[44:])
    blank = await api.client.post("/v1/audio/speech", json=LIVE["/v1/audio/speech"] | {"input": "  "})
    assert blank.status_code == 400


KOREAN = "오늘은 날씨가 좋아요."
WARNING = 'language_not_spoken; text="ko"; voice="zh, en"'


@pytest.mark.parametrize(("path", "field"), [(path, "input" if "speech" in path else "target") for path in LIVE])
async def test_a_language_that_the_voice_does_not_speak_is_a_warning_or_rejected(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord, path: str, field: str
) -> None:
    warned = await client.post(path, json=LIVE[path] | {field: KOREAN})
    english = await client.post(path, json=LIVE[path])
    rejected = await client.post(path, json=LIVE[path] | {field: KOREAN, "strict_language": True})

    assert (warned.status_code, warned.headers["X-Warning"]) == (200, WARNING)
    assert (english.status_code, english.headers.get("X-Warning")) == (200, None)
    assert rejected.status_code == 400
    assert "language_not_spoken" in rejected.text
    assert [request.text for request in tone_workers.requests] == [KOREAN, TEXT]


async def test_a_job_in_a_language_that_the_voice_does_not_speak_is_accepted_with_a_warning(
    client: httpx.AsyncClient, voice: VoiceRecord
) -> None:
    new = {"text": KOREAN, "voice": "Allison"}

    warned = await client.post("/api/v1/inference", json=new)
    rejected = await client.post("/api/v1/inference", json=new | {"strict_language": True})

    assert (warned.status_code, warned.headers["X-Warning"]) == (202, WARNING)
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (400, "language_not_spoken")


async def test_a_voice_names_the_languages_that_it_speaks(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    assert (await client.get(f"/api/v1/voices/{voice.id}")).json()["languages"] == ["zh", "en"]
