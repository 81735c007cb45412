"""Marks and SSML: what is heard of them, and how what is not known is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import InlinePronunciation, Passage, Pause, phonemize, read_markup, split_script


def heard(text: str, language: str = "auto", **options) -> list[str | float]:
    """Words and the seconds between them."""
    script = read_markup(text, language, **options)
    return [item.seconds if isinstance(item, Pause) else item.text for item in script]


def refusal(text: str, **options) -> tuple[str, str]:
    with pytest.raises(ModelError) as refused:
        read_markup(text, **options)
    return refused.value.code, f"{refused.value.message} {refused.value.hint}"


def phones(text: str, language: str = "auto") -> list[str]:
    return [
        phone
        for utterance in split_script(read_markup(text, language))
        for phone in phonemize(
            utterance.text, utterance.language, retry=False, inline_pronunciations=utterance.pronunciations
        ).phonemes
    ]


def test_marks_give_readings_and_pauses():
    script = read_markup('银{行|xing2}好。{500ms}再<break time="1.5s"/>见')

    assert script == [
        Passage("银行好。", "auto", (InlinePronunciation(1, 2, "zh", ("xing2",)),)),
        Pause(0.5),
        Passage("再", "auto"),
        Pause(1.5),
        Passage("见", "auto"),
    ]


def test_braces_that_are_no_marks_are_text():
    assert heard("{x} {} {1} \\{a|b} {") == ["{x} {} {1} {a|b} {"]
    assert heard("{字|zi4}", input_type="text") == ["{字|zi4}"]


def test_a_mark_wins_over_the_dictionary():
    script = read_markup("{行|xing2}行", pronunciations={"行": "hang2"})

    assert [reading.units for reading in script[0].pronunciations] == [("xing2",), ("hang2",)]


def test_neighboring_pauses_are_one_and_stay_at_the_ends():
    assert heard("{1s} {500ms}你好{2s}") == [1.5, "你好", 2.0]


def test_a_pause_of_no_time_parts_nothing():
    assert heard("<speak>a<break strength='none'/>b<break time='0ms'/>c</speak>") == ["abc"]


def test_what_the_manual_shows_can_be_written():
    manual = (Path(__file__).parents[3] / "docs/text.md").read_text(encoding="utf-8").replace("\\|", "|")
    marks = re.findall(r"\{[^{}|`]+\|[^{}|`]+\}|\{[0-9.]+m?s\}|<break time=[^>]*>", manual)

    assert len(marks) > 5
    assert all(heard(f"啊{mark}啊") for mark in marks)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("<speak>你好<break time='500ms'/>再见</speak>", ["你好", 0.5, "再见"]),
        ("<speak>a<break strength='strong'/>b<break/>c</speak>", ["a", 1.0, "b", 0.75, "c"]),
        ('<?xml version="1.0"?><speak version="1.1" xmlns="http://a">a &amp; b</speak>', ["a & b"]),
        ("<speak>the <sub alias='World Wide Web'>WWW</sub></speak>", ["the World Wide Web"]),
        ("<speak>\n  one\n  two\n</speak>", [" one two "]),
        ("<speak><![CDATA[a < b]]><!-- not this --></speak>", ["a < b"]),
    ],
)
def test_ssml_is_read_where_the_text_begins_with_it(written, words):
    assert heard(written) == words


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("digits", "我是<>", "我是二零二四"),
        ("cardinal", "It is <>", "It is two thousand, twenty-four"),
        ("cardinal", "我有<>", "我有二千零二十四"),
        ("ordinal", "the <>", "the two thousand, twenty-fourth"),
        ("ordinal", "我是<>", "我是第二千零二十四"),
        ("telephone", "call <>", "call two zero two four"),
        ("digits", "これは<>", "これはニ ゼロ ニ ヨン"),
        ("digits", "번호는 <>", "번호는 이공이사"),
        ("characters", "code <>", "code two zero two four"),
    ],
)
def test_figures_are_said_as_asked_in_the_language_around_them(kind, text, words):
    document = text.replace("<>", f"<say-as interpret-as='{kind}'>2024</say-as>")

    assert heard(f"<speak>{document}</speak>") == [words]


def test_letters_are_spelled_and_dates_are_read_in_the_order_that_is_named():
    spelled = "<speak>in <say-as interpret-as='characters'>sql</say-as></speak>"
    dated = "<speak>on <say-as interpret-as='date' format='dmy'>3/5/2024</say-as></speak>"

    assert heard(spelled) == ["in S Q L"]
    assert heard(dated) == ["on May third, 2024"]


def test_phonemes_are_read_in_the_alphabet_that_is_named():
    document = (
        "<speak><phoneme alphabet='x-amazon-pinyin' ph='hang2'>行</phoneme>"
        "<phoneme alphabet='arpabet' ph='g ih1 f'>GIF</phoneme></speak>"
    )

    assert phones(document) == ["h", "ang2", ",", "G", "IH1", "F"]


def test_rates_multiply_and_each_has_its_utterances():
    script = read_markup("<speak>a<prosody rate='150%'>b<prosody rate='-50%'>c</prosody></prosody></speak>")

    assert [(item.text, item.rate) for item in script] == [("a", 1.0), ("b", 1.5), ("c", 0.75)]
    assert [utterance.rate for utterance in split_script(script)] == [1.0, 1.5, 0.75]


def test_a_language_mark_reads_ideographs_in_its_language():
    document = "<speak>我去<lang xml:lang='ja-JP'>銀行</lang></speak>"

    assert phones(document)[4:] == ["g", "i", "[", "N", "k", "o", "o"]


def test_the_language_of_the_document_counts_where_none_was_asked_for():
    document = "<speak xml:lang='ja-JP'>銀行</speak>"

    assert read_markup(document)[0].language == "ja"
    assert read_markup(document, "zh")[0].language == "zh"


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("<speak>a<emphasis>b</emphasis></speak>", "line 1, column 9: The element <emphasis> is not known"),
        ("<speak>\n <audio src='x'/></speak>", "line 2, column 2: The element <audio>"),
        ("<speak><break tim='1s'/></speak>", "column 8: The attribute 'tim' of <break>"),
        ("<speak><break time='soon'/></speak>", "column 8: 'soon' is no time"),
        ("<speak><break strength='huge'/></speak>", "no strength 'huge'"),
        ("<speak><break>a</break></speak>", "<break> holds nothing"),
        ("<speak><phoneme ph='x'><break/></phoneme></speak>", "stands inside <phoneme>"),
        ("<speak><phoneme>a</phoneme></speak>", "<phoneme> needs the attribute ph"),
        ("<speak><sub>a</sub></speak>", "<sub> needs the attribute alias"),
        ("<speak><say-as interpret-as='money'>1</say-as></speak>", "cannot interpret as 'money'"),
        ("<speak><say-as interpret-as='cardinal'>many</say-as></speak>", "column 8: 'many' cannot be read as cardinal"),
        ("<speak><say-as interpret-as='date'>13/45/1</say-as></speak>", "cannot be read as date"),
        ("<speak><prosody range='high'>a</prosody></speak>", "The attribute 'range' of <prosody>"),
        ("<speak><prosody rate='quick'>a</prosody></speak>", "'quick' is no rate"),
        ("<speak><prosody rate='9'>a</prosody></speak>", "The rate is 9; it may be 0.25 to 4"),
        ("<speak>a", "breaks off at line 1, column 9"),
        ("<speak>a & b</speak>", "not well-formed"),
        ("<speak>&nbsp;</speak>", "undefined entity"),
        ("<speak>\ud800</speak>", "half a character at 7"),
        ("<speak><?x y?></speak>", "A processing instruction is not allowed"),
        ("<speak>" + "<prosody rate='1'>" * 40, "more than 32 deep"),
        ("<speak><break time='11s'/></speak>", "one pause may last 10 s"),
        ("<speak>" + "<break time='10s'/>a" * 31 + "</speak>", "all may last 300 s"),
        ("你{11s}好", "one pause may last 10 s"),
        ("你<break tmie='1s'/>好", "At character 1: <break> has no attribute 'tmie'"),
        ("你<break time=1s/>好", "At character 1: '<break time=1s>' cannot be read"),
    ],
)
def test_what_is_not_known_is_refused_by_name_and_place(written, complaint):
    code, message = refusal(written)

    assert code == "bad_markup"
    assert complaint in message


@pytest.mark.parametrize(
    "written",
    [
        "<!DOCTYPE speak [<!ENTITY a 'b'>]><speak>&a;</speak>",
        "<!DOCTYPE speak SYSTEM 'file:///etc/passwd'><speak>a</speak>",
        "<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><speak>&b;</speak>",
    ],
)
def test_a_document_type_is_refused_before_anything_of_it_is_followed(written):
    assert refusal(written, input_type="ssml")[0] == "bad_markup"
    assert "document type" in refusal(written, input_type="ssml")[1]


def test_a_document_must_begin_with_speak():
    assert "begins with <p>" in refusal("<p>a</p>", input_type="ssml")[1]
    assert "input type 'xml'" in refusal("a", input_type="xml")[1]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("我{字|zz4}", "At character 1: 'zz4' is no syllable of Mandarin"),
        ("<speak>\n<phoneme ph='zz4'>字</phoneme></speak>", "At line 2, column 1: 'zz4' is no syllable"),
        ("<speak><phoneme alphabet='sampa' ph='a'>a</phoneme></speak>", "The alphabet 'sampa' is not known here"),
    ],
)
def test_phonemes_that_no_table_has_are_refused_with_their_place(written, complaint):
    code, message = refusal(written)

    assert code == "bad_pronunciation"
    assert complaint in message


def test_a_language_that_cannot_be_spoken_is_refused_with_its_place():
    assert refusal("<speak>a<lang xml:lang='fr-FR'>b</lang></speak>")[0] == "unsupported_language"


def test_utterances_keep_readings_rates_and_the_pauses_around_them():
    utterances = split_script(read_markup("{1s}第一句话说完了。第二句{话|hua2}也说完了。{2s}再见了朋友们。{500ms}"))

    assert [(utterance.text, utterance.silence_before, utterance.silence_after) for utterance in utterances] == [
        ("第一句话说完了。", 1.0, 0.0),
        ("第二句话也说完了。", 0.0, 2.0),
        ("再见了朋友们。", 0.0, 0.5),
    ]
    assert utterances[1].pronunciations == (InlinePronunciation(3, 4, "zh", ("hua2",)),)


def test_marks_of_punctuation_alone_between_pauses_are_passed_over():
    utterances = split_script(read_markup("你好{1s}，{1s}再见"))

    assert [(utterance.text, utterance.silence_after) for utterance in utterances] == [("你好", 2.0), ("再见", 0.0)]


def test_a_text_of_pauses_alone_holds_nothing_to_say():
    with pytest.raises(ModelError) as refused:
        split_script(read_markup("{1s}"))

    assert refused.value.code == "empty_text"


def test_a_marked_word_is_never_cut_in_two():
    text = "好" * 99 + "{一。二。三|=四} " + "{银行|yin2 hang2}" * 60

    utterances = split_script(read_markup(text, "zh"))

    assert sum(len(utterance.pronunciations) for utterance in utterances) == 60
    for utterance in utterances:
        assert all(utterance.text[reading.start : reading.end] == "银行" for reading in utterance.pronunciations)


def test_paragraphs_and_sentences_have_pauses_between_them_and_none_around_them():
    document = "<speak> <p><s>One.</s><s>Two.</s></p> <p>Three.</p><break time='1s'/> </speak>"
    script = read_markup(document, "en")

    assert [item.seconds if isinstance(item, Pause) else item.text.strip() for item in script] == [
        "One.",
        0.3,
        "Two.",
        0.75,
        "Three.",
        1.0,
    ]


def test_a_sentence_may_have_a_language_of_its_own():
    script = read_markup("<speak><s>Good day.</s><s xml:lang='ja'>東京</s></speak>", "auto")

    assert [item.language for item in script if not isinstance(item, Pause)] == ["auto", "ja"]


@pytest.mark.parametrize("name", ["audio", "mark", "voice"])
def test_elements_that_are_not_followed_say_what_to_do_instead(name):
    with pytest.raises(ModelError) as raised:
        read_markup(f"<speak>Hello <{name}>there</{name}></speak>", "en")

    assert f"<{name}>" in raised.value.message
    assert "Known" not in raised.value.hint
