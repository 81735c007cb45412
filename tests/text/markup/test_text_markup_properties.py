"""Whatever is written between marks and tags: something to hear or a refusal by name, in linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.languages import LANGUAGE_CODES
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import INPUT_TYPES, Pause, phonemize, read_markup, split_script

NOTHING = {"empty_text", "unreadable_text"}
REFUSALS = {"bad_markup", "bad_pronunciation", "unsupported_language"}
"""`unsupported_language` where `xml:lang` names one."""
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates as well
WRITTEN = [
    *[
        "{",
        "|",
        "}",
        "\\",
        "{字|zi4}",
        "{银行|yin2 hang2}",
        "{GIF|G IH1 F}",
        "{a|=b c}",
        "{橋|ハシ}",
        "{橋|h a [ sh i}",
    ],
    *["{500ms}", "{1.5s}", '<break time="1s"/>', "<break/>", "<break ", "<", ">", "/>", "&", "&amp;", "&x;", "]]>"],
    *["<speak>", "</speak>", "<speak", "<!DOCTYPE a>", "<?a b?>", "<!--", "-->", "<![CDATA[", "<p>", " xml:lang='ja'"],
    *[
        "<phoneme ph='zi4'>字</phoneme>",
        "<sub alias='b'>a</sub>",
        "<lang xml:lang='ja'>銀行</lang>",
        "<lang xml:lang='x'>",
    ],
    *["<say-as interpret-as='digits'>12</say-as>", "<say-as interpret-as='ordinal'>3</say-as>", "</lang>"],
    *[
        "<prosody rate='slow'>",
        "</prosody>",
        "你好，",
        "今天。",
        "3个",
        "hello ",
        "カナ",
        "값이 ",
        "\n",
        "😀",
        "\ud800",
        "\x00",
    ],
]
MARKED = st.lists(st.sampled_from(WRITTEN), max_size=12).map("".join)
DOCUMENT = MARKED.map("<speak>{}</speak>".format)
ENTRY = st.dictionaries(
    st.sampled_from(["字", "银行", "hello", "GIF", "个", "カナ", "3", ".", "값"]) | ANYTHING,
    st.sampled_from(["zi4", "yin2 hang2", "G IH1 F", "=b", "ハシ", "갑", "hong4"]) | ANYTHING,
    max_size=3,
)
UNHURRIED = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])


def answer(call, *arguments, **options):
    """Return what the call returns, and the code of its refusal if it refused."""
    try:
        return call(*arguments, **options), None
    except ModelError as refused:
        refused.message.encode()  # an error must be fit to be sent
        refused.hint.encode()
        return [], refused.code


@UNHURRIED
@given(
    text=st.one_of(ANYTHING, MARKED, DOCUMENT),
    code=st.sampled_from(sorted(LANGUAGE_CODES)),
    input_type=st.sampled_from(INPUT_TYPES),
    pronunciations=st.one_of(st.just({}), ENTRY),
)
def test_any_text_with_marks_can_be_heard_or_is_refused_by_name(text, code, input_type, pronunciations):
    script, refusal = answer(read_markup, text, code, input_type=input_type, pronunciations=pronunciations)
    utterances, nothing = answer(split_script, script)

    assert refusal in (None, *REFUSALS)
    assert nothing in (None, *NOTHING)
    for utterance in utterances:
        places = [(reading.start, reading.end) for reading in utterance.pronunciations]
        assert places == sorted(places)
        assert all(0 <= start < end <= len(utterance.text) for start, end in places)
        assert phonemize(utterance.text, utterance.language, inline_pronunciations=utterance.pronunciations).ids
    if utterances:
        pause_seconds = sum(item.seconds for item in script if isinstance(item, Pause))
        assert sum(utterance.silence_before + utterance.silence_after for utterance in utterances) == pytest.approx(
            pause_seconds
        )


@UNHURRIED
@given(text=ANYTHING, code=st.sampled_from(sorted(LANGUAGE_CODES)), pronunciations=ENTRY)
def test_any_dictionary_is_followed_or_refused_by_name(text, code, pronunciations):
    spoken, refusal = answer(phonemize, text, code, pronunciations=pronunciations)

    assert refusal in (None, "bad_pronunciation", *NOTHING)
    if refusal is not None:
        return
    assert spoken.ids
    for piece in spoken.segments:
        if piece.word2ph is not None:
            assert (len(piece.word2ph), sum(piece.word2ph)) == (len(piece.norm_text), len(piece.phonemes))
    assert all(0 <= position < len(text) for position, _ in spoken.skipped)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["{", "{a|", "{a|=b}", "{字|zi4}好", "{1", "好{1ms}", "<break ", "<break time='1ms'/>a", "\\{", "a<", "GIF "],
    ids=ascii,
)
@pytest.mark.parametrize("document", [False, True])
def test_a_hundred_thousand_characters_of_marks_take_seconds(unit, document):
    text = unit * (100_000 // len(unit))
    text = f"<speak>{text}</speak>" if document else text
    phonemize("hello 你好", "auto")
    started = time.process_time()

    script, refusal = answer(read_markup, text, pronunciations={"GIF": "G IH1 F", "a": "=b"})
    nothing = answer(split_script, script)[1]

    assert refusal in (None, *REFUSALS)
    assert nothing in (None, *NOTHING)
    assert time.process_time() - started < 30


@pytest.mark.slow
@pytest.mark.parametrize("code", ["en", "zh"])
def test_a_million_digits_are_read(code):
    assert len(phonemize("9" * 1_000_000, code).phonemes) > 1_000_000
