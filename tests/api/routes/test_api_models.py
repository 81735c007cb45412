"""Models: every checkpoint, who speaks with it, and how it goes with its file."""

from __future__ import annotations

import httpx
import pytest
from api_support import Api, upload
from voice_support import make_model, make_whole_voice

from core.errors import StorageUnavailable
from core.records import NewCheckpointRecord, Records
from core.settings import Settings
from core.storage import Storage
from recovery.backup.release_ids import ReleaseRegistry

MODELS = "/api/v1/models"


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.storage_root)


async def test_models_are_listed_with_all_that_is_known_of_them(
    client: httpx.AsyncClient, records: Records, settings: Settings, storage: Storage
) -> None:
    voice = await make_whole_voice(records, storage, "Carol", b"sound")
    spare = await make_model(records, storage, "gpt", version="v2", salt="spare")

    every = (await client.get(MODELS)).json()
    gpts = (await client.get(MODELS, params={"type": "gpt", "limit": 1})).json()
    official = (await client.get(MODELS, params={"version": "v2"})).json()
    item = (await client.get(f"{MODELS}/{voice.gpt_checkpoint_id}")).json()

    assert (every["total"], gpts["total"], len(gpts["items"])) == (3, 2, 1)
    assert [model["id"] for model in official["items"]] == [spare.id]
    assert (item["type"], item["version"], item["epoch"], item["metrics"]) == ("gpt", "nano", 8, {"loss": 1.5})
    assert item["lineage"] == {"code": "abc"}
    (release,), _ = await ReleaseRegistry(settings).releases(records, storage)
    assert item["voices"] == [{"id": voice.id, "name": "Carol", "release_id": release.id}]
    assert len(item["sha256"]) == 64
    assert item["size_bytes"] == storage.size(f"checkpoints/{item['id']}.safetensors")
    assert [(await client.get(MODELS, params={"type": "cat"})).status_code] == [422]


async def test_a_model_is_promoted_and_the_promotion_taken_back(
    client: httpx.AsyncClient, records: Records, storage: Storage
) -> None:
    model = await make_model(records, storage, "gpt")
    path = f"{MODELS}/{model.id}/promote"

    promoted = await client.post(path)
    listed = (await client.get(MODELS, params={"promoted": True})).json()["total"]
    back = await client.post(path, json={"promoted": False})
    unknown_field = await client.post(path, json={"demoted": True})
    unknown = await client.post(f"{MODELS}/ckpt-none/promote")

    assert (promoted.json()["promoted"], listed, back.json()["promoted"]) == (True, 1, False)
    assert (unknown_field.status_code, unknown.status_code) == (422, 404)


async def test_a_model_that_a_voice_speaks_with_stays_and_another_goes_with_its_file(
    client: httpx.AsyncClient, records: Records, storage: Storage
) -> None:
    voice = await make_whole_voice(records, storage, "Carol", b"sound")
    spare = await make_model(records, storage, "gpt", salt="spare")

    used = await client.delete(f"{MODELS}/{voice.sovits_checkpoint_id}")
    gone = await client.delete(f"{MODELS}/{spare.id}")
    again = await client.delete(f"{MODELS}/{spare.id}")

    assert (used.status_code, gone.status_code, again.status_code) == (409, 200, 404)
    assert "Carol" in used.json()["error"]["message"]
    assert used.json()["error"]["details"]["voices"] == [{"id": voice.id, "name": "Carol"}]
    assert storage.exists(f"checkpoints/{voice.sovits_checkpoint_id}.safetensors")
    assert not storage.exists(spare.storage_key)


async def test_a_model_of_an_experiment_at_work_stays(
    client: httpx.AsyncClient, records: Records, storage: Storage
) -> None:
    recording = await upload(client)
    task = (await client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording["id"]})).json()
    model = await records.checkpoints.create(
        NewCheckpointRecord(
            id="ckpt-young", kind="gpt", version="v2", sha256="0" * 64, size_bytes=1, exp_id=task["exp_id"]
        )
    )

    early = await client.delete(f"{MODELS}/{model.id}")
    await client.delete(f"/api/v1/tasks/{task['id']}")
    later = await client.delete(f"{MODELS}/{model.id}")

    assert (early.status_code, later.status_code) == (409, 200)
    assert task["exp_id"] in early.json()["error"]["message"]


async def test_a_model_whose_deletion_was_interrupted_is_deleted_by_the_next_one(
    api: Api, records: Records, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = await make_model(records, storage, "gpt")
    path = f"{MODELS}/{model.id}"

    def crash(key: str) -> bool:
        storage.delete(key)
        raise StorageUnavailable("The power went out.")

    monkeypatch.setattr(api.services.storage, "delete", crash)
    crashed = await api.client.delete(path)
    monkeypatch.undo()
    left = await api.client.get(path)
    again = await api.client.delete(path)

    assert (crashed.status_code, storage.exists(model.storage_key)) == (503, False)
    assert (left.status_code, again.status_code) == (200, 200)
    assert (await api.client.get(path)).status_code == 404
