"""Voices: listed, found, renamed, deleted."""

from __future__ import annotations

import httpx
from api_support import Api, make_voice

from core.records import Records, VoiceRecord


async def test_voices_are_listed_found_by_id_and_by_exact_name(
    client: httpx.AsyncClient, voice: VoiceRecord, records: Records
) -> None:
    await make_voice(records, "Bob")

    names = [item["name"] for item in (await client.get("/api/v1/voices")).json()["items"]]
    by_id = (await client.get(f"/api/v1/voices/{voice.id}")).json()
    by_name = (await client.get("/api/v1/voices/Allison")).json()
    unknown = await client.get("/api/v1/voices/allison")

    assert names == ["Bob", "Allison"]
    assert by_id == by_name
    assert by_id["prompts"] == [{"name": "default", "text": "Hello.", "language": "en"}]
    assert unknown.status_code == 404
    assert "Allison" in unknown.json()["error"]["hint"]


async def test_a_voice_keeps_a_dictionary_of_pronunciations(api: Api, voice: VoiceRecord) -> None:
    path = "/api/v1/voices/Allison"

    taught = await api.client.patch(path, json={"pronunciations": {"GIF": "JH IH1 F"}})
    renamed = await api.client.patch(path, json={"name": "Alice"})
    nothing = await api.client.patch("/api/v1/voices/Alice", json={})
    endless = await api.client.patch("/api/v1/voices/Alice", json={"pronunciations": {"a" * 101: "=b"}})

    assert taught.json()["pronunciations"] == renamed.json()["pronunciations"] == {"GIF": "JH IH1 F"}
    assert (nothing.status_code, endless.status_code) == (400, 400)


async def test_a_voice_is_renamed_and_deleted_with_its_folder(api: Api, voice: VoiceRecord, records: Records) -> None:
    await make_voice(records, "Bob")
    api.services.storage.put_bytes(f"voices/{voice.id}/prompt.wav", b"sound")

    renamed = await api.client.patch("/api/v1/voices/Allison", json={"name": "Alice"})
    duplicate = await api.client.patch("/api/v1/voices/Alice", json={"name": "Bob"})
    unknown_field = await api.client.patch("/api/v1/voices/Alice", json={"nickname": "Al"})
    deleted = await api.client.delete("/api/v1/voices/Alice")
    again = await api.client.delete("/api/v1/voices/Alice")

    assert (renamed.json()["id"], renamed.json()["name"]) == (voice.id, "Alice")
    assert (duplicate.status_code, unknown_field.status_code) == (409, 422)
    assert (deleted.status_code, again.status_code) == (204, 404)
    assert not api.services.storage.exists(f"voices/{voice.id}/prompt.wav")
