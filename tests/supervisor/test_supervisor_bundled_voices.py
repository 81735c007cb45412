"""Voices that speak before any training: there once, not again after they were deleted, and moved to a new base."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.errors import VoiceNotFound
from core.records import Records, upgrade
from core.settings import Settings, read_settings
from core.storage import Storage
from supervisor import bundled_voices
from supervisor.bundled_voices import publish_bundled_voices


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    for kind in ("gpt", "sovits"):
        (folder / f"{kind}.safetensors").write_bytes(f"the {kind} of the base".encode())
    monkeypatch.setattr(bundled_voices, "BASE", folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "ann.wav").write_bytes(b"sound")
    entry = {"audio": "ann.wav", "text": "Good morning.", "language": "en"}
    (prompts / "prompts.json").write_text(json.dumps({"prompts": {"ann": entry}}))
    return read_settings(data_path=tmp_path / "data", prompts_config=prompts / "prompts.json")


@pytest.fixture
async def records(settings: Settings) -> AsyncIterator[Records]:
    settings.data_path.mkdir(parents=True, exist_ok=True)
    upgrade(settings.resolved_database_url)
    records = Records(settings.resolved_database_url)
    yield records
    await records.close()


async def test_a_bundled_prompt_is_a_voice_with_the_base(base: Path, settings: Settings, records: Records):
    storage = Storage(settings.storage_root)

    for _ in range(2):  # the second start changes nothing
        await publish_bundled_voices(settings, records, storage)

    page = await records.voices.page()
    voice = page.items[0]
    gpt = await records.checkpoints.get(voice.gpt_checkpoint_id)
    assert (page.total, voice.name, voice.version, voice.language) == (1, "ann", "nano", "en")
    assert voice.prompts[0]["text"] == "Good morning."
    assert storage.path(voice.prompts[0]["audio"]).read_bytes() == b"sound"
    assert storage.path(gpt.storage_key).read_bytes() == b"the gpt of the base"
    assert gpt.sha256 == hashlib.sha256(b"the gpt of the base").hexdigest()


async def test_a_bundled_voice_that_was_deleted_does_not_come_back(base: Path, settings: Settings, records: Records):
    storage = Storage(settings.storage_root)
    await publish_bundled_voices(settings, records, storage)
    await records.voices.delete("ann")

    await publish_bundled_voices(settings, records, storage)

    with pytest.raises(VoiceNotFound):
        await records.voices.get("ann")


async def test_a_new_base_takes_the_place_of_the_old_one(base: Path, settings: Settings, records: Records):
    storage = Storage(settings.storage_root)
    await publish_bundled_voices(settings, records, storage)
    before = await records.voices.get("ann")
    (base / "gpt.safetensors").write_bytes(b"a better one")

    await publish_bundled_voices(settings, records, storage)

    after = await records.voices.get("ann")
    assert (after.id, after.sovits_checkpoint_id) == (before.id, before.sovits_checkpoint_id)
    assert after.gpt_checkpoint_id != before.gpt_checkpoint_id


async def test_without_a_base_nothing_is_published(base: Path, settings: Settings, records: Records):
    (base / "gpt.safetensors").unlink()

    await publish_bundled_voices(settings, records, Storage(settings.storage_root))

    assert (await records.voices.page()).total == 0
