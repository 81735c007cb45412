"""The words of a text as they are written: they cover it without a gap, and each has the phonemes it is spoken with."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.languages import LANGUAGE_CODES
from common.text_origins import atoms, source_position, written_text
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import (
    PhonemizedText,
    Span,
    phonemize,
    read_markup,
    split_script,
    written_words,
)
from GPT_SoVITS.text.words import PAUSE_PHONEMES

ENGLISH = (
    "We met on {} 😀 and left.",
    'She said "{}" twice.',
    "({}), he thought — why?",
    "{}",
    "Mr. Lee's 2 dogs: {}; cats…",
)
ENGLISH_FILLERS = (
    "March 5, 2024", "5 March 2024", "$5.99", "$5 million", "10:30 p.m.", "1,000,000", "3.14", "555-1234", "10 km",
    "the 21st", "e.g. NASA", "www.example.com/a?b=1", "½ cup", "don’t", "co-op 🎉🎉", "2024-03-05", "5'11\"", "A&B",
    "№ 7", "50% off",
)  # fmt: skip
CHINESE = ("我在{}买了3个GIF，真的！", "“{}”，他说：好。", "{}😀", "价格（{}）是多少？")
CHINESE_FILLERS = (
    "2024年3月5日", "￥12.50", "13812345678", "10:30", "-5°C", "3/4", "25%", "第2名", "５０公里", "1,234.5元",
    "iPhone 15",
)  # fmt: skip
JAPANESE = ("{}に会いました。😀", "「{}」と言った。", "今日は{}です")
JAPANESE_FILLERS = ("2024年3月5日", "12,345円", "3.5%", "午後3時", "ABC株式会社", "お母さん", "10km", "第1回")
KOREAN = ("저는 {} 샀어요. 😀", '"{}" 라고 했다', "{}")
KOREAN_FILLERS = ("3개의 사과를", "2024년 3월 5일에", "1,000원을", "10:30에", "5km를", "50%")
TEXTS = [
    *((template.format(filler), "en") for template, filler in product(ENGLISH, ENGLISH_FILLERS)),
    *((template.format(filler), "zh") for template, filler in product(CHINESE, CHINESE_FILLERS)),
    *((template.format(filler), "yue") for template, filler in product(CHINESE[:2], CHINESE_FILLERS)),
    *((template.format(filler), "ja") for template, filler in product(JAPANESE, JAPANESE_FILLERS)),
    *((template.format(filler), "ko") for template, filler in product(KOREAN, KOREAN_FILLERS)),
]
ANY_TEXT = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                *"aZé'好一不의が½²$￥%.,!?…。，—-“”\"() \n😀Я",
                "word",
                "1,000",
                "3.14",
                "8:30",
                "2024-03-05",
                "5km",
                "Dr. ",
            ]
        ),
        max_size=24,
    ).map("".join),
)


def words_of(text: str, language: str) -> list[tuple[str, str]]:
    """Return each word without the whitespace behind it, and its phonemes."""
    phonemized = phonemize(text, language)
    return [
        (text[word.start : word.end].strip(), " ".join(phonemized.phonemes[slice(*word.phonemes)]))
        for word in written_words(text, phonemized)
    ]


def check(text: str, phonemized: PhonemizedText) -> None:
    """Check that the words cover the text, and that every phoneme but pauses belongs to the word it was read from."""
    words = written_words(text, phonemized)
    assert words[0].start == 0
    assert words[-1].end == len(text)
    assert all(word.end == following.start for word, following in pairwise(words))
    assert all(word.phonemes[1] <= following.phonemes[0] for word, following in pairwise(words))
    owners = {index: word for word in words for index in range(*word.phonemes)}
    for index, (phoneme, source) in enumerate(zip(phonemized.phonemes, phonemized.sources, strict=True)):
        if source is None or phoneme in PAUSE_PHONEMES:
            continue
        assert 0 <= source.start <= source.end <= len(text)
        assert owners[index].start < source.end or source.start == source.end
        assert source.start < owners[index].end


def test_two_hundred_texts_are_covered_by_their_words():
    assert len(TEXTS) >= 200
    for text, language in TEXTS:
        check(text, phonemize(text, language))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(text=ANY_TEXT, code=st.sampled_from(sorted(LANGUAGE_CODES)))
def test_any_text_that_is_spoken_is_covered_by_its_words(text, code):
    try:
        phonemized = phonemize(text, code)
    except ModelError:
        return
    check(text, phonemized)


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        (
            "Pay $5.99 on March 5, 2024; Dr. Who ran 10 km 😀.",
            "en",
            "Pay $5.99 on March 5, 2024; Dr. Who ran 10 km|😀.",
        ),
        ("5 March 2024", "en", "5 March 2024"),
        ("Give 1 000 000 dogs $5 million", "en", "Give 1 000 000 dogs $5 million"),
        ("👋 Hello there…my friend— ok", "en", "👋|Hello there… my friend— ok"),
        ("Привет, hello", "en", "Привет,|hello"),
        ("我买了3个GIF，“好吧”。", "zh", "我 买 了 3 个 GIF， “好 吧”。"),
        ("2024年3月5日は「東京」です。", "ja", "2024 年 3月 5日 は 「東京」 です。"),
        ("저는 3개의 사과를 샀어요.", "ko", "저는 3개의 사과를 샀어요."),
    ],
)
def test_words_are_as_they_are_written(text, language, words):
    written = [word for word, _ in words_of(text, language)]

    assert written == [word.replace("|", " ") for word in words.split(" ")]


@pytest.mark.parametrize(
    ("text", "language", "word", "phonemes"),
    [
        ("Paid $5 million today.", "en", "million", "M IH1 L Y AH0 N D AA1 L ER0 Z"),
        ("We left at 10:30 p.m. today.", "en", "10:30", "T EH1 N TH ER1 D IY2"),
        ("Section 12 of 20 is long.", "en", "20", "T W EH1 N T IY0"),
        ("我有12个苹果。", "zh", "12", "sh ir2 EE er4"),
        ("3個あります。", "ja", "3", "s a [ N"),
        ("저는 3개의 사과를 샀어요.", "ko", "3개의", "ㅅ ㅔ ㄱ ㅐ ㅇ ㅡ ㅣ"),
        ("Hi", "en", "Hi", "HH AY1"),
    ],
)
def test_a_word_has_the_phonemes_that_are_spoken_for_it(text, language, word, phonemes):
    assert dict(words_of(text, language))[word] == phonemes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Go {500ms} to the {bank|B AE1 NG K}, now.",
            [("Go", "Go {500ms} "), ("to", "to "), ("the", "the "), ("bank,", "{bank|B AE1 NG K}, "), ("now.", "now.")],
        ),
        (
            "Said {WHO|=World Health Organization}. Yes.",
            [("Said", "Said "), ("WHO.", "{WHO|=World Health Organization}. "), ("Yes.", "Yes.")],
        ),
        (
            "A \\{brace} is {银行|yin2 hang2}.",
            [("A", "A "), ("{brace}", "\\{brace} "), ("is", "is "), ("银", "{银"), ("行.", "行|yin2 hang2}.")],
        ),
        (
            '<speak>Cats &amp; dogs   bark\n<sub alias="World Wide Web">WWW</sub> costs '
            '<say-as interpret-as="cardinal">12</say-as> <break time="1s"/>dollars.</speak>',
            [
                ("Cats", "<speak>Cats "),
                ("&", "&amp; "),
                ("dogs", "dogs   "),
                ("bark", "bark\n"),
                ("WWW", '<sub alias="World Wide Web">WWW</sub> '),
                ("costs", "costs "),
                ("12", '<say-as interpret-as="cardinal">12</say-as> <break time="1s"/>'),
                ("dollars.", "dollars.</speak>"),
            ],
        ),
        ("The dollar rose.", [("The", "The "), ("dollar", "dollar "), ("rose.", "rose.")]),
    ],
)
def test_words_are_found_behind_markup(text, words):
    written: list[str] = []
    starts: list[int] = []
    for utterance in split_script(read_markup(text, "auto", pronunciations={"dollar": "=buck or two"})):
        phonemized = phonemize(utterance.text, utterance.language, inline_pronunciations=utterance.pronunciations)
        own_atoms = [Span(*atom) for atom in atoms(utterance.origins, len(utterance.text))]
        for word in written_words(utterance.text, phonemized, own_atoms):
            written.append(written_text(utterance.origins, utterance.text, word.start, word.end).strip())
            starts.append(source_position(utterance.origins, word.start))

    slices = [text[start:end] for start, end in pairwise([0, *starts[1:], len(text)])]
    assert list(zip(written, slices, strict=True)) == words
