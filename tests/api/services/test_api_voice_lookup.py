"""Which voice a name stands for, and that nobody speaks with what is not theirs."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest
from api_support import make_voice

from api.services.voice_lookup import OPENAI_VOICES, VoiceLookup
from core.access import USER_SCOPES, Caller, act_as
from core.errors import VoiceNotFound
from core.records import NewVoiceRecord, Records, VoiceRecord
from core.settings import Settings
from core.voices.prompt_catalog import bundled_voice_id

ALICE, BOB = (Caller(name, USER_SCOPES, name) for name in ("alice", "bob"))


async def bundled(records: Records, name: str, language: str) -> VoiceRecord:
    """Return a voice as the supervisor publishes it for a prompt of the catalog."""
    other = await make_voice(records, f"{name}-base")
    record = await records.voices.create(
        NewVoiceRecord(
            id=bundled_voice_id(name),
            name=name,
            version="nano",
            language=language,
            gpt_checkpoint_id=other.gpt_checkpoint_id,
            sovits_checkpoint_id=other.sovits_checkpoint_id,
            prompts=other.prompts,
        )
    )
    await records.voices.delete(other.id)
    return record


@pytest.fixture
def catalog(settings: Settings, tmp_path: Path) -> Settings:
    """Return settings with a catalog of an English, a Chinese and a Japanese prompt."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    entries = [
        {"name": name, "path": str(tmp_path / "a.wav"), "text": "x", "language": language}
        for name, language in (("emma", "en"), ("zhou", "zh"), ("jun", "ja"))
    ]
    return settings.model_copy(update={"prompts_config": json.dumps(entries)})


async def test_names_are_found_in_any_case_where_that_is_one_voices(settings: Settings, records: Records) -> None:
    voices = VoiceLookup(settings, records)
    for name in ("Anna", "Straße", "BEN", "Ben"):
        await make_voice(records, name)

    assert (await voices.find("ANNA")).name == "Anna"
    assert (await voices.find("STRASSE")).name == "Straße"
    assert (await voices.find("BEN")).name == "BEN"
    with pytest.raises(VoiceNotFound) as ambiguous:
        await voices.find("bEN")
    assert "'BEN', 'Ben'" in ambiguous.value.hint


@pytest.mark.parametrize(
    ("text", "language", "name"),
    [
        ("Hello.", "auto", "emma"),
        ("你好。", "auto", "zhou"),
        ("こんにちは、世界。", "auto", "jun"),
        ("42.", "zh", "zhou"),
        ("안녕하세요.", "auto", "emma"),
    ],
)
async def test_openais_names_speak_with_a_bundled_voice_that_fits_the_text(
    catalog: Settings, records: Records, text: str, language: str, name: str
) -> None:
    voices = VoiceLookup(catalog, records)
    for bundled_name, bundled_language in (("emma", "en"), ("zhou", "zh"), ("jun", "ja")):
        await bundled(records, bundled_name, bundled_language)
    await make_voice(records, "newest")

    for openai_name in sorted(OPENAI_VOICES):
        assert (await voices.find(openai_name, text, language)).name == name


async def test_a_request_without_a_voice_gets_the_newest_of_ones_own_else_a_bundled_one_for_its_text(
    catalog: Settings, records: Records
) -> None:
    voices = VoiceLookup(catalog, records)
    with pytest.raises(VoiceNotFound):
        await voices.newest("Hello.")
    await bundled(records, "zhou", "zh")
    only = (await voices.newest("Hello.")).name
    await bundled(records, "emma", "en")
    texts = (("Hello.", "auto"), ("你好。", "auto"), ("42.", "Chinese"), ("42.", "auto"))
    fitting = [(await voices.newest(text, language)).name for text, language in texts]
    await make_voice(records, "own")
    await bundled(records, "jun", "ja")

    assert only == "zhou"
    assert fitting == ["emma", "zhou", "zhou", "emma"]
    assert [(await voices.newest(text)).name for text in ("Hello.", "你好。", "こんにちは。")] == ["own", "own", "own"]


async def test_the_default_voice_and_aliases_come_before_bundled_ones_and_a_voices_own_name_before_all(
    catalog: Settings, records: Records
) -> None:
    await bundled(records, "emma", "en")
    for name in ("Anna", "Ben", "echo"):
        await make_voice(records, name)
    changes = {
        "default_voice": "Anna",
        "voice_aliases": {"nova": "Ben", "echo": "Ben", "butler": "Ben", "lost": "nobody"},
    }
    voices = VoiceLookup(catalog.model_copy(update=changes), records)

    names = {name: (await voices.find(name, "Hello.")).name for name in ("alloy", "nova", "echo", "Butler")}

    assert names == {"alloy": "Anna", "nova": "Ben", "echo": "echo", "Butler": "Ben"}
    assert (await voices.newest()).name == "Anna"
    with pytest.raises(VoiceNotFound):
        await voices.find("lost")


async def test_nobody_gets_a_private_voice_of_another_by_any_way(settings: Settings, records: Records) -> None:
    with act_as(ALICE):
        await make_voice(records, "Secret")
    changes = {"default_voice": "Secret", "voice_aliases": {"nova": "Secret"}}
    voices = VoiceLookup(settings.model_copy(update=changes), records)

    with act_as(BOB):
        for name in ("Secret", "secret", "alloy", "nova"):
            with pytest.raises(VoiceNotFound):
                await voices.find(name, "Hello.")
    with act_as(ALICE):
        assert (await voices.find("alloy", "Hello.")).name == "Secret"


async def test_without_any_voice_openais_names_are_not_found(settings: Settings, records: Records) -> None:
    with pytest.raises(VoiceNotFound, match="No voice is published yet"):
        await VoiceLookup(settings, records).find("alloy", "Hello.")
