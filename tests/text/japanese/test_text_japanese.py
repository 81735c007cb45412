"""Japanese: what is read, how long runs are kept from OpenJTalk, and what it does not know."""

from __future__ import annotations

import pytest
from single_language import phonemize_segment

from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.japanese.frontend import MAX_CALL_LENGTH, Japanese, cut_for_openjtalk


def said(text: str) -> str:
    """Phones without accent, phrase borders and the short text's full stop."""
    return "".join(phone for phone in phonemize(text, "ja").phonemes if phone not in ("[", "]", "UNK")).lstrip(".")


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1,000円です", "千円です"),
        ("１，０００円です", "千円です"),
        ("¥1,500です", "千五百円です"),
        ("$5です", "五ドルです"),
        ("50%です", "五十パーセントです"),
        ("10:30です", "十時三十分です"),
        ("2024/3/5です", "二千二十四年三月五日です"),
        ("3/4です", "よんぶんのさんです"),
        ("03-1234-5678", "ゼロサン、イチニーサンヨン、ゴーロクナナハチ"),
        ("2024-03-05", "2024年3月5日"),
        ("25℃です", "二十五度です"),
        ("-5度です", "マイナス五度です"),
        ("3〜5人です", "三から五人です"),
        ("٣人です", "三人です"),
        ("すごい〜", "すごいー"),
        ("カ\u3099ス", "ガス"),
        ("ｶﾞｽです", "ガスです"),
        ("「本当」です", "本当です"),
        ("ヷイオリン", "ヴァイオリン"),
    ],
)
def test_signs_and_numbers_are_said_in_words(written, spoken):
    assert said(written) == said(spoken)


def test_the_pitch_rises_falls_and_phrases_end():
    assert phonemize_segment("橋を渡る箸", "ja").phonemes == (
        ["h", "a", "[", "sh", "i", "]", "o", "UNK", "w", "a", "[", "t", "a", "r", "u", "UNK", "h", "a", "]", "sh", "i"]
    )


@pytest.mark.parametrize("unit", ["ア", "カ", "漢", "9", "Ｗ", "ー", "。ア", "々"])
def test_a_run_that_would_end_the_process_is_cut_before_it_reaches_openjtalk(unit):
    assert phonemize_segment(unit * 3000, "ja").phonemes or unit in ("ー", "々")


def test_long_runs_are_cut_between_phrases_and_lose_nothing():
    run = "今日はとても良い天気なので公園まで散歩に行きました" * 40

    parts = list(cut_for_openjtalk(run))

    assert "".join(parts) == run
    assert max(map(len, parts)) <= MAX_CALL_LENGTH
    assert all("\u3041" <= part[-1] <= "\u3096" for part in parts)  # hiragana: the end of a phrase


def test_kanji_of_no_known_word_are_reported_with_their_places():
    spoken = phonemize("龘が好き、乃木坂の乃", "ja")

    assert spoken.skipped == [(0, "龘"), (9, "乃")]
    assert "".join(spoken.phonemes).startswith("ga")


def test_signs_that_only_words_give_a_sound_are_reported_where_they_stand_alone():
    assert phonemize("時々、々が一ヶ月ゝ", "ja").skipped == [(3, "々"), (8, "ゝ")]


def test_only_rare_kanji_make_the_dictionary_be_asked(monkeypatch):
    monkeypatch.setattr(
        "GPT_SoVITS.text.japanese.frontend._openjtalk", lambda: pytest.fail("the dictionary was opened")
    )

    assert Japanese().find_unreadable("今日は良い天気です。2024年") == []


def test_an_openjtalk_without_its_dictionary_is_refused_before_it_downloads_one(monkeypatch, tmp_path):
    import pyopenjtalk

    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text.japanese import frontend as japanese

    monkeypatch.setattr(pyopenjtalk, "OPEN_JTALK_DICT_DIR", str(tmp_path / "none").encode())
    japanese._openjtalk.cache_clear()

    with pytest.raises(ModelError, match="dictionary") as refused:
        japanese._openjtalk()

    assert refused.value.code == "missing_part"
    japanese._openjtalk.cache_clear()


def test_a_blank_before_a_unit_changes_nothing():
    assert phonemize("距離は5 kmです", "ja").phonemes == phonemize("距離は5kmです", "ja").phonemes
