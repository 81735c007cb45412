"""Data sets over HTTP: made of uploads, corrected, looked at, and every wrong request rejected with a sentence."""

from __future__ import annotations

import io
import stat
import zipfile
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, tone, upload

from core.jobs.queue import AsyncQueue
from core.records import DatasetContents, RecordingRecord, Records, SegmentRecord
from core.records.models.datasets import DatasetReport
from core.settings import Settings
from core.storage import Storage

URL = "/api/v1/datasets"
REPORT: DatasetReport = {
    "version": 1,
    "language": "en",
    "options": {},
    "listened": True,
    "flags": {"2": [{"code": "clipped", "message": "It is clipped."}]},
}


def contents(count: int = 3, transcript: str = "Hello.") -> DatasetContents:
    numbers = range(1, count + 1)
    key = "datasets/x/sounds/a.wav"
    return DatasetContents(
        [RecordingRecord(n, f"{n}.wav", None, f"r{n}", 2.0, 16_000, key) for n in numbers],
        [SegmentRecord(n, n, f"{n}.wav", 0.0, 2.0, key, f"s{n}", transcript, "en") for n in numbers],
    )


@pytest.fixture
async def dataset(records: Records) -> str:
    """Three segments, ready, with a report that finds the second one bad."""
    created = await records.datasets.create("ds-one", "one", "en", "import", {}, 5)
    await records.dataset_versions.finish(
        created.id, 1, contents(), [{"name": "x.pdf", "reason": "No recording."}], "Made."
    )
    await records.dataset_reports.begin(created.id, 1, {})
    await records.dataset_reports.end(created.id, 1, 1, REPORT, None, {1: {"heard": "Hello."}})
    return created.id


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as created:
        for name, content in members.items():
            created.writestr(name.replace("__", "."), content)
    return file.getvalue()


async def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["message"]
    return error


# Uploads of archives


async def test_a_zip_is_taken_as_one_file_and_says_what_is_in_it(client: httpx.AsyncClient) -> None:
    content = archive(a__wav=tone(1.0), a__list=b"a.wav|x|EN|Hello.", notes__pdf=b"%PDF")

    view = await upload(client, content, "set.zip")

    assert (view["purpose"], view["media_type"], view["duration_seconds"]) == ("dataset", "application/zip", None)
    assert view["archive"]["recordings"] == 1
    assert view["archive"]["lists"] == ["a.list"]
    assert [item["name"] for item in view["archive"]["skipped"]] == ["notes.pdf"]


def hostile(kind: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as created:
        entry = zipfile.ZipInfo("evil.wav", (2026, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        if kind == "bomb":
            created.writestr(entry, bytes(32 << 20))
        elif kind == "link":
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            created.writestr(entry, "/etc/passwd")
        elif kind == "path":
            entry.filename = "../../evil.wav"
            created.writestr(entry, tone(1.0))
    return file.getvalue()


async def test_a_hostile_archive_is_rejected_by_name_and_leaves_nothing(api: Api) -> None:
    for kind in ("bomb", "link", "path"):
        response = await api.client.post("/api/v1/files", files={"file": ("set.zip", hostile(kind))})
        error = await refusal(response, 400)
        assert error["code"] == "bad_archive"
        assert "evil.wav" in error["message"]

    assert [path for path in api.settings.storage_root.rglob("*") if path.is_file()] == []


# Making


async def test_a_data_set_is_made_by_a_job(client: httpx.AsyncClient, queue: AsyncQueue) -> None:
    file_id = (await upload(client))["id"]

    response = await client.post(URL, json={"name": "mine", "language": "en", "file_ids": [file_id]})

    view = response.json()
    assert response.status_code == 201
    assert (view["status"], view["version"], view["job_id"]) == ("preparing", 1, f"{view['id']}.1")
    job = await queue.job(view["job_id"])
    assert job is not None
    assert job.payload == {"work": "dataset", "dataset_id": view["id"], "version": 1}
    assert (await client.get(f"{URL}/{view['id']}")).json() == view
    in_use = await client.delete(f"/api/v1/files/{file_id}")
    assert view["id"] in (await refusal(in_use, 409))["message"]


WRONG_REQUESTS = [
    ({"name": "x"}, 400, "0 files"),
    ({"name": "x", "file_ids": ["file-none"]}, 404, "file-none"),
    ({"name": "", "file_ids": ["a"]}, 422, "name"),
    ({"name": "x", "file_ids": ["a"], "language": "xx"}, 422, "language"),
    ({"name": "x", "file_ids": ["a"], "colour": "red"}, 422, "colour"),
    ({"name": "x", "file_ids": ["a" * 100]}, 422, "file_ids"),
    ({"name": "x", "file_ids": ["a"], "priority": 11}, 422, "priority"),
    ([1], 422, ""),
]


async def test_a_wrong_request_is_named(client: httpx.AsyncClient) -> None:
    for body, status, word in WRONG_REQUESTS:
        error = await refusal(await client.post(URL, json=body), status)
        assert word in error["message"]

    assert (await client.get(URL)).json()["total"] == 0


async def test_a_file_named_twice_is_rejected(client: httpx.AsyncClient) -> None:
    file_id = (await upload(client))["id"]

    response = await client.post(URL, json={"name": "x", "files": [{"file_id": file_id}], "file_ids": [file_id]})

    assert "named twice" in (await refusal(response, 400))["message"]


# Reading


EVERYWHERE = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("GET", "/segments"),
    ("PATCH", "/segments"),
    ("GET", "/segments/1"),
    ("PATCH", "/segments/1"),
    ("GET", "/segments/1/audio"),
    ("GET", "/versions"),
    ("GET", "/versions/1"),
    ("GET", "/report"),
    ("POST", "/report"),
    ("POST", "/split"),
    ("POST", "/augment"),
    ("POST", "/crop"),
    ("GET", "/progress"),
]


async def test_an_unknown_data_set_is_404_everywhere(client: httpx.AsyncClient) -> None:
    for method, path in EVERYWHERE:
        body = {"/segments": {"segments": [{"number": 1}]}}.get(path, {}) if method != "GET" else None
        error = await refusal(await client.request(method, f"{URL}/ds-none{path}", json=body), 404)
        assert "ds-none" in error["message"]


async def test_data_sets_are_listed_newest_first_and_by_status(
    client: httpx.AsyncClient, dataset: str, records: Records
) -> None:
    await records.datasets.create("ds-two", "two", "auto", "import", {}, 5)

    page = (await client.get(URL)).json()
    ready = (await client.get(URL, params={"status": "ready"})).json()

    assert [item["id"] for item in page["items"]] == ["ds-two", dataset]
    assert [item["id"] for item in ready["items"]] == [dataset]
    assert (page["total"], ready["total"]) == (2, 1)


async def test_segments_are_paged_with_what_the_report_says(client: httpx.AsyncClient, dataset: str) -> None:
    page = (await client.get(f"{URL}/{dataset}/segments", params={"limit": 2, "offset": 1})).json()

    assert (page["total"], [item["number"] for item in page["items"]]) == (3, [2, 3])
    bad = page["items"][0]
    assert (bad["left_out"], bad["decided_by"], bad["flags"][0]["code"]) == (True, "report", "clipped")
    assert (bad["duration_seconds"], bad["transcript"], bad["subset"]) == (2.0, "Hello.", "train")
    first = (await client.get(f"{URL}/{dataset}/segments/1")).json()
    assert (first["left_out"], first["decided_by"], first["measures"]) == (False, None, {"heard": "Hello."})


async def test_the_report_names_bad_files_and_what_is_left_out(client: httpx.AsyncClient, dataset: str) -> None:
    view = (await client.get(f"{URL}/{dataset}/report")).json()

    assert [(item["name"], item["why"]) for item in view["files"]] == [("2.wav", "It is clipped.")]
    assert (view["left_out"], view["problems"], view["kept_segments"]) == (["2.wav"], {"clipped": 1}, 2)
    assert view["skipped"] == [{"name": "x.pdf", "reason": "No recording."}]
    assert view["made_at"].endswith("Z")
    assert view["message"] == "1 of 3 segments will be left out. Found: clipped 1. 1 file could not be taken."


async def test_a_report_that_is_not_there_is_409_and_says_how_to_get_it(
    client: httpx.AsyncClient, records: Records
) -> None:
    await records.datasets.create("ds-two", "two", "en", "import", {}, 5)
    await records.dataset_versions.finish("ds-two", 1, contents(), [], "Made.")

    none = await refusal(await client.get(f"{URL}/ds-two/report"), 409)
    requested = await client.post(f"{URL}/ds-two/report", json={"listen": False})
    making = await refusal(await client.get(f"{URL}/ds-two/report"), 409)

    assert "POST /api/v1/datasets/ds-two/report" in none["hint"]
    assert (requested.status_code, requested.json()["kind"], requested.json()["status"]) == (202, "report", "preparing")
    assert "is being made" in making["message"]


async def test_the_audio_of_a_segment_is_a_wav_in_ranges(
    client: httpx.AsyncClient, dataset: str, settings: Settings
) -> None:
    gone = await client.get(f"{URL}/{dataset}/segments/1/audio")
    Storage(settings.storage_root).put_bytes("datasets/x/sounds/a.wav", tone(1.0))

    whole = await client.get(f"{URL}/{dataset}/segments/1/audio")
    part = await client.get(f"{URL}/{dataset}/segments/1/audio", headers={"Range": "bytes=0-3"})

    assert gone.status_code == 404
    assert (whole.content, whole.headers["content-type"]) == (tone(1.0), "audio/wav")
    assert (part.status_code, part.content) == (206, b"RIFF")


# Changing


async def test_a_transcript_is_corrected_and_the_old_version_can_still_be_read(
    client: httpx.AsyncClient, dataset: str
) -> None:
    response = await client.patch(f"{URL}/{dataset}/segments/1", json={"transcript": "Goodbye."})

    assert response.json()["transcript"] == "Goodbye."
    assert (await client.get(f"{URL}/{dataset}")).json()["version"] == 2
    old = await client.get(f"{URL}/{dataset}/segments/1", params={"version": 1})
    assert old.json()["transcript"] == "Hello."
    versions = (await client.get(f"{URL}/{dataset}/versions")).json()
    assert [(item["version"], item["made_by"], item["parent"]) for item in versions["items"]] == [
        (2, "edit", 1),
        (1, "import", None),
    ]


async def test_segments_are_left_out_and_taken_back_together(client: httpx.AsyncClient, dataset: str) -> None:
    changes = [{"number": 1, "left_out": True}, {"number": 2, "left_out": False}]

    created = (await client.patch(f"{URL}/{dataset}/segments", json={"segments": changes, "base_version": 1})).json()
    view = (await client.get(f"{URL}/{dataset}/report")).json()

    assert (created["version"], created["made_by"]) == (2, "edit")
    assert view["left_out"] == ["1.wav"]
    assert {item["name"]: item["decided_by"] for item in view["files"]} == {"1.wav": "you", "2.wav": "you"}


WRONG_CHANGES = [
    ("/segments/9", {"left_out": True}, 404, "no segment 9"),
    ("/segments/0", {"left_out": True}, 422, "number"),
    ("/segments/1", {"left_out": "maybe"}, 422, "left_out"),
    ("/segments/1", {"left_out": True, "decide_by_report": True}, 422, "not both"),
    ("/segments/1", {"colour": "red"}, 422, "colour"),
    ("/segments/1", {"transcript": "x" * 3000}, 422, "transcript"),
    ("/segments/1", {"left_out": True, "base_version": 7}, 409, "Version 7 is not the newest"),
    ("/segments", {"segments": []}, 422, "segments"),
    ("/segments", {"segments": [{"number": 1}, {"number": 1}]}, 400, "changed twice"),
    ("", {"name": ""}, 422, "name"),
    ("", {"version": 3}, 422, "version"),
]


async def test_a_wrong_change_is_named_and_changes_nothing(client: httpx.AsyncClient, dataset: str) -> None:
    for path, body, status, word in WRONG_CHANGES:
        error = await refusal(await client.patch(f"{URL}/{dataset}{path}", json=body), status)
        assert word in error["message"]

    assert (await client.get(f"{URL}/{dataset}")).json()["version"] == 1


async def test_a_name_and_a_language_change_without_a_version(client: httpx.AsyncClient, dataset: str) -> None:
    view = (await client.patch(f"{URL}/{dataset}", json={"name": "other", "language": "zh"})).json()

    assert (view["name"], view["language"], view["version"]) == ("other", "zh", 1)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("split", {"val": 0.2, "seed": 3}),
        ("augment", {"kinds": ["noise"], "copies": 2}),
        ("crop", {"start_seconds": 1, "end_seconds": 2}),
    ],
)
async def test_a_job_makes_the_next_version(
    client: httpx.AsyncClient, dataset: str, kind: str, body: dict[str, Any]
) -> None:
    response = await client.post(f"{URL}/{dataset}/{kind}", json=body)

    view = response.json()
    assert (response.status_code, view["kind"], view["version"]) == (202, kind, 2)
    assert view["job_id"] == f"{dataset}.2"
    options = (await client.get(f"{URL}/{dataset}/versions/2")).json()["request"]["options"]
    assert {name: options[name] for name in body} == body
    again = await refusal(await client.post(f"{URL}/{dataset}/{kind}", json=body), 409)
    assert "Version 2" in again["message"]
    assert (await client.get(f"{URL}/{dataset}/segments")).json()["total"] == 3, "the old one can be read meanwhile"


WRONG_OPTIONS = [
    ("split", {"val": 0.7, "test": 0.4}, "something to train on"),
    ("split", {"val": 1}, "val"),
    ("augment", {"kinds": ["fire"]}, "kinds"),
    ("augment", {"copies": 0}, "copies"),
    ("augment", {"pitch_semitones": [3, -3]}, "pitch_semitones"),
    ("crop", {"start_seconds": 2, "end_seconds": 1}, "end_seconds"),
    ("crop", {"colour": "red"}, "colour"),
    ("report", {"speech_share": 2}, "speech_share"),
]


async def test_options_out_of_range_are_named(client: httpx.AsyncClient, dataset: str) -> None:
    for kind, body, word in WRONG_OPTIONS:
        error = await refusal(await client.post(f"{URL}/{dataset}/{kind}", json=body), 422)
        assert word in error["message"]


async def test_a_data_set_is_deleted_once_and_not_while_a_job_makes_a_version(
    client: httpx.AsyncClient, dataset: str
) -> None:
    work = (await client.post(f"{URL}/{dataset}/split")).json()

    busy = await client.delete(f"{URL}/{dataset}")
    await client.delete(f"/api/v1/jobs/{work['job_id']}")
    deleted = await client.delete(f"{URL}/{dataset}")
    again = await client.delete(f"{URL}/{dataset}")

    assert (busy.status_code, deleted.status_code, again.status_code) == (409, 204, 404)


# Watching


async def test_a_job_is_watched_to_its_end(api: Api, dataset: str) -> None:
    work = (await api.client.post(f"{URL}/{dataset}/split")).json()
    await api.client.delete(f"/api/v1/jobs/{work['job_id']}")

    kinds = []
    async with api.client.stream("GET", f"{URL}/{dataset}/progress", params={"job_id": work["job_id"]}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))

    assert kinds[-1] in ("cancelled", "failed")


async def test_a_report_that_is_done_ends_its_stream_at_once(api: Api, dataset: str) -> None:
    response = await api.client.get(f"{URL}/{dataset}/progress")

    [data] = [line for line in response.text.splitlines() if line.startswith("data: ")]
    assert "event: completed" in response.text
    assert orjson.loads(data.removeprefix("data: "))["kind"] == "report"


async def test_a_job_of_something_else_is_not_watched_here(client: httpx.AsyncClient, dataset: str) -> None:
    other = await client.get(f"{URL}/{dataset}/progress", params={"job_id": "task-1.convert.1"})
    unknown = await client.get(f"{URL}/{dataset}/progress", params={"job_id": f"{dataset}.77"})

    assert "no job of the data set" in (await refusal(other, 400))["message"]
    assert (await refusal(unknown, 404))["code"] == "not_found"
