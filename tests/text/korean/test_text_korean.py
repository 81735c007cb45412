"""Korean: rules of pronunciation, numbers and signs, and texts of any length."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from single_language import phonemize_segment

from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.korean.frontend import MAX_CALL_LENGTH, cut_for_rules


def jamo(text: str) -> str:
    return "".join(phonemize_segment(text, "ko").phonemes)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("같이", "가치"),
        ("좋아요", "조아요"),
        ("값이", "갑씨"),
        ("독립", "동닙"),
        ("$5 주세요", "오달러 주세요"),
        ("3.5km", "삼쩜오킬로미터".replace("쩜", "점")),
        ("50% 할인", "오십퍼센트 할인"),
        ("50％ 할인", "오십퍼센트 할인"),
        ("1,000", "천"),
        ("12,345,678", "천이백삼십사만오천육백칠십팔"),
        ("3시 30분", "세시 삼십분"),
        ("٣시", "세시"),
        ("ＡＩ", "에이아이"),
        ("각\u1102\u1161", "각나"),
        ("2024-03-05", "2024년 3월 5일"),
        ("10:30", "열시 삼십분"),
        ("3~5명", "3에서 5명"),
        ("15일 5일", "십오일 오일"),
        ("3살 13살 103살", "세살 열세살 백세살"),
        ("10,000명 0명", "만명 영명"),
    ],
)
def test_what_is_written_is_said_as_its_reader_would(written, spoken):
    assert jamo(written) == jamo(spoken)


def test_compound_vowels_are_two_phones_and_a_last_jamo_is_given_a_stop():
    assert phonemize_segment("와", "ko").phonemes == ["ㅇ", "ㅗ", "ㅏ", "."]


def test_signs_without_a_phone_are_one_of_their_own():
    assert phonemize_segment('"안" ', "ko").phonemes == ["停", "ㅇ", "ㅏ", "ㄴ", "停", "空"]


def test_the_same_text_is_said_alike_whatever_the_hash_seed():
    program = (
        "from GPT_SoVITS.text import phonemize; "
        "print(*phonemize('제32024년 3월 5일2024년 3월 15일, 3살 13살 103살', 'ko').phonemes)"
    )

    pronunciations = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2", "3")
    }

    assert len(pronunciations) == 1


def test_a_number_too_long_to_count_is_said_digit_by_digit():
    assert jamo("12345678901234567일") == jamo("일이삼사오육칠팔구영일이삼사오육칠일")


@pytest.mark.parametrize("character", ["\ud800", "\ua960", "\ud7b0", "\u119e", "\u115f"])
def test_what_the_libraries_would_refuse_is_one_unknown_sign(character):
    assert phonemize_segment(f"안{character}", "ko").phonemes == ["ㅇ", "ㅏ", "ㄴ", "停"]


def test_what_is_no_korean_is_reported_and_leaves_no_phone():
    spoken = phonemize("國家 안녕 😀", "ko")

    assert spoken.skipped == [(0, "國家"), (6, "😀")]
    assert set(spoken.phonemes) & {"停", "空"} == set()


@pytest.mark.parametrize(
    "text", ["안녕하세요. " * 100, "안" * 1000, "학교에 " * 200, "9" * 500, "\n" * 500, "a b" * 300]
)
def test_a_long_text_is_cut_without_losing_a_character(text):
    parts = list(cut_for_rules(text))

    assert "".join(parts) == text
    assert max(map(len, parts)) <= MAX_CALL_LENGTH


def test_reading_korean_opens_no_network_and_imports_no_nltk():
    program = (
        "import socket, subprocess, sys; "
        "blocked = lambda *a, **k: (_ for _ in ()).throw(OSError('blocked')); "
        "socket.socket.connect = blocked; subprocess.Popen.__init__ = blocked; "
        "from GPT_SoVITS.text import phonemize; phonemize('읽다 3개', 'ko'); "
        "assert not [name for name in sys.modules if name.startswith(('nltk', 'g2pk2'))]"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
