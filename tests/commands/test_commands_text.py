"""`main.py text`: how a text is read, shown."""

from __future__ import annotations

import json

import pytest

import main


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_PATH", str(tmp_path))


def test_languages_words_phones_and_ids_are_shown_as_a_table(capsys):
    code = main.main(["text", "我有3个苹果{500ms}now, да"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].split() == ["zh", "我有3个苹果"]
    assert lines[1].split() == ["says", "我有三个苹果"]
    assert lines[2].split()[:3] == ["phones", "w", "o2"]
    assert lines[4].split() == ["pause", "0.5", "s"]
    assert lines[-1].split() == ["skipped", "'да'", "at", "5"]


def test_the_same_as_json_for_programs(capsys):
    main.main(["text", "my GIF", "--language", "en", "--version", "v1", "--json", "--pronunciation", "GIF=JH IH1 F"])

    shown = json.loads(capsys.readouterr().out)
    assert (shown["language"], shown["version"]) == ("en", "v1")
    passage = shown["heard"][0]
    assert passage["phones"][-3:] == ["JH", "IH1", "F"]
    assert passage["ids"] == [phoneme_id for piece in passage["pieces"] for phoneme_id in piece["ids"]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{字|zz4}"], "'zz4' is no syllable"),
        (["<speak><emphasis/></speak>"], "<emphasis> is not known"),
        (["."], "nothing to say"),
        (["{1s}"], "nothing to say"),
        (["a", "--language", "fr"], "cannot be spoken"),
        (["a", "--pronunciation", "a"], "Write WORD=READING"),
    ],
)
def test_a_refusal_is_one_line_and_an_exit_code(capsys, arguments, complaint):
    code = main.main(["text", *arguments])

    assert code == 1
    assert complaint in capsys.readouterr().err
