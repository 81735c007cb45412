"""SSML's voices, marks, pitch and volume, and the inline tags of voices."""

from __future__ import annotations

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import MarkPlace, Passage, last_voice, read_markup, split_script


def passages(text: str, language: str = "en") -> list[Passage]:
    return [item for item in read_markup(text, language) if isinstance(item, Passage)]


def voices(text: str) -> list[tuple[str, str]]:
    return [(passage.voice, passage.text.strip()) for passage in passages(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello. [voice:Ben] Hi! [voice:Anna]Bye.", [("", "Hello."), ("Ben", "Hi!"), ("Anna", "Bye.")]),
        ("[voice: Dr. Ben ]One. [/voice] Two.", [("Dr. Ben", "One."), ("", "Two.")]),
        ("[voice:小明]你好。[voice:小红]再见。", [("小明", "你好。"), ("小红", "再见。")]),
        (r"Write \[voice:x] and [voice] and [voices:x].", [("", "Write [voice:x] and [voice] and [voices:x].")]),
        ('<speak>One <voice name="Ben">two <voice name="Anna/happy">three</voice> four</voice> five</speak>',
         [("", "One"), ("Ben", "two"), ("Anna/happy", "three"), ("Ben", "four"), ("", "five")]),
        ('<speak><voice name="a &amp; b">One</voice></speak>', [("a & b", "One")]),
    ],
)  # fmt: skip
def test_voices_change_with_tags_and_elements(text: str, expected: list[tuple[str, str]]) -> None:
    assert voices(text) == expected


def test_a_tag_of_a_voice_is_no_part_of_any_word_and_covered_all_the_same() -> None:
    text = "Hello there. [voice:Ben] Hi {500ms} you."
    utterances = split_script(read_markup(text, "en"))

    assert [utterance.text for utterance in utterances] == ["Hello there.", "Hi", "you."]
    assert [text[utterance.origins[0].source_start :][:2] for utterance in utterances] == ["He", "Hi", "yo"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("Hi.", "Ben", "Ben"), ("a [voice:Anna] b", "Ben", "Anna"), ("a [voice:x] b [/voice] c", "Ben", ""), ("", "", "")],
)
def test_a_voice_goes_on_in_the_next_text(text: str, first: str, last: str) -> None:
    assert last_voice(text, first) == last


@pytest.mark.parametrize(
    ("pitch", "semitones"),
    [("high", 2), ("x-low", -4), ("+3st", 3), ("-1.5st", -1.5), ("+100%", 12), ("-50%", -12), ("medium", 0)],
)
def test_the_pitch_is_in_semitones(pitch: str, semitones: float) -> None:
    (passage,) = passages(f'<speak><prosody pitch="{pitch}">One</prosody></speak>')

    assert passage.pitch == pytest.approx(semitones)


@pytest.mark.parametrize(
    ("volume", "gain"),
    [("+6dB", 1.9953), ("-6.0dB", 0.5012), ("50", 0.5), ("25%", 0.25), ("-10%", 0.9), ("+100%", 2), ("silent", 0),
     ("x-soft", 0.2512), ("loud", 1.9953), ("medium", 1), ("-200%", 0)],
)  # fmt: skip
def test_the_volume_is_a_gain(volume: str, gain: float) -> None:
    (passage,) = passages(f'<speak><prosody volume="{volume}">One</prosody></speak>')

    assert passage.gain == pytest.approx(gain, rel=1e-3)


def test_prosody_inside_prosody_adds_up() -> None:
    text = (
        '<speak><prosody rate="2" volume="-6dB" pitch="+2st">One '
        '<prosody pitch="-3st" volume="-6dB">two</prosody> three</prosody></speak>'
    )
    manners = [(passage.rate, round(passage.pitch, 2), round(passage.gain, 3)) for passage in passages(text)]

    assert manners == [(2, 2, 0.501), (2, -1, 0.251), (2, 2, 0.501)]


@pytest.mark.parametrize(
    ("element", "part"),
    [
        ('<prosody pitch="440Hz">x</prosody>', "'440Hz' is no pitch"),
        ('<prosody pitch="+13st">x</prosody>', "The pitch is +13 semitones"),
        ('<prosody pitch="-100%">x</prosody>', "The pitch is -inf semitones"),
        ('<prosody volume="+21dB">x</prosody>', "The volume is +21.0 dB"),
        ('<prosody volume="+5">x</prosody>', "'+5' is no volume"),
        ('<prosody volume="">x</prosody>', "'' is no volume"),
        ("<prosody>x</prosody>", "<prosody> needs an attribute"),
        ('<prosody contour="(0%,+20Hz)">x</prosody>', "The attribute 'contour' of <prosody>"),
        ("<voice>x</voice>", "<voice> needs the attribute name"),
        ('<voice gender="female">x</voice>', "The attribute 'gender' of <voice>"),
        ("<mark/>", "<mark> needs the attribute name"),
        ('<mark name="a">x</mark>', "<mark> holds nothing"),
        ('<mark name="a"><s>x</s></mark>', "<mark> holds nothing"),
        (f'<mark name="{"a" * 201}"/>', "The name of a <mark> has up to 200 characters"),
        ('<audio src="a.wav"/>', "The element <audio> is not known here"),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_place(element: str, part: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_markup(f"<speak>Hello {element}</speak>", "en")

    assert caught.value.code == "bad_markup"
    assert caught.value.message.startswith("At line 1, column ")
    assert part in caught.value.message


def test_a_tag_without_a_name_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"At character 3: \[voice:\] names no voice"):
        read_markup("Hi [voice: ] there", "en")


def marks(text: str) -> list[tuple[str, str, int]]:
    """Return (utterance, mark, position) of all marks."""
    utterances = split_script(read_markup(text, "en"))
    return [(utterance.text, mark.name, mark.position) for utterance in utterances for mark in utterance.marks]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<mark name="a"/>One <mark name="b"/>two.<mark name="c"/>',
         [("One two.", "a", 0), ("One two.", "b", 4), ("One two.", "c", 8)]),
        ('One<mark name="a"/><break time="1s"/>two', [("One", "a", 3)]),
        ('One<break time="1s"/><mark name="a"/>two', [("two", "a", 0)]),
        ('One<break time="1s"/><mark name="a"/><break time="1s"/>two', [("two", "a", 0)]),
        ('One two.<break time="1s"/> <mark name="a"/>', [("One two.", "a", 9)]),
        ('<prosody rate="2">One</prosody><mark name="a"/> two', [("One", "a", 3)]),
        ('One <sub alias="World Health">WHO</sub> <mark name="a"/>two.', [("One World Health two.", "a", 17)]),
        ('<mark name="a"/><mark name="a"/>One', [("One", "a", 0), ("One", "a", 0)]),
        ('<mark name="a"/><break time="1s"/>One', [("One", "a", 0)]),
        ('<s>The first sentence is here.</s><mark name="a"/><s>The second sentence is here.</s>',
         [("The first sentence is here.", "a", 27)]),
    ],
)  # fmt: skip
def test_marks_stand_where_they_were_written(body: str, expected: list[tuple[str, str, int]]) -> None:
    assert [(text.strip(), name, position) for text, name, position in marks(f"<speak>{body}</speak>")] == expected


def test_marks_of_a_long_passage_are_in_the_utterances_that_hold_them() -> None:
    sentences = [f"This is the sentence number {number} of a long passage." for number in range(40)]
    body = "".join(f'<mark name="m{number}"/>{sentence} ' for number, sentence in enumerate(sentences))
    utterances = split_script(read_markup(f"<speak>{body}</speak>", "en"))
    places = {mark.name: (utterance, mark.position) for utterance in utterances for mark in utterance.marks}

    assert len(utterances) > 5
    for number, sentence in enumerate(sentences):
        utterance, position = places[f"m{number}"]
        following = utterance.text[position:] or utterances[utterances.index(utterance) + 1].text
        assert following.strip().startswith(sentence)


def test_marks_of_passages_without_a_word_are_kept() -> None:
    assert (
        MarkPlace("a", 0)
        in split_script(read_markup('<speak><prosody rate="2"><mark name="a"/>…</prosody>One.</speak>', "en"))[0].marks
    )
