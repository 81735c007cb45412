"""Files: what is taken, what is rejected and why, what is left behind (nothing)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from api_support import Api, eventually, running, tone, upload

from api.http.multipart import safe_label
from core.settings import Settings


async def test_an_upload_answers_with_what_it_is(client: httpx.AsyncClient) -> None:
    sound = tone(2.0)

    view = await upload(client, sound, "take one.wav")

    assert view["filename"] == "take one.wav"
    assert view["purpose"] == "training"
    assert view["size_bytes"] == len(sound)
    assert view["sha256"] == hashlib.sha256(sound).hexdigest()
    assert view["duration_seconds"] == pytest.approx(2.0, abs=0.01)
    assert (view["sample_rate"], view["channels"]) == (16_000, 1)
    assert view["uploaded_at"].endswith("Z")


async def test_a_file_is_downloaded_whole_and_in_ranges(client: httpx.AsyncClient) -> None:
    sound = tone(1.0)
    view = await upload(client, sound)
    url = f"/api/v1/files/{view['id']}"

    whole = await client.get(url)
    part = await client.get(url, headers={"Range": "bytes=100-199"})
    beyond = await client.get(url, headers={"Range": "bytes=999999999-"})

    assert whole.content == sound
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes"
    assert (part.status_code, part.content) == (206, sound[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(sound)}"
    assert beyond.status_code == 416


async def test_files_are_listed_newest_first_described_and_deleted(client: httpx.AsyncClient) -> None:
    first, second = [await upload(client, name=name) for name in ("a.wav", "b.wav")]

    page = (await client.get("/api/v1/files", params={"limit": 1})).json()
    metadata = await client.get(f"/api/v1/files/{first['id']}/metadata")
    deleted = await client.delete(f"/api/v1/files/{first['id']}")
    gone = await client.get(f"/api/v1/files/{first['id']}")

    assert (page["items"], page["total"], page["limit"], page["offset"]) == ([second], 2, 1, 0)
    assert metadata.json() == first
    assert (deleted.status_code, deleted.json()["success"]) == (200, True)
    assert gone.status_code == 404
    assert gone.json()["error"]["code"] == "not_found"


async def test_a_file_that_a_task_uses_is_not_deleted(client: httpx.AsyncClient) -> None:
    view = await upload(client)
    await client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": view["id"]})

    rejected = await client.delete(f"/api/v1/files/{view['id']}")

    assert rejected.status_code == 409
    assert rejected.json()["error"]["code"] == "conflict"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\voice.wav", "voice.wav"),
        ("a\x00b\nc\u202e.wav", "abc.wav"),
        ("..", "upload"),
        ("", "upload"),
        ("声音.wav", "声音.wav"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_file_name_becomes_a_label(name: str, label: str) -> None:
    assert safe_label(name) == label


async def test_a_name_with_a_path_is_a_label_and_no_path(api: Api) -> None:
    view = await upload(api.client, name="../../../../tmp/evil.wav")

    stored = [path.name for path in (api.settings.storage_root / "files").iterdir()]

    assert view["filename"] == "evil.wav"
    assert stored == [view["id"]]


async def test_text_that_is_named_wav_is_rejected(api: Api) -> None:
    response = await api.client.post("/api/v1/files", files={"file": ("a.wav", b"this is no sound " * 100)})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_audio"
    assert left_behind(api) == []


async def test_a_recording_that_is_too_short_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/files", files={"file": ("a.wav", tone(0.2))})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "recording_too_short"
    assert "0.20 s" in response.json()["error"]["message"]


async def test_a_silent_recording_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/files", files={"file": ("a.wav", tone(2.0, amplitude=0.0))})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "silent_recording"


async def test_a_recording_that_breaks_off_is_rejected_with_the_second(client: httpx.AsyncClient) -> None:
    whole = tone(4.0)

    response = await client.post("/api/v1/files", files={"file": ("a.wav", whole[: len(whole) // 2])})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_audio"
    assert "breaks off after 2.0 s" in response.json()["error"]["message"]


async def test_a_truncated_mp3_is_rejected(client: httpx.AsyncClient, tmp_path: Path) -> None:
    whole = mp3(tmp_path / "whole.mp3", seconds=6.0)

    response = await client.post("/api/v1/files", files={"file": ("a.mp3", whole[: len(whole) // 2])})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_audio"
    assert "breaks off after" in response.json()["error"]["message"]


async def test_an_upload_above_the_cap_is_rejected_before_it_is_read(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    head = "POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    writer.write(f"{head}Content-Length: {600 << 20}\r\n\r\n".encode())

    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()

    assert status.startswith(b"HTTP/1.1 413")


async def test_an_upload_above_the_cap_without_a_length_is_rejected_while_it_comes(settings: Settings) -> None:
    bytes_sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal bytes_sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        while bytes_sent < 4 << 20:
            bytes_sent += 1 << 16
            yield bytes(1 << 16)

    async with running(settings.model_copy(update={"max_upload_mb": 1})) as api:
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        response = await api.client.post("/api/v1/files", content=endless(), headers=form)
        left = left_behind(api)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "file_too_large"
    assert left == []


async def test_a_client_that_vanishes_half_way_leaves_nothing_behind(api: Api) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    head = "POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    writer.write(f"{head}Content-Length: 2000000\r\n\r\n".encode())
    writer.write(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(1_500_000))
    await writer.drain()
    await eventually(lambda: left_behind(api))

    writer.close()

    await eventually(lambda: not left_behind(api))
    assert (await api.client.get("/api/v1/files")).json()["total"] == 0


def part(name: str, content: bytes, end: bytes = b"\r\n--b--\r\n") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode() + content + end


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"--b--\r\n", "no file"),
        (part("file", b"half", end=b""), "breaks off"),
        (part("file", b""), "empty"),
        (part("x", b"a"), "named 'x'"),
        (b"no boundary at all", "cannot be read"),
    ],
)
async def test_a_form_that_is_none_is_rejected(client: httpx.AsyncClient, body: bytes, message: str) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=b"}

    response = await client.post("/api/v1/files", content=body, headers=form)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert message in response.json()["error"]["message"]


async def test_a_body_that_is_no_form_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/files", content=tone(1.0), headers={"Content-Type": "audio/wav"})

    assert response.status_code == 400
    assert "no form" in response.json()["error"]["message"]


def mp3(path: Path, seconds: float) -> bytes:
    """As LAME writes it, with its length in the header."""
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=16_000, layout="mono")
        samples = np.frombuffer(tone(seconds)[44:], "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        for piece in av.AudioResampler("s16p", "mono", 16_000, frame_size=576).resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path.read_bytes()


def left_behind(api: Api) -> list[Path]:
    """Files under the storage that belong to no record."""
    root = api.settings.storage_root
    return [path for path in root.rglob("*") if path.is_file()] if root.exists() else []


async def test_a_complete_recording_with_a_wrong_length_is_accepted_with_a_warning(client: httpx.AsyncClient) -> None:
    sound = tone(1.0)
    streamed = sound[:4] + b"\xff" * 4 + sound[8:40] + b"\xff" * 4 + sound[44:]

    view = await upload(client, streamed)

    assert view["duration_seconds"] == 1.0
    assert "4,294,967,295 bytes" in view["warnings"][0]
    assert "warnings" not in await upload(client, sound)
