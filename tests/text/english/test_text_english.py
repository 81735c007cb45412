"""English: what is written and how it is said."""

from __future__ import annotations

import pytest
from single_language import phonemize_segment

from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.english.frontend import English
from GPT_SoVITS.text.english.numbers import cardinal, fraction, ordinal, year


def phones(text: str) -> str:
    return " ".join(phonemize_segment(text, "en").phonemes)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("I have 3. Then I left", "I have three. Then I left"),
        ("Dr. Smith vs. Mr. Jones", "Doctor Smith versus Mister Jones"),
        ("MP3 and B2B", "MP three and B two B"),
        ("5mm wide, 5 GB", "five millimeters wide, five gigabytes"),
        ("I’m sure “it’s” fine", "I'm sure it's fine"),
        ("In the 1990s and the 80s", "In the nineteen nineties and the eighties"),
        ("2024-03-05 at 3:05 pm", "March fifth, twenty twenty-four at three oh five p.m."),
        ("$5 million, $0.50, €2.5", "five million dollars, fifty cents, two euros and fifty cents"),
        ("Call 555-1234 now", "Call five five five, one two three four now"),
        ("10-20% of 1,234.5", "ten to twenty percent of one thousand, two hundred thirty-four point five"),
        ("v1.2.3", "v one point two point three"),
        ("see www.example.com/a", "see W W W dot example dot com slash a"),
        ("a@b.org", "a at b dot org"),
        ("the U.S. army", "the U S army"),
        ("½ cup, x² and α rays", " one half cup, x squared and alpha rays"),
        ("wait — what ?", "wait, what?"),
        ("one; two: three", "one, two, three"),
        ("crème brûlée, Łódź", "creme brulee, Lodz"),
        ("٣ apples and ３ pears", "three apples and three pears"),
        ("−3.5 is less than 3-5", "negative three point five is less than three to five"),
        ("8:30-9:45 or 8:30pm or 10am", "eight thirty a.m. to nine forty-five a.m. or eight thirty p.m. or ten a.m."),
        ("￥100, 50％, $5M and £0.05", "one hundred yen, fifty percent, five million dollars and five pence"),
        ("v2.0 and MP3s", "v two point zero and MP threes"),
        ("10 kg at 50 mph", "ten kilograms at fifty miles per hour"),
        ("On March 5, 2024 or 5 May", "On March fifth, twenty twenty-four or the fifth of May"),
        ("3/5/2024, 24/7", "March fifth, twenty twenty-four, twenty-four seven"),
        ("2 1/2 cups", "two and one half cups"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("+1 555 123 4567", "plus one, five five five, one two three, four five six seven"),
        ("https://a.com/b?c=1", "a dot com slash b question mark c equals one"),
        ("john.doe@example.com", "john dot doe at example dot com"),
        ("Mr. & Mrs. Jones of AT&T", "Mister and Missus Jones of A T and T"),
        ("e.g. Fig. 3, vol. 2, pp. 3-5", "for example figure three, volume two, pages three to five"),
        ("Jan. 5 in C# with a Ph.D.", "January fifth in C sharp with a P H D."),
    ],
)
def test_what_is_written_is_said_in_words(written, spoken):
    assert English().normalize(written) == spoken


def test_numbers_have_names_up_to_a_limit_and_are_spelled_beyond_it():
    assert cardinal("1000001") == "one million, one"
    assert cardinal("9" * 36).startswith("nine hundred ninety-nine decillion")
    assert cardinal("9" * 37) == " ".join(["nine"] * 37)
    assert [ordinal("12"), ordinal("20"), ordinal("100")] == ["twelfth", "twentieth", "one hundredth"]
    assert [year(1905), year(1900), year(2000), year(2005), year(1001)] == [
        "nineteen oh five",
        "nineteen hundred",
        "two thousand",
        "two thousand five",
        "ten oh one",
    ]
    assert [fraction("3", "2"), fraction("1", "3"), fraction("1", "0")] == [
        "three halves",
        "one third",
        "one over zero",
    ]


def test_a_hyphenated_number_is_said_by_its_parts():
    assert phones("thirty-four") == "TH ER1 D IY2 F AO1 R"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I record a record.", "AY1 R IH0 K AO1 R D AH0 R EH1 K ER0 D ."),
        ("He read it. I read it.", "HH IY1 R EH1 D IH1 T . AY1 R IY1 D IH1 T ."),
        ("Close the door", "K L OW1 Z DH AH0 D AO1 R"),
    ],
)
def test_neighbors_tell_words_of_one_spelling_apart(text, expected):
    assert phones(text) == expected


def test_capitals_are_spelled_where_they_are_no_word_and_are_loud_among_capitals():
    assert phones("the GPT model").startswith("DH AH0 JH IY1 P IY1 T IY1 M")
    assert phones("the US team").startswith("DH AH0 Y UW1 EH1 S T")
    assert phones("GIVE US MORE") == "G IH1 V AH1 S M AO1 R"
    assert phones("the NASA team").startswith("DH AH0 N AE1 S AH0")
    assert phones("the CEOs").endswith("S IY1 IY1 OW1 Z")


def test_a_possessive_takes_the_sound_that_its_stem_asks_for():
    assert phones("Zorbif's").endswith("F S")
    assert phones("the Zorbish's").endswith("SH AH0 Z")


def test_a_word_that_no_dictionary_has_is_guessed_or_joined_from_words_that_one_has():
    assert phones("the zorbify") == "DH AH0 Z AO0 R B IY1 F IY0"
    assert phones("the doorblah") == "DH AH0 D AO1 R B L AA1"


def test_a_short_text_is_read_again_behind_a_full_stop():
    spoken = phonemize("Hi", "en")

    assert (spoken.phonemes, spoken.norm_text, spoken.retried) == ([",", ".", "HH", "AY1"], ". Hi", True)
