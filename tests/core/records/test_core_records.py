"""Records of files, checkpoints, voices and keys keep what they are given and refuse what cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from manual_clock import ManualClock

from core.errors import Conflict, InvalidRequest, NotFound, VoiceNotFound
from core.records import (
    ConsentSource,
    NewCheckpointRecord,
    NewConsentRecord,
    NewFileRecord,
    NewVoiceRecord,
    Records,
    iso,
)
from core.records.database import Database

SHA = "0" * 64


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def records(database_url: str, clock: ManualClock) -> AsyncIterator[Records]:
    records = Records(database_url, clock=clock)
    yield records
    await records.close()


async def add_file(records: Records, file_id: str, **values):
    fields = {"filename": "voice.wav", "purpose": "training", "size_bytes": 44, "sha256": SHA, **values}
    return await records.files.create(NewFileRecord(id=file_id, **fields))


async def add_checkpoints(records: Records) -> tuple[str, str]:
    common: dict[str, Any] = {"version": "nano", "name": "bob", "sha256": SHA, "size_bytes": 8, "exp_id": "exp-1"}
    gpt = await records.checkpoints.create(
        NewCheckpointRecord(id="ckpt-g", kind="gpt", epoch=8, metrics={"final_loss": 0.5}, **common)
    )
    sovits = await records.checkpoints.create(NewCheckpointRecord(id="ckpt-s", kind="sovits", step=100, **common))
    return gpt.id, sovits.id


async def add_voice(records: Records, name: str, **values):
    fields = {
        "version": "nano",
        "language": "en",
        "gpt_checkpoint_id": "ckpt-g",
        "sovits_checkpoint_id": "ckpt-s",
        "prompts": [{"name": "default", "audio": "voices/v/prompt.wav", "text": "Hello.", "language": "en"}],
        **values,
    }
    return await records.voices.create(NewVoiceRecord(name=name, **fields))


async def all_rows(url: str, table: str) -> list[tuple]:
    database = Database(url)
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()
    await database.close()
    return [tuple(row) for row in rows]


async def test_a_file_is_found_as_it_was_made(records, clock):
    result = await add_file(records, "file-1", duration_seconds=3.5, sample_rate=16000, channels=1)

    file = await records.files.get("file-1")

    assert file == result
    assert file.storage_key == "files/file-1"
    assert file.uploaded_at == clock.now


async def test_a_file_larger_than_32_bits_keeps_its_size(records):
    await add_file(records, "file-1", size_bytes=5_000_000_000)

    assert (await records.files.get("file-1")).size_bytes == 5_000_000_000


async def test_an_unknown_file_is_not_found(records):
    with pytest.raises(NotFound, match="file-9"):
        await records.files.get("file-9")
    with pytest.raises(NotFound):
        await records.files.delete("file-9")


async def test_files_are_listed_newest_first_by_page_and_purpose(records):
    for number in range(5):
        await add_file(records, f"file-{number}", purpose="prompt" if number == 2 else "training")

    page = await records.files.page(limit=2, offset=1)
    prompts = await records.files.page(purpose="prompt")

    assert [item.id for item in page.items] == ["file-3", "file-2"]
    assert page.total == 5
    assert ([item.id for item in prompts.items], prompts.total) == (["file-2"], 1)


async def test_a_deleted_file_is_gone(records):
    await add_file(records, "file-1")

    deleted = await records.files.delete("file-1")

    assert deleted.id == "file-1"
    with pytest.raises(NotFound):
        await records.files.get("file-1")


async def test_a_checkpoint_made_twice_is_the_first_one(records):
    await add_checkpoints(records)

    again = await records.checkpoints.create(
        NewCheckpointRecord(id="ckpt-g", kind="gpt", version="v2", name="other", sha256=SHA, size_bytes=1)
    )

    assert (again.version, again.epoch, again.metrics) == ("nano", 8, {"final_loss": 0.5})
    assert again.storage_key == "checkpoints/ckpt-g.safetensors"


async def test_checkpoints_are_listed_by_kind_and_experiment(records):
    await add_checkpoints(records)

    assert [checkpoint.id for checkpoint in (await records.checkpoints.page(kind="gpt")).items] == ["ckpt-g"]
    assert (await records.checkpoints.page(exp_id="exp-1")).total == 2
    assert (await records.checkpoints.page(exp_id="exp-2")).total == 0


async def test_checkpoints_and_voices_are_listed_newest_first_whatever_their_ids(records, clock):
    ids = ("b", "c", "a")
    for name in ids:
        clock.now += 1
        for kind in ("gpt", "sovits"):
            await records.checkpoints.create(
                NewCheckpointRecord(id=f"{name}-{kind}", kind=kind, version="nano", sha256=SHA, size_bytes=1)
            )
        weights = {f"{kind}_checkpoint_id": f"{name}-{kind}" for kind in ("gpt", "sovits")}
        await records.voices.create(
            NewVoiceRecord(name=name, id=name, version="nano", language="en", prompts=[], **weights)
        )

    listed = [voice.id for voice in (await records.voices.page()).items]
    models = [checkpoint.id for checkpoint in (await records.checkpoints.page(kind="gpt")).items]

    assert listed == ["a", "c", "b"]
    assert models == ["a-gpt", "c-gpt", "b-gpt"]
    assert [voice.id for voice in (await records.voices.page(1, 1)).items] == ["c"]


async def test_a_promoted_checkpoint_says_so(records):
    await add_checkpoints(records)

    assert (await records.checkpoints.promote("ckpt-g")).promoted is True
    assert (await records.checkpoints.promote("ckpt-g", False)).promoted is False
    with pytest.raises(NotFound):
        await records.checkpoints.promote("ckpt-9")


async def test_a_voice_is_found_by_its_id_and_by_its_name(records):
    await add_checkpoints(records)
    voice = await add_voice(records, "bob")

    assert await records.voices.get("bob") == voice
    assert await records.voices.get(voice.id) == voice


async def test_a_taken_name_gets_a_number(records):
    await add_checkpoints(records)

    names = [(await add_voice(records, "bob")).name for _ in range(3)]

    assert names == ["bob", "bob-2", "bob-3"]


async def test_voices_that_want_one_name_at_once_all_get_one(records, database_url):
    await add_checkpoints(records)
    other = Records(database_url)

    voice = await asyncio.gather(*(add_voice((records, other)[number % 2], "bob") for number in range(2)))

    assert sorted(item.name for item in voice) == ["bob", "bob-2"]
    await other.close()


async def test_a_checkpoint_made_twice_at_once_is_one(records, database_url):
    other = Records(database_url)
    same = {"kind": "gpt", "version": "nano", "sha256": SHA, "size_bytes": 8}

    checkpoint = await asyncio.gather(
        *(record.checkpoints.create(NewCheckpointRecord(id="ckpt-1", **same)) for record in (records, other))
    )

    assert {item.id for item in checkpoint} == {"ckpt-1"}
    assert (await records.checkpoints.page()).total == 1
    await other.close()


async def test_a_consent_made_twice_at_once_is_one(records, database_url):
    other = Records(database_url)
    licence = NewConsentRecord(id="cons-1", speaker="Ann", statement="Published.", source=ConsentSource.LICENCE)

    consent = await asyncio.gather(*(record.consents.create(licence) for record in (records, other)))

    assert {item.id for item in consent} == {"cons-1"}
    await other.close()


async def test_a_value_that_fits_nowhere_is_the_askers_mistake(records):
    with pytest.raises(InvalidRequest, match="cannot be stored"):
        await records.files.page(offset=2**70)


async def test_the_same_voice_id_makes_one_voice(records):
    await add_checkpoints(records)
    first = await add_voice(records, "bob", id="voice-1")

    second = await add_voice(records, "bob", id="voice-1")

    assert second == first
    assert (await records.voices.page()).total == 1


async def test_an_unknown_voice_is_answered_with_those_there_are(records):
    await add_checkpoints(records)
    await add_voice(records, "bob")

    with pytest.raises(VoiceNotFound) as caught:
        await records.voices.get("alice")

    assert "bob" in caught.value.hint


@pytest.mark.parametrize("field", ["gpt_checkpoint_id", "sovits_checkpoint_id"])
async def test_a_voice_needs_a_checkpoint_of_each_kind(records, field):
    gpt, sovits = await add_checkpoints(records)
    wrong = sovits if field == "gpt_checkpoint_id" else gpt

    for checkpoint in (wrong, "ckpt-9"):
        with pytest.raises(NotFound, match=checkpoint):
            await add_voice(records, "bob", **{field: checkpoint})


async def test_a_voice_changes_its_name_but_not_to_a_taken_one(records):
    await add_checkpoints(records)
    bob = await add_voice(records, "bob")
    await add_voice(records, "alice")

    assert (await records.voices.update(bob.id, name="robert")).name == "robert"
    with pytest.raises(Conflict):
        await records.voices.update(bob.id, name="alice")
    assert (await records.voices.get(bob.id)).name == "robert"


async def test_a_checkpoint_that_a_voice_speaks_with_stays(records):
    await add_checkpoints(records)
    await add_voice(records, "bob")

    with pytest.raises(Conflict, match="speaks for bob"):
        await records.checkpoints.delete("ckpt-g")

    await records.voices.delete("bob")
    assert (await records.checkpoints.delete("ckpt-g")).id == "ckpt-g"
    with pytest.raises(NotFound):
        await records.checkpoints.get("ckpt-g")


async def test_a_key_is_found_but_never_kept(records, database_url):
    new_record, key = await records.api_keys.create("laptop", admin=True)

    record = await records.api_keys.find(key)

    assert record is not None
    assert (record.id, record.name, record.admin) == (new_record.id, "laptop", True)
    assert key.startswith(record.shown)
    await records.close()
    columns = [str(cell) for row in await all_rows(database_url, "api_keys") for cell in row]
    assert columns
    assert not any(key in cell for cell in columns)


async def test_a_revoked_key_opens_nothing(records):
    record, key = await records.api_keys.create("laptop")

    assert await records.api_keys.revoke(record.id) == 1
    assert await records.api_keys.revoke("laptop") == 0

    assert await records.api_keys.find(key) is None
    assert [item.revoked_at is not None for item in await records.api_keys.all()] == [True]


async def test_an_unknown_key_opens_nothing(records):
    await records.api_keys.create("laptop")

    assert await records.api_keys.find("sk-unknown") is None


async def test_the_last_use_of_a_key_is_noted_at_most_once_a_minute(records, clock):
    _, key = await records.api_keys.create("laptop")
    first_use = clock.now

    for seconds in (0, 30, 59):
        clock.now = first_use + seconds
        await records.api_keys.find(key)
    assert (await records.api_keys.all())[0].last_used_at == first_use

    clock.now = first_use + 60
    await records.api_keys.find(key)
    assert (await records.api_keys.all())[0].last_used_at == first_use + 60


def test_times_are_shown_in_iso_8601_utc():
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
    assert iso(None) is None
