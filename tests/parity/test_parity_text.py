"""The text front end against the reference's recorded outputs (`fixtures/text`, described in its README)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import Frontend, cut
from GPT_SoVITS.text.cut import prepare
from GPT_SoVITS.text.english import English
from GPT_SoVITS.text.english_unknown import predict
from GPT_SoVITS.text.mandarin import Mandarin
from GPT_SoVITS.text.symbols import symbols

FIXTURES = Path(__file__).parent / "fixtures" / "text"
LANGUAGES = {"clean": ("en", "zh"), "infer": ("en", "zh", "all_zh", "auto")}
OTHER_LANGUAGES = ("ja", "ko", "yue")

SPLIT_BY_FREQUENCY = "the reference splits unknown words by word frequencies that are not carried here"
DELIBERATE = {
    "pc115": "thirty-four is read as thirty and four, not guessed as one unknown word",
    "pc132": SPLIT_BY_FREQUENCY,
}
"""Cases whose phones differ, with the reason; strict, so that a case that comes to match must leave the list."""
OTHER_WORDS = {"pc120": "It is negative five outside"}
"""Cases whose text differs while the phones are equal: here the reference lost a blank."""


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines()]


def _covered(case: dict[str, Any]) -> bool:
    pieces = [piece["lang"] for piece in case.get("segments") or ()]
    return (
        case["ref_quirk"] is None
        and case["language"] in LANGUAGES[case["level"]]
        and not any(language in OTHER_LANGUAGES for language in pieces)
    )


def _parameters(level: str) -> list[Any]:
    cases = [case for case in _lines("cases.jsonl") if case["level"] == level and _covered(case)]
    return [
        pytest.param(case, id=case["id"], marks=pytest.mark.xfail(reason=DELIBERATE[case["id"]], strict=True))
        if case["id"] in DELIBERATE
        else pytest.param(case, id=case["id"])
        for case in cases
    ]


def _frontend(case: dict[str, Any]) -> Frontend:
    """A front end whose polyphone model answers what the reference's did."""
    answers = dict(case.get("g2pw") or ())
    return Frontend({"en": English(), "zh": Mandarin(answers.__getitem__)})


@pytest.mark.parametrize("case", _parameters("clean"))
def test_a_text_of_one_language_has_the_phones_of_the_reference(case):
    cleaned = _frontend(case).clean(case["text"], case["language"], case["version"])

    assert cleaned.norm_text == OTHER_WORDS.get(case["id"], case["norm_text"])
    assert cleaned.phones == case["phones"]
    assert cleaned.word2ph == case["word2ph"]


@pytest.mark.parametrize("case", _parameters("infer"))
def test_a_mixed_text_has_the_pieces_and_ids_of_the_reference(case):
    spoken = _frontend(case).process(case["text"], case["language"], case["version"])

    assert [(piece.language, piece.norm_text, piece.word2ph) for piece in spoken.pieces] == [
        (piece["lang"], piece["norm_text"], piece["word2ph"]) for piece in case["segments"]
    ]
    assert (spoken.ids, spoken.phones, spoken.norm_text) == (case["ids"], case["phones"], case["norm_text"])
    assert spoken.retried == case["retried"]


@pytest.mark.parametrize("case", _lines("en_oov.jsonl"), ids=lambda case: case["word"])
def test_a_word_in_no_dictionary_is_guessed_as_by_the_reference(case):
    assert list(predict(case["word"])) == case["phones"]


@pytest.mark.parametrize("case", _lines("cuts.jsonl"), ids=lambda case: case["id"])
def test_every_cut_method_cuts_as_the_reference(case):
    for method, expected in case["cut"].items():
        if isinstance(expected, str):
            assert cut(case["text"], method) == expected, method


@pytest.mark.parametrize("case", _lines("cuts.jsonl"), ids=lambda case: case["id"])
def test_a_text_is_prepared_for_synthesis_as_by_the_reference(case):
    for name, expected in case["pre_seg"].items():
        method, language = name.split("/")
        if isinstance(expected, list):
            assert prepare(case["text"], language, method) == expected, name


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_phones_have_the_ids_of_the_reference(version):
    assert list(symbols(version)) == json.loads((FIXTURES / f"symbols_{version}.json").read_text(encoding="utf-8"))


def test_lines_of_a_training_list_in_these_languages_have_the_phones_of_the_reference():
    frontend = Frontend()
    expected = [
        line.split("\t") for line in (FIXTURES / "name2text/expected-2-name2text-0.txt").read_text("utf-8").splitlines()
    ]
    texts = {"a001.wav": ("你好，世界！", "zh"), "a010.wav": ("Hi", "en"), "a011.wav": ("一点儿也不好。", "zh")}

    for name, phones, word2ph, norm_text in expected:
        if name in texts:
            cleaned = frontend.clean(*texts[name])
            assert (" ".join(cleaned.phones), str(cleaned.word2ph), cleaned.norm_text) == (phones, word2ph, norm_text)


def test_a_language_that_cannot_be_spoken_is_refused_where_the_reference_said_a_comma():
    with pytest.raises(ModelError) as refused:
        Frontend().clean("bonjour", "fr")

    assert refused.value.code == "unsupported_language"
