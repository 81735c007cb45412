"""English texts that users reported as misread, with many more of each class."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.text import split_for_speech
from GPT_SoVITS.text.english.frontend import English

ACTS = {
    "II": "two",
    "III": "three",
    "IV": "four",
    "V": "five",
    "VI": "six",
    "VII": "seven",
    "IX": "nine",
    "XII": "twelve",
}
ORDINALS = {"II": "second", "III": "third", "IV": "fourth", "VI": "sixth", "VIII": "eighth", "XIV": "fourteenth"}
MONTHS = {
    "Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "Jun": "June", "Jul": "July", "Aug": "August",
    "Sep": "September", "Sept": "September", "Oct": "October", "Nov": "November", "Dec": "December",
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1,084.", "one thousand, eighty-four."),
        ("It was 1,999 dollars", "It was one thousand, nine hundred ninety-nine dollars"),
        ("1,001 nights", "one thousand, one nights"),
        ("In 1,066 cases", "In one thousand, sixty-six cases"),
        ("2,024 people in 2024", "two thousand, twenty-four people in twenty twenty-four"),
        ("1,084km", "one thousand, eighty-four kilometers"),
        ("1999 dollars", "one thousand, nine hundred ninety-nine dollars"),
        ("-1,084", "negative one thousand, eighty-four"),
        ("1,084.5", "one thousand, eighty-four point five"),
        ("1,500-2,000 people", "one thousand, five hundred to two thousand people"),
        ("1,200th", "one thousand, two hundredth"),
        ("1'000", "one thousand"),
        ("$1,999", "one thousand, nine hundred ninety-nine dollars"),
        ("1,500%", "one thousand, five hundred percent"),
    ],
)
def test_a_number_with_commas_is_a_quantity(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize(
    "noun", ["Chapter", "Act", "Part", "Volume", "Book", "Section", "Type", "Phase", "Episode", "Level"]
)
@pytest.mark.parametrize("numeral", ACTS)
def test_a_roman_numeral_behind_a_noun_is_a_number(noun, numeral):
    assert English().normalize(f"{noun} {numeral}") == f"{noun} {ACTS[numeral]}"


@pytest.mark.parametrize("name", ["Henry", "Louis", "Elizabeth", "Pope John Paul", "King George", "Napoleon", "Ramses"])
@pytest.mark.parametrize("numeral", ORDINALS)
def test_a_roman_numeral_behind_a_name_is_an_ordinal(name, numeral):
    assert English().normalize(f"{name} {numeral}") == f"{name} the {ORDINALS[numeral]}"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("World War II", "World War two"),
        ("World War I was long", "World War one was long"),
        ("Henry VIII's wives", "Henry the eighth's wives"),
        ("Chapter I", "Chapter one"),
        ("Chapters IV and V", "Chapters four and five"),
        ("Act III, Scene II", "Act three, Scene two"),
        ("Queen Elizabeth I ruled", "Queen Elizabeth the first ruled"),
        ("Louis XIV of France", "Louis the fourteenth of France"),
        ("John Smith III", "John Smith the third"),
        ("the XIX century", "the nineteenth century"),
        ("Super Bowl LVIII", "Super Bowl fifty-eight"),
        ("Final Fantasy VII", "Final Fantasy seven"),
        ("Apollo XIII", "Apollo thirteen"),
        ("I think so", "I think so"),
        ("You and I", "You and I"),
        ("In Chapter I found it", "In Chapter I found it"),
        ("Then Henry I met him", "Then Henry I met him"),
        ("Malcolm X", "Malcolm X"),
        ("Windows XP", "Windows XP"),
        ("Appendix C and Group D", "Appendix C and Group D"),
        ("USB Type C", "USB Type C"),
        ("Sections C and D", "Sections C and D"),
        ("Gen X", "Gen X"),
        ("Vitamin C", "Vitamin C"),
        ("An IV drip", "An IV drip"),
        ("the CD", "the CD"),
    ],
)
def test_a_letter_that_is_no_numeral_stays(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("9am-5pm", "nine a.m. to five p.m."),
        ("9 am - 5 pm", "nine a.m. to five p.m."),
        ("9am–5pm", "nine a.m. to five p.m."),
        ("9-5pm", "nine to five p.m."),
        ("8:30am-5:30pm", "eight thirty a.m. to five thirty p.m."),
        ("9am-noon", "nine a.m. to noon"),
        ("It took 1:30 hours", "It took one hour and thirty minutes"),
        ("2:45 minutes", "two minutes and forty-five seconds"),
        ("2:00 hours", "two hours"),
        ("1:30:15 hours", "one hour, thirty minutes and fifteen seconds"),
        ("at 4:00", "at four o'clock"),
        ("at 7:00.", "at seven o'clock."),
        ("at 4:00 pm", "at four p.m."),
        ("16:9 or 3:2", "sixteen to nine or three to two"),
        ("pages 3-5", "pages three to five"),
        ("3—5", "three to five"),
        ("5km-10km", "five kilometers to ten kilometers"),
        ("2-3kg", "two to three kilograms"),
        ("5%-6%", "five percent to six percent"),
        ("5°-10°", "five degrees to ten degrees"),
        ("$5-$10", "five to ten dollars"),
        ("$3-4", "three to four dollars"),
        ("$5-10 million", "five to ten million dollars"),
        ("1990s-2000s", "nineteen nineties to two thousands"),
        ("Mon-Fri", "Monday to Friday"),
        ("noon-5pm", "noon to five p.m."),
        ("1h 30m", "one hour and thirty minutes"),
        ("2h30m", "two hours and thirty minutes"),
        ("1h30", "one hour and thirty minutes"),
        ("5 min 30 s", "five minutes and thirty seconds"),
        ("1h30m15s", "one hour, thirty minutes and fifteen seconds"),
        ("at 24:00", "at twelve o'clock a.m."),
        ("pages 10 – 12", "pages ten to twelve"),
        ("5 – 3 = 2", "five minus three Equals two"),
        ("1990--1995", "nineteen ninety to nineteen ninety-five"),
        ("-5--3", "negative five to negative three"),
        ("Jan-Mar", "January to March"),
    ],
)
def test_ranges_times_and_durations_are_said_as_such(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize("short", MONTHS)
@pytest.mark.parametrize("point", ["", "."])
def test_a_shortened_month_beside_a_day_is_written_out(short, point):
    month = MONTHS[short]

    assert English().normalize(f"{short}{point} 3rd") == f"{month} third"
    assert English().normalize(f"{short}{point} 31") == f"{month} thirty-first"
    assert English().normalize(f"on 12 {short}{point} 2020") == f"on the twelfth of {month} twenty twenty"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("2024/25", "twenty twenty-four twenty-five"),
        ("2019/20", "twenty nineteen twenty"),
        ("1999/2000", "nineteen ninety-nine to two thousand"),
        ("2024/12", "December twenty twenty-four"),
        ("2024/3/5", "March fifth, twenty twenty-four"),
        ("3/5/24", "March fifth, twenty twenty-four"),
        ("31/12/2024", "December thirty-first, twenty twenty-four"),
        ("Jan 3-5", "January third to fifth"),
        ("3-5 May", "the third to the fifth of May"),
        ("25th Dec", "twenty-fifth of December"),
        ("Nov 30, 2023", "November thirtieth, twenty twenty-three"),
        ("Dec 24 - Jan 2", "December twenty-fourth to January second"),
        ("Jan 1-Feb 2", "January first to February second"),
        ("24 Dec - 2 Jan", "the twenty-fourth of December to the second of January"),
        ("24-26 Dec", "the twenty-fourth to the twenty-sixth of December"),
        ("the deadline - January 5", "the deadline January fifth"),
        ("FY2024/25", "FY twenty twenty-four twenty-five"),
        ("Dec '99", "December ninety-nine"),
    ],
)
def test_dates_are_dates_in_whatever_form(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("$.50", "fifty cents"),
        ("€.75", "seventy-five cents"),
        ("£.20", "twenty pence"),
        ("50¢", "fifty cents"),
        ("1¢", "one cent"),
        ("2M views", "two million views"),
        ("500K views", "five hundred thousand views"),
        ("3B people", "three billion people"),
        ("1.5M", "one point five million"),
        ("4K TV", "four K TV"),
        ("$2.5bn", "two point five billion dollars"),
        ("$1.2T", "one point two trillion dollars"),
        ("US$5.50", "five US dollars and fifty cents"),
        ("HK$50", "fifty Hong Kong dollars"),
        ("100 USD", "one hundred US dollars"),
        ("EUR 20", "twenty euros"),
        ("GBP 3.5", "three point five pounds"),
        ("₩1,000", "one thousand won"),
        ("100₽", "one hundred rubles"),
        ("₹5", "five rupees"),
        ("$5/month", "five dollars per month"),
        ("$-5.50", "minus five dollars and fifty cents"),
        ("$100 USD", "one hundred US dollars"),
        ("$5CAD", "five Canadian dollars"),
        ("20¢/min", "twenty cents per minute"),
        ("₿0.5", "zero point five bitcoins"),
        ("3tn", "three trillion"),
    ],
)
def test_money_and_large_numbers_keep_their_worth(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("5'11\"", "five feet eleven inches"),
        ("5′11″", "five feet eleven inches"),
        ("6’2”", "six feet two inches"),
        ("5' 1\"", "five feet one inch"),
        ("1'6\"", "one foot six inches"),
        ("6' tall", "six feet tall"),
        ("4'x8'", "four feet by eight feet"),
        ('a 27" monitor', "a twenty-seven inch monitor"),
        ('He said "it was 5"', "He said it was five"),
        ("10 m²", "ten square meters"),
        ("5 km/s", "five kilometers per second"),
        ("120 mmHg", "one hundred twenty millimeters of mercury"),
        ("5µm", "five micrometers"),
        ("1500km", "one thousand, five hundred kilometers"),
        ("5 °C", "five degrees celsius"),
        ('8.5"x11"', "eight point five inches by eleven inches"),
        ('2" x 4" x 8\'', "two inches by four inches by eight feet"),
        ("5 ft. 11 in. tall", "five feet eleven inches tall"),
        ("5ft11", "five feet eleven inches"),
        ("6ft2", "six feet two inches"),
        ("100 ft2", "one hundred square feet"),
        ("6 ft. tall", "six feet tall"),
        ("10 in. of snow", "ten inches of snow"),
        ("I ran 5 mi. Then", "I ran five miles. Then"),
        ("5 sq. ft. of", "five square feet of"),
        ("5 mg/dL", "five milligrams per deciliter"),
        ("5mmol/L", "five millimoles per liter"),
        ("5 g/cm³", "five grams per cubic centimeter"),
        ("9.8 m/s²", "nine point eight meters per second squared"),
        ("5 L/min", "five liters per minute"),
        ("1 ft/s", "one foot per second"),
        ("5 kg/day", "five kilograms per day"),
        ("1.5x faster", "one point five x faster"),
    ],
)
def test_measures_are_said_with_their_units(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("5*6=30", "five times six Equals thirty"),
        ("5 < 6", "five is less than six"),
        ("7 > 3", "seven is greater than three"),
        ("5 <= 6", "five at most six"),
        ("5 >= 4", "five at least four"),
        ("3 != 4", "three is not four"),
        ("<5%", "less than five percent"),
        ("10^6", "ten to the power of six"),
        ("10^-6", "ten to the power of minus six"),
        ("x^2", "x squared"),
        ("10⁶", "ten to the power of six"),
        ("10⁻³", "ten to the power of minus three"),
        ("1.5e10", "one point five times ten to the power of ten"),
        ("1e-5", "one times ten to the power of minus five"),
        ("2**3", "two cubed"),
        ("5-3=2", "five minus three Equals two"),
        ("1920x1080", "nineteen twenty by ten eighty"),
        ("3 x 4 = 12", "three times four Equals twelve"),
        ("a*b", "a times b"),
        ("~5", "about five"),
        ("#tag and #1", "hashtag tag and number one"),
        ("3/4/5/6", "three slash four slash five slash six"),
        ("<b>bold</b> **text**", "bold text"),
    ],
)
def test_symbols_that_carry_meaning_are_read(written, spoken):
    assert English().normalize(written).strip() == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Mr.Smith", "Mister Smith"),
        ("Mrs.Jones", "Missus Jones"),
        ("Dr.Who", "Doctor Who"),
        ("Node.js", "Node dot js"),
        ("Vue.js.", "Vue dot js."),
        ("ASP.NET", "ASP dot NET"),
        ("file.txt", "file dot txt"),
        ("main.py", "main dot py"),
        ("10.0.0.1:8080", "ten dot zero dot zero dot one port eight thousand, eighty"),
        ("localhost:3000", "localhost port three thousand"),
        ("10.0.0.0/24", "ten dot zero dot zero dot zero slash twenty-four"),
        ("p.5", "p point five"),
        ("example.com:80", "example dot com port eighty"),
        ("at 5 p.m. and", "at five p.m. and"),
    ],
)
def test_a_full_stop_inside_a_word_is_no_pause(written, spoken):
    assert English().normalize(written) == spoken


@pytest.mark.parametrize("language", ["en", "auto"])
@pytest.mark.parametrize(
    "word",
    [
        "Mr.Smith",
        "Node.js",
        "file.txt",
        "10.0.0.1:8080",
        "example.com:8080",
        "v1.2.3",
        "U.S. army",
        "Fig. 3",
        "Jan. 5",
        "p.m. and",
    ],
)
def test_a_full_stop_inside_a_word_ends_no_utterance(word, language):
    first, second = f"We all talked about {word} for a very long time.", "Then we went back home again together."

    assert [utterance.text for utterance in split_for_speech(f"{first} {second}", language)] == [first, second]


LEFT = st.integers(1, 8).map(str)
RIGHT = st.integers(1, 99).map(str)
BETWEEN = st.sampled_from(
    [*"*<>^=+×÷±≈≠≤≥~&@/|\\_#°%()[]{};:!?-–—,.'\" ", " < ", " > ", " * ", " ~ ", " - ", "('", "\u3000"]
)
MEANINGFUL = st.sampled_from([*"*<>^=+×÷±≈≠≤≥~&@/|\\_#°%-–"])


@settings(max_examples=300)
@given(left=LEFT, right=RIGHT, between=BETWEEN)
def test_no_character_between_two_numbers_merges_them(left, right, between):
    assert English().normalize(left + between + right) != English().normalize(left + right)


@settings(max_examples=300)
@given(left=LEFT, right=RIGHT, symbol=MEANINGFUL)
def test_no_symbol_between_two_numbers_is_dropped(left, right, symbol):
    assert English().normalize(left + symbol + right) != English().normalize(f"{left} {right}")
