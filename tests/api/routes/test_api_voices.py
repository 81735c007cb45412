"""Voices are made of checkpoints and prompts, exported as one file, and brought in again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from api_support import tone, upload
from voice_support import make_model, make_whole_voice, weights

from core.jobs.queue import AsyncQueue
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.storage import Storage
from core.voices.archive import read_manifest, unpack_voice

VOICES = "/api/v1/voices"


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.storage_root)


@pytest.fixture
async def whole(records: Records, storage: Storage) -> VoiceRecord:
    """Return a voice named Carol, all of whose files are there."""
    return await make_whole_voice(records, storage, "Carol", tone(2.0))


async def body_of(client: httpx.AsyncClient, records: Records, storage: Storage, **changed: Any) -> dict[str, Any]:
    """Return what makes a voice named Dora."""
    gpt, sovits = await make_model(records, storage, "gpt"), await make_model(records, storage, "sovits")
    recording = await upload(client)
    body = {
        "name": "Dora",
        "gpt_checkpoint_id": gpt.id,
        "sovits_checkpoint_id": sovits.id,
        "prompts": [
            {"file_id": recording["id"], "text": "Hello.", "language": "en-US"},
            {"file_id": recording["id"], "text": "No!", "language": "en", "name": "angry"},
        ],
    }
    return {**body, **changed}


async def test_a_voice_is_made_of_two_checkpoints_and_prompts(
    client: httpx.AsyncClient, records: Records, storage: Storage
) -> None:
    response = await client.post(VOICES, json=await body_of(client, records, storage, pronunciations={"a": "=b"}))

    created = response.json()
    assert response.status_code == 201, response.text
    assert (created["name"], created["version"], created["language"]) == ("Dora", "nano", "en")
    assert [(item["name"], item["language"]) for item in created["prompts"]] == [("default", "en"), ("angry", "en")]
    sound = await client.get(f"{VOICES}/Dora/prompts/angry/audio")
    assert (sound.status_code, sound.headers["content-type"], sound.content[:4]) == (200, "audio/wav", b"RIFF")
    assert (await client.get(f"{VOICES}/Dora")).json() == created


async def test_what_cannot_be_a_voice_is_rejected_and_leaves_nothing(
    client: httpx.AsyncClient, records: Records, storage: Storage, whole: VoiceRecord
) -> None:
    good = await body_of(client, records, storage)
    gpt, sovits = good["gpt_checkpoint_id"], good["sovits_checkpoint_id"]
    other = await make_model(records, storage, "gpt", tokens=32)
    foreign = await make_model(records, storage, "gpt", version="v2", salt="v2")
    lost = await make_model(records, storage, "sovits", salt="lost")
    storage.delete(lost.storage_key)
    short = (await upload(client, tone(0.6)))["id"]
    prompt = good["prompts"][0]
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"name": "Carol"}, 409, "named 'Carol' already"),
        ({"name": " "}, 400, "visible character"),
        ({"name": "x" * 101}, 422, "name"),
        ({"name": "a/b"}, 400, "could not be requested by its path"),
        ({"name": ".."}, 400, "could not be requested by its path"),
        ({"prompts": [{**good["prompts"][0], "name": "very/sad"}]}, 400, "could not be requested by its path"),
        ({"gpt_checkpoint_id": "ckpt-none"}, 404, "ckpt-none"),
        ({"gpt_checkpoint_id": sovits}, 422, "a gpt was expected"),
        ({"sovits_checkpoint_id": gpt}, 422, "a sovits was expected"),
        ({"gpt_checkpoint_id": foreign.id}, 422, "one family is needed"),
        ({"gpt_checkpoint_id": other.id}, 422, "speaks 32 semantic tokens"),
        ({"sovits_checkpoint_id": lost.id}, 409, "are gone"),
        ({"prompts": []}, 422, "prompts"),
        ({"prompts": [prompt, prompt]}, 409, "two prompts named 'default'"),
        ({"prompts": [{**prompt, "file_id": "file-none"}]}, 404, "file-none"),
        ({"prompts": [{**prompt, "text": " "}]}, 400, "empty"),
        ({"prompts": [{**prompt, "language": "xx"}]}, 400, "cannot be spoken"),
        ({"prompts": [{**prompt, "file_id": short}]}, 400, "lasts 0.6 s"),
        ({"prompts": [{**prompt, "mood": "good"}]}, 422, "prompts.0.mood"),
        ({"emotions": []}, 422, "emotions"),
    ]

    for changed, status, words in cases:
        response = await client.post(VOICES, json={**good, **changed})
        assert (response.status_code, words in response.json()["error"]["message"]) == (status, True), response.text

    assert (await client.get(VOICES)).json()["total"] == 1
    assert not storage.folder("voices").joinpath("Dora").exists()
    assert [path.name for path in storage.folder("voices").iterdir()] == ["of-Carol"]


async def test_prompts_are_added_corrected_chosen_and_deleted(
    client: httpx.AsyncClient, whole: VoiceRecord, storage: Storage, records: Records
) -> None:
    path = f"{VOICES}/Carol"
    new = {"name": "sad", "file_id": (await upload(client))["id"], "text": "Oh no.", "language": "en"}

    added = await client.post(f"{path}/prompts", json=new)
    twice = await client.post(f"{path}/prompts", json={**new, "name": "SAD"})
    corrected = await client.patch(f"{path}/prompts/sad", json={"text": "Oh dear.", "name": "gloomy"})
    duplicate = await client.patch(f"{path}/prompts/gloomy", json={"name": "default"})
    first = await client.patch(path, json={"default_prompt": "gloomy"})
    unknown = [
        await client.patch(path, json={"default_prompt": "sad"}),
        await client.patch(f"{path}/prompts/sad", json={"text": "x"}),
        await client.get(f"{path}/prompts/sad/audio"),
        await client.delete(f"{path}/prompts/sad"),
        await client.post(f"{VOICES}/nobody/prompts", json=new),
    ]
    gone = await client.delete(f"{path}/prompts/DEFAULT")
    last = await client.delete(f"{path}/prompts/gloomy")

    assert (added.status_code, twice.status_code, duplicate.status_code) == (201, 409, 409)
    assert corrected.json()["prompts"][1] == {"name": "gloomy", "text": "Oh dear.", "language": "en"}
    assert [item["name"] for item in first.json()["prompts"]] == ["gloomy", "default"]
    assert [response.status_code for response in unknown] == [404] * 5
    assert (gone.status_code, last.status_code) == (204, 409)
    (left,) = (await records.voices.get("Carol")).prompts
    assert (left["name"], storage.exists(left["audio"])) == ("gloomy", True)


async def test_a_voice_can_speak_with_other_checkpoints(
    client: httpx.AsyncClient, whole: VoiceRecord, storage: Storage, records: Records
) -> None:
    better = await make_model(records, storage, "sovits", salt="epoch 12")
    other = await make_model(records, storage, "sovits", tokens=32)

    response = await client.patch(f"{VOICES}/Carol", json={"sovits_checkpoint_id": better.id, "language": "zh-CN"})
    rejected = await client.patch(f"{VOICES}/Carol", json={"sovits_checkpoint_id": other.id})

    assert (response.json()["sovits_checkpoint_id"], response.json()["language"]) == (better.id, "zh")
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (422, "invalid_parameter")
    (prompt,) = (await records.voices.get("Carol")).prompts
    assert "tokens" not in prompt, "they were read by the other checkpoint"


async def test_an_export_is_named_after_the_voice_in_any_script(client: httpx.AsyncClient, whole: VoiceRecord) -> None:
    await client.patch(f"{VOICES}/Carol", json={"name": "小明 (2)"})

    response = await client.get(f"{VOICES}/小明 (2)/export")

    assert response.headers["content-disposition"] == (
        "attachment; filename=\"__ (2).zip\"; filename*=UTF-8''%E5%B0%8F%E6%98%8E%20%282%29.zip"
    )


async def test_an_export_holds_every_file_byte_for_byte(
    client: httpx.AsyncClient, whole: VoiceRecord, settings: Settings
) -> None:
    response = await client.get(f"{VOICES}/Carol/export")
    again = await client.get(f"{VOICES}/{whole.id}/export")

    assert response.headers["content-disposition"] == f'attachment; filename="{whole.name}.zip"'
    assert again.content == response.content
    path = settings.data_path / "carol.zip"
    path.write_bytes(response.content)
    voice = read_manifest(path)
    unpack_voice(path, settings.data_path)
    assert (voice.name, voice.pronunciations, voice.gpt.metrics) == ("Carol", {"GIF": "JH IH1 F"}, {"loss": 1.5})
    assert (voice.prompts[0].text, voice.prompts[0].tokens) == ("Hello.", [1, 2, 3])
    assert (settings.data_path / "gpt.safetensors").read_bytes() == weights("gpt")
    assert (settings.data_path / "sovits.safetensors").read_bytes() == weights("sovits")
    assert (settings.data_path / "prompt-0.wav").read_bytes() == tone(2.0)


async def test_a_voice_whose_files_are_not_whole_is_not_exported(
    client: httpx.AsyncClient, whole: VoiceRecord, storage: Storage
) -> None:
    storage.put_bytes(f"checkpoints/{whole.gpt_checkpoint_id}.safetensors", b"other bytes")
    damaged = await client.get(f"{VOICES}/Carol/export")
    storage.delete(f"checkpoints/{whole.gpt_checkpoint_id}.safetensors")
    gone = await client.get(f"{VOICES}/Carol/export")
    unknown = await client.get(f"{VOICES}/nobody/export")

    assert (damaged.status_code, "damaged" in damaged.json()["error"]["message"]) == (409, True)
    assert (gone.status_code, "gone" in gone.json()["error"]["message"]) == (409, True)
    assert unknown.status_code == 404


async def test_an_import_becomes_a_job_that_finds_its_files(
    client: httpx.AsyncClient, whole: VoiceRecord, queue: AsyncQueue, storage: Storage
) -> None:
    archive = (await client.get(f"{VOICES}/Carol/export")).content
    parts = {"gpt": ("a.ckpt", b"one"), "sovits": ("b.pth", b"two"), "prompt": ("c.wav", b"three")}

    exported = await client.post(f"{VOICES}/import", files={"archive": ("c.zip", archive)}, data={"name": "Eve"})
    original = await client.post(
        f"{VOICES}/import", files=parts, data={"name": "bob", "transcript": "你好。", "language": "zh", "version": "v2"}
    )

    assert (exported.status_code, original.status_code) == (202, 202), exported.text + original.text
    assert exported.json()["payload"]["name"] == "Eve"
    job = await queue.job(original.json()["id"])
    assert job is not None
    assert (job.role, job.payload["text"], job.payload["version"]) == ("files", "你好。", "v2")
    assert storage.path(f"imports/{job.id}/sovits").read_bytes() == b"two"
    assert storage.path(f"imports/{exported.json()['id']}/archive").read_bytes() == archive


REFUSED: dict[str, tuple[dict[str, bytes], dict[str, str], int, str]] = {
    "nothing": ({"gpt": b"x"}, {"name": "bob", "text": "Hi."}, 422, "`sovits`"),
    "no text": ({"gpt": b"x", "sovits": b"x", "prompt": b"x"}, {"name": "bob"}, 400, "text of the prompt"),
    "no name": ({"gpt": b"x", "sovits": b"x", "prompt": b"x"}, {"text": "Hi."}, 400, "visible character"),
    "a taken name": ({"gpt": b"x", "sovits": b"x", "prompt": b"x"}, {"name": "Carol", "text": "Hi."}, 409, "'Carol'"),
    "an unknown field": ({"gpt": b"x"}, {"name": "bob", "mood": "good"}, 422, "'mood'"),
    "an unknown part": ({"weights": b"x"}, {"name": "bob"}, 400, "'weights'"),
    "an unknown version": (
        {"gpt": b"x", "sovits": b"x", "prompt": b"x"},
        {"name": "bob", "text": "Hi.", "version": "v9"},
        422,
        "'v9'",
    ),
    "an unknown language": (
        {"gpt": b"x", "sovits": b"x", "prompt": b"x"},
        {"name": "bob", "text": "Hi.", "language": "xx"},
        400,
        "cannot be spoken",
    ),
    "an empty file": ({"gpt": b"", "sovits": b"x", "prompt": b"x"}, {"name": "bob", "text": "Hi."}, 400, "empty"),
    "no archive": ({"archive": b"no zip"}, {}, 400, "table of contents"),
    "both": ({"archive": b"x", "gpt": b"x"}, {}, 422, "`gpt`"),
    "too large": ({"gpt": bytes((1 << 20) + 1), "sovits": b"x", "prompt": b"x"}, {"name": "bob"}, 413, "1 MiB"),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_upload_mb": 1})


@pytest.mark.parametrize("case", REFUSED)
async def test_an_import_that_cannot_be_is_rejected_at_once(
    client: httpx.AsyncClient, whole: VoiceRecord, storage: Storage, case: str
) -> None:
    parts, fields, status, words = REFUSED[case]
    files = {name: (f"{name}.bin", content) for name, content in parts.items()}

    response = await client.post(f"{VOICES}/import", files=files, data=fields)

    assert (response.status_code, words in response.json()["error"]["message"]) == (status, True), response.text
    assert (await client.get("/api/v1/jobs")).json()["total"] == 0
    assert not list(storage.folder("imports").iterdir())
    assert not any((storage.root / ".tmp").iterdir())


def rebuilt(archive: bytes, change: Callable[[dict[str, bytes]], None], **names: str) -> bytes:
    """Return the archive with other files; `names` gives some of them another name in the table of contents."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    change(files)
    created = io.BytesIO()
    with zipfile.ZipFile(created, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return created.getvalue()


def message(files: dict[str, bytes], **changed: Any) -> None:
    files["voice.json"] = orjson.dumps({**orjson.loads(files["voice.json"]), **changed})


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "a path that leaves": (lambda files: files.update({"../../evil": b"x"}), "points out of the archive"),
    "an absolute path": (lambda files: files.update({"/etc/evil": b"x"}), "points out of the archive"),
    "a bomb": (lambda files: files.update({"bomb": bytes(64 << 20)}), "times its size"),
    "more files": (lambda files: files.update({"more": b"x"}), "more besides"),
    "a missing file": (lambda files: files.pop("gpt.safetensors"), "no gpt.safetensors"),
    "no voice.json": (lambda files: files.pop("voice.json"), "has no voice.json"),
    "a voice.json that is none": (lambda files: files.update({"voice.json": b"[]"}), "does not fit"),
    "another format": (lambda files: message(files, format=2), "does not fit: format"),
    "a version that is none": (lambda files: message(files, version="v9"), "'v9'"),
    "no prompts": (lambda files: message(files, prompts=[]), "does not fit: prompts"),
    "a name of nothing": (lambda files: message(files, name=" "), "visible character"),
    "an unknown language": (lambda files: message(files, language="xx"), "cannot be spoken"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_archive_is_rejected_with_a_sentence(
    client: httpx.AsyncClient, whole: VoiceRecord, case: str
) -> None:
    change, words = HOSTILE[case]
    archive = rebuilt((await client.get(f"{VOICES}/Carol/export")).content, change)

    response = await client.post(f"{VOICES}/import", files={"archive": ("a.zip", archive)}, data={"name": "Eve"})

    assert (response.status_code, words in response.json()["error"]["message"]) == (400, True), response.text
