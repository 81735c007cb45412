"""Texts become files without anyone waiting for them: one by one, and many as one archive."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import threading
import wave
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import soundfile
from api_support import RATE, Api, ToneWorkers, eventually, running
from bundled_speech import piece
from mark_table import DOCUMENTS, Delivery, documented, is_watermarked, measured

from common.audio_formats import AUDIO_FORMATS
from core.jobs.job import Lease, NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.roles import SYNTHESIZER
from core.marks.speech_marks import SpeechMarks
from core.media.decode import probe
from core.records import Records, VoiceRecord
from core.records.models.voices import VoicePrompt
from core.settings import Settings
from core.speech.requests import UtteranceRequest
from roles.files import Files
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker
from roles.splitter import Splitter

TEXT = "Hello there. How are you? Fine, thank you."


class SpeechWorkers(ToneWorkers):
    """Hums, tells of it, and cannot sing a text with `crash` in it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._threads = [threading.Thread(target=self._work, args=(SYNTHESIZER,))]
        self.failing = True

    def _synthesize(self, queue: Queue, lease: Lease) -> None:
        request = UtteranceRequest.model_validate(lease.job.payload)
        if "crash" in request.text and self.failing:
            queue.fail(lease, {"code": "test_failure", "message": "It cannot be sung.", "hint": ""}, permanent=True)
            return
        if request.announced:
            queue.progress(lease, {"index": request.index, "text": request.text}, "utterance")
        super()._synthesize(queue, lease)


@pytest.fixture
async def speech_workers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpeechWorkers]:
    monkeypatch.setattr("roles.runtime.worker.CLAIM_SECONDS", 0.1)
    async with working(settings) as workers:
        yield workers


@contextlib.asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[SpeechWorkers]:
    """Run real workers of the splitter and of files, and a synthesizer of tones."""
    services = WorkerServices(settings, settings.redis_url)
    workers = [Worker(role, services, f"{role.name}-{settings.redis_prefix}") for role in (Splitter(), Files())]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for worker in workers:
        worker.role.start(services)
    created = SpeechWorkers(settings)
    created.start()
    for thread in threads:
        thread.start()
    yield created
    for worker in workers:
        worker.drain()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.to_thread(created.stop)
    services.close()


async def ended(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return what a GET answers once the thing has ended."""

    async def look() -> dict[str, Any] | None:
        view: dict[str, Any] = (await client.get(path)).json()
        return None if view["status"] in ("queued", "running") else view

    match: dict[str, Any] = await eventually(look, 30)
    return match


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "event" in block
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


async def test_a_text_becomes_a_file_with_its_sentences(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, settings: Settings
) -> None:
    response = await api.client.post("/api/v1/inference", json={"text": TEXT, "voice": "Allison", "language": "en"})

    started = response.json()
    assert (response.status_code, started["status"], started["result"]) == (202, "queued", None)
    path = f"/api/v1/inference/{started['id']}"
    view = await ended(api.client, path)
    assert (view["status"], view["progress"], view["voice_id"]) == ("completed", 1.0, voice.id)
    assert view["utterances_done"] == view["utterances_total"] == len(view["result"]["utterances"]) > 1
    content = (await api.client.get(view["result"]["download_url"])).content
    result = view["result"]
    assert (result["size_bytes"], result["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    with wave.open(io.BytesIO(content)) as sound:
        assert sound.getframerate() == result["sample_rate"] == RATE
        assert sound.getnframes() / RATE == pytest.approx(result["seconds"])
    first, second = result["utterances"][:2]
    assert second["start"] == pytest.approx(first["seconds"] + 0.3)
    part = await api.client.get(result["download_url"], headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, content[4:10])
    async with running(settings.model_copy(update={"root_path": "/voice"})) as below:
        seen = (await below.client.get(path)).json()
    assert seen["result"]["download_url"] == f"/voice{result['download_url']}"


@pytest.mark.parametrize("format", ["wav", "pcm", "flac"])
async def test_the_rate_of_a_file_can_be_chosen(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, format: str
) -> None:
    body = {"text": TEXT, "voice": voice.id, "format": format, "sample_rate": 24_000}
    started = (await api.client.post("/api/v1/inference", json=body)).json()

    result = (await ended(api.client, f"/api/v1/inference/{started['id']}"))["result"]
    content = (await api.client.get(result["download_url"])).content

    assert result["sample_rate"] == 24_000
    if format == "pcm":
        assert len(content) / 2 / 24_000 == pytest.approx(result["seconds"], abs=0.001)
    else:
        samples, rate = soundfile.read(io.BytesIO(content))
        assert rate == 24_000
        assert len(samples) / rate == pytest.approx(result["seconds"], abs=0.001)


@pytest.mark.parametrize(("format", "codec"), [("mp3", "mp3float"), ("opus", "opus"), ("flac", "flac")])
async def test_every_format_can_be_read_again(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, format: str, codec: str, settings: Settings
) -> None:
    body = {"text": TEXT, "voice": voice.id, "format": format, "speed": 2, "seed": 7}
    started = (await api.client.post("/api/v1/inference", json=body)).json()

    view = await ended(api.client, f"/api/v1/inference/{started['id']}")

    response = await api.client.get(view["result"]["download_url"])
    path = settings.data_path / "heard"
    path.write_bytes(response.content)
    assert response.headers["content-type"] == view["result"]["media_type"]
    assert await asyncio.to_thread(lambda: probe(path).codec) in (codec, format)
    assert {(entry.speed, entry.seed) for entry in speech_workers.requests} == {(2.0, 7)}


async def test_watchers_receive_every_sentence_and_of_the_end(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord
) -> None:
    started = (await api.client.post("/api/v1/inference", json={"text": TEXT, "voice": "Allison"})).json()
    path = f"/api/v1/inference/{started['id']}/progress"

    live = events_of((await api.client.get(path)).text)
    again = events_of((await api.client.get(path)).text)
    late = await api.client.get(path, headers={"Last-Event-ID": "9999999999999-0"})

    count = live[-1][1]["utterances_total"]
    assert [kind for kind, _ in live] == ["progress"] * count + ["completed"]
    assert [data["utterances_done"] for _, data in live] == [*range(1, count + 1), count]
    assert live[-1][1]["result"]["download_url"].endswith("/audio")
    assert again == live
    assert [kind for kind, _ in events_of(late.text)] == ["completed"]


async def test_an_emotion_is_one_of_the_voices_prompts(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, records: Records
) -> None:
    angry: VoicePrompt = {"name": "angry", "audio": "voices/x/angry.wav", "text": "No!", "language": "en"}
    await records.voices.update(voice.id, prompts=[*voice.prompts, angry])
    url = "/api/v1/inference"

    started = await api.client.post(url, json={"text": "Hello.", "voice": "Allison", "prompt": "Angry"})
    unknown = await api.client.post(url, json={"text": "Hello.", "voice": "Allison", "emotion": "bored"})
    await ended(api.client, f"{url}/{started.json()['id']}")

    streamed = await api.client.post(
        "/v1/audio/speech", json={"input": "Hello.", "voice": "Allison", "emotion": "angry", "model": "nano"}
    )

    assert streamed.status_code == 200
    assert [entry.prompt_name for entry in speech_workers.requests] == ["Angry", "angry"]
    assert (unknown.status_code, unknown.json()["error"]["hint"]) == (404, "Its prompts: default, angry.")


async def test_a_sentence_that_fails_fails_the_whole_and_both_are_replayed_as_one(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, queue: AsyncQueue
) -> None:
    speech_workers.gate.clear()
    text = "This one goes well enough. But this one will crash. Nobody waits for this one any more."
    started = (await api.client.post("/api/v1/inference", json={"text": text, "voice": "Allison"})).json()
    path = f"/api/v1/inference/{started['id']}"
    letters = "/api/v1/dead-letters"

    view = await ended(api.client, path)
    dead = {entry["job_id"] for entry in (await api.client.get(letters)).json()["items"]}
    rejected = await api.client.get(f"{path}/audio")

    async def still() -> bool:
        return all(job.status.terminal for job in (await queue.jobs())[0])

    await eventually(still)
    speech_workers.failing = False
    speech_workers.gate.set()
    replayed = await api.client.post(f"{letters}/{started['id']}/replay")
    corrected = await ended(api.client, path)
    twice = await api.client.post(f"{letters}/{started['id']}/replay")

    assert (view["status"], view["error"]["code"], view["error_message"]) == (
        "failed",
        "test_failure",
        "It cannot be sung.",
    )
    assert view["error"]["details"]["part"] in dead
    assert started["id"] in dead
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (409, "conflict")
    assert (replayed.status_code, corrected["status"], twice.status_code) == (200, "completed", 409)
    assert (await api.client.get(letters)).json()["total"] == 0


async def test_a_cancelled_inference_stops_all_of_its_parts(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord, queue: AsyncQueue
) -> None:
    speech_workers.gate.clear()
    started = (await api.client.post("/api/v1/inference", json={"text": TEXT, "voice": "Allison"})).json()
    path = f"/api/v1/inference/{started['id']}"
    await eventually(lambda: len(speech_workers.requests) > 1)

    await api.client.delete(f"/api/v1/jobs/{started['id']}")
    stopped = (await api.client.get(path)).json()
    again = (await api.client.delete(path)).json()
    await eventually(lambda: speech_workers.cancelled)

    assert stopped["status"] == again["status"] == "cancelled"
    jobs, _ = await queue.jobs()
    assert {str(job.status) for job in jobs if job.id != speech_workers.cancelled[0]} == {"done", "cancelled"}
    reported = events_of((await api.client.get(f"{path}/progress")).text)
    assert reported[-1][0] == "cancelled"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown voice": ({"text": "Hello.", "voice": "Bob"}, 404, "voice_not_found"),
    "no voice": ({"text": "Hello."}, 422, "invalid_request"),
    "no text": ({"text": " ", "voice": "Allison"}, 400, "empty_text"),
    "an unknown field": ({"text": "Hello.", "voice": "Allison", "tempo": 2}, 422, "invalid_request"),
    "an unknown format": ({"text": "Hello.", "voice": "Allison", "format": "wma"}, 422, "invalid_request"),
    "an unknown language": ({"text": "Hello.", "voice": "Allison", "language": "xx"}, 400, "unsupported_language"),
    "too fast": ({"text": "Hello.", "voice": "Allison", "speed": 9}, 422, "invalid_request"),
    "too much text": ({"text": "a" * 100_001, "voice": "Allison"}, 400, "text_too_long"),
    "a seed below zero": ({"text": "Hello.", "voice": "Allison", "seed": -1}, 422, "invalid_request"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_spoken_is_rejected_at_once(
    client: httpx.AsyncClient, voice: VoiceRecord, case: str
) -> None:
    body, status, code = REFUSED[case]

    response = await client.post("/api/v1/inference", json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert (await client.get("/api/v1/jobs")).json()["total"] == 0


async def test_what_is_not_there_or_not_ready_says_so(
    client: httpx.AsyncClient, voice: VoiceRecord, queue: AsyncQueue
) -> None:
    await queue.enqueue(NewJob("splitter", {"text": "x"}, job_id="infer-other"))
    started = (await client.post("/api/v1/inference", json={"text": "Hello.", "voice": "Allison"})).json()
    batch = (
        await client.post("/api/v1/inference/batch", json={"items": [{"text": "Hello."}], "voice": "Allison"})
    ).json()
    base = "/api/v1/inference"

    unknown = [await client.get(f"{base}/infer-none{end}") for end in ("", "/audio", "/progress")] + [
        await client.get(f"{base}/batch/batch-none{end}") for end in ("", "/archive", "/progress")
    ]
    foreign = [await client.get(f"{base}/infer-other"), await client.get(f"{base}/batch/infer-other")]
    early = [await client.get(f"{base}/{started['id']}/audio"), await client.get(f"{base}/batch/{batch['id']}/archive")]
    gone = [await client.delete(f"{base}/infer-none"), await client.delete(f"{base}/batch/batch-none")]

    assert {response.status_code for response in unknown + foreign + gone} == {404}
    assert {response.status_code for response in early} == {409}
    assert "not ready" in early[0].json()["error"]["message"]


async def test_inferences_and_jobs_are_listed(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    ids = [
        (await client.post("/api/v1/inference", json={"text": text, "voice": "Allison", "priority": 3})).json()["id"]
        for text in ("One.", "Two.", "Three.")
    ]
    await client.delete(f"/api/v1/inference/{ids[0]}")

    page = (await client.get("/api/v1/inference", params={"limit": 2})).json()
    whole = (await client.get("/api/v1/jobs", params={"kind": "infer"})).json()
    waiting = (await client.get("/api/v1/jobs", params={"status": "waiting", "role": "splitter"})).json()
    unknown_field = await client.get("/api/v1/jobs", params={"status": "asleep"})

    assert (page["total"], [entry["id"] for entry in page["items"]]) == (3, [ids[2], ids[1]])
    assert (page["items"][0]["text"], page["items"][0]["priority"]) == ("Three.", 3)
    assert [entry["id"] for entry in whole["items"]] == ids[::-1]
    assert [entry["id"] for entry in waiting["items"]] == [f"{ids[2]}.split", f"{ids[1]}.split"]
    assert "payload" not in whole["items"][0]
    assert unknown_field.status_code == 422


async def test_a_batch_becomes_one_archive_that_names_what_failed(
    api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord
) -> None:
    items = [
        {"text": "Good morning.", "filename": "morning"},
        {"text": "This will crash."},
        {"text": "Good night.", "format": "mp3", "filename": "夜.mp3"},
    ]
    response = await api.client.post("/api/v1/inference/batch", json={"items": items, "voice": "Allison"})
    batch = response.json()
    path = f"/api/v1/inference/batch/{batch['id']}"

    live = events_of((await api.client.get(f"{path}/progress")).text)
    view = await ended(api.client, path)
    archive = await api.client.get(view["result"]["download_url"])

    assert response.status_code == 202
    assert [entry["filename"] for entry in batch["items"]] == ["morning.wav", "002.wav", "夜.mp3"]
    assert [entry["status"] for entry in view["items"]] == ["completed", "failed", "completed"]
    assert (view["status"], view["result"]["completed"], view["result"]["failed"]) == ("completed", 2, 1)
    assert [kind for kind, _ in live] == ["progress"] * 3 + ["completed"]
    assert live[2][1]["items_done"] == 3
    assert hashlib.sha256(archive.content).hexdigest() == view["result"]["sha256"]
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.namelist() == ["morning.wav", "夜.mp3", "manifest.json"]
        manifest = orjson.loads(opened.read("manifest.json"))
        spoken = opened.read("morning.wav")
    assert [entry["status"] for entry in manifest["items"]] == ["completed", "failed", "completed"]
    assert manifest["items"][1]["error"]["message"] == "It cannot be sung."
    item = await api.client.get(f"/api/v1/inference/{batch['items'][0]['id']}/audio")
    assert item.content == spoken


async def test_a_cancelled_batch_stops_its_items(api: Api, speech_workers: SpeechWorkers, voice: VoiceRecord) -> None:
    speech_workers.gate.clear()
    speech_workers.hold_first = True
    items = [{"text": f"Text number {number}."} for number in range(5)]
    batch = (await api.client.post("/api/v1/inference/batch", json={"items": items, "voice": "Allison"})).json()
    await eventually(lambda: speech_workers.requests)

    stopped = (await api.client.delete(f"/api/v1/inference/batch/{batch['id']}")).json()
    await eventually(lambda: speech_workers.cancelled)

    assert stopped["status"] == "cancelled"
    assert {entry["status"] for entry in stopped["items"]} == {"cancelled"}
    page = (await api.client.get("/api/v1/inference/batch")).json()
    assert (page["total"], page["items"][0]["status"]) == (1, "cancelled")
    assert (page["items"][0]["items_total"], "items" in page["items"][0]) == (5, False)


REFUSED_BATCHES: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({"items": []}, 422, "items"),
    "too many": ({"items": [{"text": "Hello."}] * 501, "voice": "Allison"}, 422, "items"),
    "no voice anywhere": ({"items": [{"text": "Hello."}]}, 422, "item 0 names no voice"),
    "one unknown voice": (
        {"items": [{"text": "Hello."}, {"text": "Hello.", "voice": "Bob"}], "voice": "Allison"},
        404,
        "Item 1: no voice named 'Bob'",
    ),
    "one empty text": ({"items": [{"text": "Hello."}, {"text": " "}], "voice": "Allison"}, 400, "Item 1: The text is"),
    "an unknown field": ({"items": [{"text": "Hello.", "tone": "low"}], "voice": "Allison"}, 422, "items.0.tone"),
    "a path for a name": ({"items": [{"text": "Hello.", "filename": "../x"}], "voice": "Allison"}, 422, "no name"),
    "nothing but an ending": ({"items": [{"text": "Hello.", "filename": ".wav"}], "voice": "Allison"}, 422, "no name"),
    "one name twice": (
        {"items": [{"text": "A.", "filename": "one"}, {"text": "B.", "filename": "ONE.wav"}], "voice": "Allison"},
        422,
        "same file name",
    ),
    "too much text": ({"items": [{"text": "a" * 60_000}] * 2, "voice": "Allison"}, 422, "120,000 characters"),
}


@pytest.mark.parametrize("case", REFUSED_BATCHES)
async def test_a_batch_with_one_bad_item_is_rejected_as_a_whole(
    client: httpx.AsyncClient, voice: VoiceRecord, case: str
) -> None:
    body, status, words = REFUSED_BATCHES[case]

    response = await client.post("/api/v1/inference/batch", json=body)

    assert response.status_code == status, response.text
    assert words in response.json()["error"]["message"]
    assert (await client.get("/api/v1/jobs")).json()["total"] == 0


async def test_the_files_of_a_batch_are_marked_as_the_documents_say(
    settings: Settings, voice: VoiceRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.runtime.worker.CLAIM_SECONDS", 0.1)
    marking = settings.model_copy(update={"mark_watermark": True, "mark_metadata": True})
    items = [{"text": "Good morning.", "format": audio_format} for audio_format in AUDIO_FORMATS]
    async with running(marking) as api, working(marking) as workers:
        workers.speech = lambda seconds: (piece(10.0, 6.0) * 32767).astype("<i2").tobytes()
        batch = (await api.client.post("/api/v1/inference/batch", json={"items": items, "voice": "Allison"})).json()
        view = await ended(api.client, f"/api/v1/inference/batch/{batch['id']}")
        archive = await api.client.get(view["result"]["download_url"])
        downloads = [await api.client.get(f"/api/v1/inference/{item['id']}/audio") for item in batch["items"]]

    marks = SpeechMarks(marking)
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        manifest = orjson.loads(opened.read("manifest.json"))["items"]
        for audio_format, entry, download in zip(AUDIO_FORMATS, manifest, downloads, strict=True):
            packed = Delivery(opened.read(entry["filename"]), audio_format, RATE, manifest=entry["aigc"])
            single = Delivery(download.content, audio_format, RATE, download.headers)
            assert single.content == packed.content
            assert is_watermarked(marks, single), audio_format
            for document in DOCUMENTS:
                rows = documented(document)
                assert measured(single) == rows["GET /api/v1/inference/{inference_id}/audio", audio_format]
                assert measured(packed) == rows["GET /api/v1/inference/batch/{batch_id}/archive", audio_format]
