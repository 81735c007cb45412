"""The prompt catalogue, and a voice with the keys of its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFound, VoiceNotFound
from core.records import NewCheckpointRecord, NewVoiceRecord, Records, upgrade
from core.voices.prompts import BadPromptCatalogue, find_voice, read_prompts

ENTRY = {
    "audio": "one.wav",
    "text": "Hello.",
    "language": "en",
    "speaker": "Ann",
    "licence": "CC0",
    "source": "us",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "one.wav").write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    return folder


def write(folder: Path, content: Any) -> Path:
    catalogue = folder / "prompts.json"
    catalogue.write_text(content if isinstance(content, str) else json.dumps(content))
    return catalogue


def test_a_catalogue_gives_its_prompts_by_name(folder):
    prompts = read_prompts(write(folder, {"prompts": {"ann": ENTRY}}))

    assert list(prompts) == ["ann"]
    ann = prompts["ann"]
    assert (ann.name, ann.audio, ann.text) == ("ann", str(folder / "one.wav"), "Hello.")
    assert (ann.language, ann.speaker, ann.licence, ann.source) == ("en", "Ann", "CC0", "us")


def test_without_a_catalogue_there_are_no_prompts(folder):
    assert read_prompts(folder / "none.json") == {}


def test_what_is_told_beside_the_recording_may_be_left_out(folder):
    entry = {key: ENTRY[key] for key in ("audio", "text", "language")}

    assert read_prompts(write(folder, {"prompts": {"ann": entry}}))["ann"].licence == ""


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"prompts": []}', '{"prompts": null}'])
def test_a_file_that_is_no_catalogue_is_named(folder, content):
    with pytest.raises(BadPromptCatalogue, match=r"prompts\.json is no prompt catalogue"):
        read_prompts(write(folder, content))


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("one.wav", "is no object"),
        ({"audio": "one.wav"}, "has no text, language"),
        (ENTRY | {"text": 3}, "has no text"),
        (ENTRY | {"audio": "two.wav"}, "which is not there"),
        (ENTRY | {"audio": "../secret.wav"}, "lies outside"),
        (ENTRY | {"audio": "/etc/passwd"}, "lies outside"),
    ],
)
def test_a_wrong_entry_is_named(folder, entry, complaint):
    with pytest.raises(BadPromptCatalogue, match=f"'ann' .*{complaint}"):
        read_prompts(write(folder, {"prompts": {"ann": entry}}))


async def test_a_voice_knows_its_weights_and_prompts(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3"
    upgrade(url)
    records = Records(url)
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}", kind=kind, version="nano", name="bob", sha256="0" * 64, size_bytes=1)
        )
    prompt = {"audio": "voices/v/prompt.wav", "text": "Hello.", "language": "en"}
    await records.voices.create(
        NewVoiceRecord(
            name="bob",
            version="nano",
            language="en",
            gpt_checkpoint_id="ckpt-gpt",
            sovits_checkpoint_id="ckpt-sovits",
            prompts=[prompt | {"name": "default"}, prompt | {"name": "angry", "text": "No!"}],
        )
    )

    voice = await find_voice(records, "bob")

    assert voice.gpt == "checkpoints/ckpt-gpt.safetensors"
    assert voice.sovits == "checkpoints/ckpt-sovits.safetensors"
    assert voice.prompt().name == "default"
    assert voice.prompt("angry").text == "No!"
    with pytest.raises(NotFound) as caught:
        voice.prompt("sad")
    assert "default, angry" in caught.value.hint
    with pytest.raises(VoiceNotFound):
        await find_voice(records, "alice")
    await records.close()
