"""Voices that speak before any training: there once, not again after they were deleted, and moved to a new base."""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from common.repository import BUNDLED_PROMPTS
from core.errors import VoiceNotFound
from core.records import Records, upgrade
from core.settings import Settings, read_settings
from core.storage import Storage
from GPT_SoVITS.audio import write_wav
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


def listed(settings: Settings, folder: Path, *names: str) -> Settings:
    """Return settings with a list of prompts as the operator writes it."""
    entries = [{"name": name, "path": str(folder / f"{name}.wav"), "text": f"Here is {name}."} for name in names]
    return settings.model_copy(update={"prompts_config": json.dumps(entries)})


async def test_prompts_of_a_list_become_voices_whenever_they_are_added(
    base: Path, settings: Settings, records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    storage = Storage(settings.storage_root)
    await publish_bundled_voices(settings, records, storage)
    for name in ("bob", "cleo"):
        write_wav(tmp_path / f"{name}.wav", 0.3 * np.sin(np.arange(48_000) / 20).astype(np.float32), 16_000)
    (tmp_path / "dora.wav").write_bytes(b"no audio at all")

    await publish_bundled_voices(listed(settings, tmp_path, "bob"), records, storage)
    await records.voices.delete("bob")
    await publish_bundled_voices(listed(settings, tmp_path, "bob", "cleo", "dora", "eve"), records, storage)

    names = {voice.name for voice in (await records.voices.page()).items}
    cleo = await records.voices.get("cleo")
    assert names == {"ann", "cleo"}  # bob was deleted, and does not come back
    assert (cleo.language, cleo.prompt["text"]) == ("en", "Here is cleo.")
    with wave.open(str(storage.path(cleo.prompt["audio"]))) as file:
        assert file.getnframes() == 48_000
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("'dora'" in warning and "cannot be used" in warning for warning in warnings)
    assert any("'eve'" in warning and "is not there" in warning for warning in warnings)


async def test_an_installation_of_before_keeps_its_deleted_voice_deleted_and_gets_the_new_ones(
    base: Path, settings: Settings, records: Records
):
    storage = Storage(settings.storage_root)
    storage.put_bytes(bundled_voices.PUBLISHED_KEY, b"ckpt-nano-base-gpt-x\nckpt-nano-base-sovits-x")

    await publish_bundled_voices(shipped(settings), records, storage)

    assert [voice.name for voice in (await records.voices.page()).items] == ["xiaoyi", "yunjian"]


async def test_the_voices_that_are_shipped_are_listed_in_order_each_with_its_language_and_licence(
    base: Path, settings: Settings, records: Records
):
    await publish_bundled_voices(shipped(settings), records, Storage(settings.storage_root))

    voices = (await records.voices.page()).items
    consents = [await records.consents.get(voice.consent_id or "") for voice in voices]
    assert [(voice.name, voice.language) for voice in voices] == [
        ("allison", "en"),
        ("xiaoyi", "zh"),
        ("yunjian", "zh"),
    ]
    assert [voice.prompts[0]["language"] for voice in voices] == ["en", "zh", "zh"]
    assert [consent.statement.split("licence ")[1].split()[0] for consent in consents] == [
        "CC-BY-SA-3.0",
        "Apache-2.0",
        "Apache-2.0",
    ]


def shipped(settings: Settings) -> Settings:
    """Return settings with the catalog that comes with the server."""
    return settings.model_copy(update={"prompts_config": BUNDLED_PROMPTS})
