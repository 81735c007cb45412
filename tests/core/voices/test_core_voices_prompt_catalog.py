"""The catalog of prompts that come with the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.voices.prompt_catalog import BadPromptCatalog, read_prompt_catalog

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
    prompts = read_prompt_catalog(write(folder, {"prompts": {"ann": ENTRY}}))

    assert list(prompts) == ["ann"]
    ann = prompts["ann"]
    assert (ann.name, ann.audio, ann.text) == ("ann", str(folder / "one.wav"), "Hello.")
    assert (ann.language, ann.speaker, ann.licence, ann.source) == ("en", "Ann", "CC0", "us")


def test_without_a_catalogue_there_are_no_prompts(folder):
    assert read_prompt_catalog(folder / "none.json") == {}


def test_what_is_told_beside_the_recording_may_be_left_out(folder):
    entry = {key: ENTRY[key] for key in ("audio", "text", "language")}

    assert read_prompt_catalog(write(folder, {"prompts": {"ann": entry}}))["ann"].licence == ""


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"prompts": []}', '{"prompts": null}'])
def test_a_file_that_is_no_catalogue_is_named(folder, content):
    with pytest.raises(BadPromptCatalog, match=r"prompts\.json is no prompt catalogue"):
        read_prompt_catalog(write(folder, content))


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
    with pytest.raises(BadPromptCatalog, match=f"'ann' .*{complaint}"):
        read_prompt_catalog(write(folder, {"prompts": {"ann": entry}}))
