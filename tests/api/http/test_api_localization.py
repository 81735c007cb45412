"""Records and events in Chinese for clients that ask for it; what is stored stays English."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from api_support import Api, tone

from api.http.localization import localized_event
from api.http.request_context import RequestContext, current_context
from core.errors import BadAudio
from core.jobs.job import Event, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}


@pytest.fixture
def chinese() -> Iterator[None]:
    marker = current_context.set(RequestContext("req-1", "127.0.0.1", chinese=True))
    yield
    current_context.reset(marker)


@pytest.mark.usefixtures("chinese")
def test_progress_and_errors_of_events_are_translated_and_codes_stay() -> None:
    error = {
        "code": "no_speech",
        "message": "Nobody speaks in the sample of the voice.",
        "hint": "Send the files again.",
    }
    progress = localized_event(Event("1-0", "progress", {"stage": "asr", "message": "Transcribed 3 of 7 segments."}))
    failed = localized_event(Event("2-0", "failed", {"message": error["message"], "error": error}))

    assert progress.data == {"stage": "asr", "message": "已识别 3 / 7 个片段。"}
    assert failed.data == {
        "message": "音色的样本中没有人说话。",
        "error": {"code": "no_speech", "message": "音色的样本中没有人说话。", "hint": "请重新发送这些文件。"},
    }


@pytest.mark.usefixtures("chinese")
def test_an_error_as_one_sentence_is_translated_with_its_hint() -> None:
    data = {"error": "The recording lasts 0.4 s.", "error_code": "bad_audio", "hint": "Send the files again."}

    shown = localized_event(Event("1-0", "failed", data)).data

    assert shown == {"error": "录音长 0.4 秒。", "error_code": "bad_audio", "hint": "请重新发送这些文件。"}


@pytest.mark.usefixtures("chinese")
def test_lines_of_a_log_stay_as_they_were_written() -> None:
    line = Event("1-0", "log", {"level": "INFO", "message": "Started."})

    assert localized_event(line) == line


async def test_a_failed_job_and_its_events_are_chinese_for_who_asks_and_english_for_others(
    client: httpx.AsyncClient, queue: AsyncQueue
) -> None:
    job = "job-of-localization"
    await queue.enqueue(NewJob(role=FILES, payload={"kind": "none"}, job_id=job))
    lease = await queue.claim(FILES, "files-1", 5.0)
    assert lease is not None
    error = BadAudio("The recording is silent.", hint="Send the files again.")
    await queue.fail(lease, error.as_dict(), permanent=True)
    path = f"/api/v1/jobs/{job}"

    chinese = await client.get(path, headers=CHINESE)
    english = await client.get(path)
    events = await client.get(f"{path}/progress", headers=CHINESE)
    letters = (await client.get("/api/v1/dead-letters", headers=CHINESE)).json()["items"]

    assert chinese.json()["error"]["message"] == "录音是静音。"
    assert chinese.json()["error"]["hint"] == "请重新发送这些文件。"
    assert chinese.json()["error"]["code"] == english.json()["error"]["code"] == "bad_audio"
    assert chinese.headers["content-language"] == "zh"
    assert english.json()["error"]["message"] == "The recording is silent."
    assert "content-language" not in english.headers
    assert "Accept-Language" in chinese.headers["vary"]
    assert "Accept-Language" in english.headers["vary"]
    data = [json.loads(line[6:]) for line in events.text.splitlines() if line.startswith("data: ")]
    assert data[-1]["error"]["message"] == "录音是静音。"
    assert [letter["error"]["message"] for letter in letters if letter["job_id"] == job] == ["录音是静音。"]


async def test_every_response_that_depends_on_the_language_says_so(api: Api, queue: AsyncQueue) -> None:
    await queue.enqueue(NewJob(role=FILES, payload={"kind": "none"}, job_id="job-that-waits"))
    languages: dict[str, list[str | None]] = {}
    for path in ("/api/v1/nothing", "/api/v1/stages/asr/schema", "/api/v1/jobs/job-that-waits/progress"):
        for header in ({}, CHINESE):
            async with api.client.stream("GET", path, headers=header) as response:
                assert response.headers["vary"].count("Accept-Language") == 1, path
                languages.setdefault(path, []).append(response.headers.get("content-language"))

    assert set(map(tuple, languages.values())) == {(None, "zh")}


async def test_a_repeated_request_gets_the_response_in_the_language_of_the_first(client: httpx.AsyncClient) -> None:
    uploaded = (await client.post("/api/v1/files", files={"file": ("a.wav", tone(4.0))})).json()
    experiment = {"exp_name": "anna", "audio_file_id": uploaded["id"], "version": "nano"}
    exp_id = (await client.post("/api/v1/experiments", json=experiment)).json()["id"]
    path, parameters = f"/api/v1/experiments/{exp_id}/stages/convert", {"no_such_parameter": 1}
    key = {"Idempotency-Key": "in-chinese"}

    first = await client.post(path, json=parameters, headers={**key, **CHINESE})
    again = await client.post(path, json=parameters, headers=key)

    assert again.json() == first.json()
    assert again.json()["warnings"] == ["convert 没有参数 'no_such_parameter'，它不起作用。"]
    assert again.headers["content-language"] == "zh"
