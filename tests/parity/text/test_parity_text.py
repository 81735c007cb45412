"""The text front end against the reference's recorded outputs (`fixtures/text`, described in its README)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from parity_fixtures import BUNDLED, ROOT, companion, find, fixtures
from reference_languages import ReferenceEnglish, ReferenceJapanese, ReferenceKorean, phonemize_training_lines
from single_language import phonemize_segment

from GPT_SoVITS.dataset.folder import NameToText, read_annotations, write_name2text
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import TextFrontend, cut
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.english.oov import predict
from GPT_SoVITS.text.languages import LanguageFrontend, spoken_languages
from GPT_SoVITS.text.mandarin.frontend import Mandarin
from GPT_SoVITS.text.mandarin.pinyin import pinyin_in_context
from GPT_SoVITS.text.splitting.cut_methods import prepare
from GPT_SoVITS.text.symbols import phoneme_ids, symbols

TABLES = (
    *("en_tables", "g2pw_char_rules", "jyutping_split", "ko_compound_vowels", "ko_letter_names"),
    *("pinyin_to_symbols", "zh_pronunciation_overrides", "zh_tables"),
)


def _lines(kind: str, name: str, **fields: Any) -> list[Any]:
    """Return the lines of every file of a kind that have these `fields`, as parameters of a test."""
    parameters = []
    for path in find(kind, suffix=".jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            if all(case.get(field) == value for field, value in fields.items()):
                parameters.append(pytest.param(case, id=f"{path.stem}:{case[name]}"))
    return parameters or [pytest.param(None, marks=pytest.mark.skip(reason=f"no {kind}.jsonl with {fields}"))]


def _known_faults() -> list[Any]:
    cases = [case for case in _lines("cases", "id") if not case.marks]
    return [case for case in cases if case.values[0]["ref_quirk"]] or [
        pytest.param(None, marks=pytest.mark.skip(reason="no case with a known fault"))
    ]


def _frontend(case: dict[str, Any]) -> TextFrontend:
    """Return a front end with upstream's polyphones and unknown English words, and no better numbers."""
    own: dict[str, LanguageFrontend] = {"en": ReferenceEnglish(), "ja": ReferenceJapanese(), "ko": ReferenceKorean()}
    return TextFrontend({**own, "zh": _mandarin(case)})


def _mandarin(case: dict[str, Any]) -> Mandarin:
    """With the answers of the reference's polyphone model."""
    return Mandarin(dict(case.get("g2pw") or ()).__getitem__)


def _words(language: str, text: str) -> str:
    """English without its blanks, of which the reference loses some; they have no phones."""
    return text.replace(" ", "") if language == "en" else text


@pytest.mark.parametrize("case", _lines("cases", "id", level="clean", ref_quirk=None))
def test_a_text_of_one_language_has_the_phones_of_the_reference(case):
    cleaned = phonemize_segment(case["text"], case["language"], case["version"], _frontend(case))

    assert cleaned.phonemes == case["phones"]
    assert phoneme_ids(cleaned.phonemes, case["version"]) == case["ids"]
    assert cleaned.word2ph == case["word2ph"]
    assert _words(case["language"], cleaned.norm_text) == _words(case["language"], case["norm_text"])


@pytest.mark.skipif(ROOT != BUNDLED, reason="the differences are known of the bundled cases alone")
def test_without_compat_only_guesses_of_unknown_words_differ():
    cases = [case.values[0] for case in _lines("cases", "id", level="clean", ref_quirk=None)]

    differ = {
        case["id"]
        for case in cases
        if phonemize_segment(
            case["text"], case["language"], case["version"], TextFrontend({"zh": _mandarin(case)})
        ).phonemes
        != case["phones"]
    }

    assert differ == {"pc115", "pc132"}  # thirty-four as one word, and a row of the keyboard


@pytest.mark.parametrize("case", _lines("cases", "id", level="infer", ref_quirk=None))
def test_a_mixed_text_has_the_pieces_and_ids_of_the_reference(case):
    phonemized = _frontend(case).phonemize(case["text"], case["language"], case["version"])

    assert [
        (
            piece.language,
            phoneme_ids(piece.phonemes, case["version"]),
            piece.word2ph,
            _words(piece.language, piece.norm_text),
        )
        for piece in phonemized.segments
    ] == [
        (piece["lang"], piece["ids"], piece["word2ph"], _words(piece["lang"], piece["norm_text"]))
        for piece in case["segments"]
    ]
    assert (phonemized.ids, phonemized.phonemes, phonemized.retried) == (case["ids"], case["phones"], case["retried"])
    assert [column[1] if column else -1 for column in phonemized.feature_columns] == case["bert_token"]


@pytest.mark.parametrize("case", _known_faults())
def test_a_text_that_the_reference_misreads_is_read_or_refused_by_name(case):
    phonemized, refusal = _answer(case)

    assert refusal in (None, "unreadable_text", "unsupported_language")
    assert (refusal == "unsupported_language") == (
        case["level"] == "clean" and case["language"] not in spoken_languages(case["version"])
    )
    if phonemized is not None and phonemized.word2ph is not None:
        assert (len(phonemized.word2ph), sum(phonemized.word2ph)) == (
            len(phonemized.norm_text),
            len(phonemized.phonemes),
        )


def _answer(case: dict[str, Any]) -> tuple[Any, str | None]:
    """Return what is read, and the code of the refusal if there was one."""
    read = phonemize_segment if case["level"] == "clean" else TextFrontend().phonemize
    try:
        return read(case["text"], case["language"], case["version"]), None
    except ModelError as refused:
        return None, refused.code


@pytest.mark.parametrize("case", _lines("en_oov", "word"))
def test_a_word_in_no_dictionary_is_guessed_as_by_the_reference(case):
    assert list(predict(case["word"])) == case["phones"]


@pytest.mark.parametrize("case", _lines("cuts", "id"))
def test_every_cut_method_cuts_as_the_reference(case):
    for method, expected in case["cut"].items():
        if isinstance(expected, str):
            assert cut(case["text"], method) == expected, method


@pytest.mark.parametrize("case", _lines("cuts", "id"))
def test_a_text_is_prepared_for_synthesis_as_by_the_reference(case):
    for name, expected in case["pre_seg"].items():
        method, language = name.split("/")
        if isinstance(expected, list):
            assert prepare(case["text"], language, method) == expected, name


@pytest.mark.parametrize("path", [*fixtures("symbols_v1", suffix=".json"), *fixtures("symbols_v2", suffix=".json")])
def test_the_phones_have_the_ids_of_the_reference(path):
    assert list(symbols(path.stem[-2:])) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name in TABLES for path in find(name, suffix=".json")],
    ids=lambda value: str(value)[-30:],
)
def test_the_tables_are_those_of_the_reference(name, path):
    assert table(name) == json.loads(path.read_text(encoding="utf-8"))


EXPECTED = ("expected-2-name2text-0.txt", "expected-3-bert.json")
LISTS = fixtures("input", suffix=".list", where=lambda path: all((path.parent / name).exists() for name in EXPECTED))
for training_list in (case.values[0] for case in LISTS if not case.marks):
    for file in EXPECTED:
        companion(training_list, file)  # counted as read, whether or not the test below is chosen


@pytest.mark.parametrize("path", LISTS)
def test_a_training_list_becomes_the_names_and_phones_of_the_reference(path, tmp_path):
    frontend = TextFrontend({"zh": Mandarin(pinyin_in_context)})

    lines = phonemize_training_lines(read_annotations(path), frontend)
    write_name2text(tmp_path, [NameToText(name, line.phonemes, line.word2ph, line.norm_text) for name, line in lines])

    expected = companion(path, EXPECTED[0]).read_text(encoding="utf-8")
    assert (tmp_path / "2-name2text.txt").read_text(encoding="utf-8").rstrip("\n") == expected.rstrip("\n")
    features = json.loads(companion(path, EXPECTED[1]).read_text(encoding="utf-8"))
    for name, line in lines:
        columns = [column and column[1] for column in line.feature_columns]
        expected_feature = features.get(f"{name}.pt")
        if expected_feature is None:
            assert set(columns) == {None}
        else:
            assert columns == expected_feature["token_of_column"]
            assert len(columns) == expected_feature["shape"][1]


def test_a_language_that_cannot_be_spoken_is_refused_where_the_reference_said_a_comma():
    with pytest.raises(ModelError) as refused:
        phonemize_segment("bonjour", "fr")

    assert refused.value.code == "unsupported_language"
