"""Mandarin: what is written and how it is said."""

from __future__ import annotations

import pytest
from single_language import phonemize_segment

from GPT_SoVITS.text import TextFrontend, phonemize
from GPT_SoVITS.text.mandarin.frontend import Mandarin
from GPT_SoVITS.text.mandarin.numbers import cardinal


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("花了1,000元", "花了一千元"),
        ("数值-3.5", "数值负三点五"),
        ("3-5天", "三到五天"),
        ("气温-5~10℃", "气温零下五到十度"),
        ("直径5mm，跑了5km", "直径五毫米,跑了五千米"),
        ("价格￥100，或$5", "价格一百元,或五美元"),
        ("50％和½", "百分之五十和二分之一"),
        ("2024/3/5", "二零二四年三月五日"),
        ("010-12345678", "零幺零,幺二三四五六七八"),
        ("二〇二四年", "二零二四年"),
        ("8:30-9:45", "八点半到九点四十五"),
        ("8:30—9:00，9:00-21:30", "八点半到九点,九点至二十一点三十分"),
        ("1,000", "一千"),
        ("-1,000和1,234.56", "负一千和一千二百三十四点五六"),
        ("花了1,000,000元", "花了一百万元"),
        ("￥1,234.56，$2.5亿，€20", "一千二百三十四点五六元,二点五亿美元,二十欧元"),
        ("−3.5", "负三点五"),
        ("3-5", "三到五"),
        ("第3-5章，1-2个月", "第三到五章,一到两个月"),
        ("20-30%，20%-30%", "百分之二十到百分之三十,百分之二十到百分之三十"),
        ("2023-2024年", "二零二三到二零二四年"),
        ("北京-上海", "北京到上海"),
        ("138-1234-5678", "幺三八幺二三四五六七八"),
        ("60km/h，60Hz，10㎡", "六十千米每小时,六十赫兹,十平方米"),
        ("5±1", "五正负一"),
        ("〇", "零"),
        ("第2名，2个，比分2:1", "第二名,两个,比分二比一"),
        ("什麼，然後", "什么,然后"),
        ("100+200=300", "一百加二百等于三百"),
        ("٣天", "三天"),
    ],
)
def test_what_is_written_is_said_in_ideographs(written, spoken):
    assert Mandarin().normalize(written) == spoken


def test_numbers_have_names_up_to_sixteen_digits():
    spoken = {"10": "十", "101": "一百零一", "10010": "一万零一十", "100000000": "一亿", "1" * 17: "一" * 17}

    assert {digits: cardinal(digits) for digits in spoken} == spoken


@pytest.mark.parametrize(
    "text", ["今天天气很好。", "一二三，四五。", "覅", "他说：“嗯？！”然后走了……", "甅烪兙", "a1b2"]
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_character_has_its_number_of_phones(text, version):
    segment = phonemize_segment(text, "zh", version)

    assert segment.word2ph is not None
    assert len(segment.word2ph) == len(segment.norm_text)
    assert sum(segment.word2ph) == len(segment.phonemes)


def test_only_the_place_of_a_pause_sign_becomes_a_long_pause():
    segment = phonemize_segment("你好，我^在￥这", "zh")

    assert [phone for phone in segment.phonemes if phone in (",", "SP2", "SP3")] == [",", "SP3", "SP2"]
    assert segment.norm_text == "你好,我,在,这"


def test_another_reader_of_polyphones_can_take_the_place_of_pypinyin():
    frontend = TextFrontend({"zh": Mandarin(lambda text: ["ma1" for _ in text])})

    assert frontend.phonemize("猫狗", "zh").phonemes == [".", "m", "a1", "m", "a1"]


def test_a_syllable_that_the_table_lacks_is_said_as_the_nearest_one():
    assert phonemize("覅", "zh").phonemes == [".", "f", "iao4"]


def test_a_unit_behind_a_number_is_chinese_among_chinese_words():
    assert [piece.norm_text for piece in phonemize("我跑了5km，频率60Hz", "auto").segments] == [
        "我跑了五千米,频率六十赫兹"
    ]
    assert [piece.norm_text for piece in phonemize("直径5 mm的管子", "auto").segments] == ["直径五毫米的管子"]
    assert [piece.norm_text for piece in phonemize("5mm", "zh", retry=False).segments] == ["五毫米"]


def test_the_syllable_before_a_reading_that_a_user_gave_has_the_tone_that_it_takes_there():
    changed = phonemize("不行，一行", "zh", pronunciations={"行": "hang4"})
    plain = phonemize("不行，一行", "zh", pronunciations={"行": "hang3"})

    assert " ".join(changed.phonemes) == "b u2 h ang4 , y i2 h ang4"
    assert " ".join(plain.phonemes) == "b u4 h ang3 , y i4 h ang3"
