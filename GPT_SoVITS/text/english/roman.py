"""Roman numerals behind a noun or a name, and in front of "century" and the like, in words."""

from __future__ import annotations

import re
from collections.abc import Callable

from GPT_SoVITS.text.english.numbers import cardinal, ordinal

SYMBOLS = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL")),
    *((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
NUMERAL = "[IVXLCDM]{1,15}"
COUNTED = (
    "World War|War|Chapter|Part|Volume|Vol|Book|Act|Scene|Section|Article|Appendix|Phase|Class|Grade|Level|Stage|"
    "Figure|Fig|Table|Episode|Season|Round|Group|Unit|Mark|Mk|Bowl|Title|Tier|Category|Type|Step|Division|Schedule|"
    "Annex|Exhibit|Canto|Movement|Symphony No|Generation|Gen|Factor|Lesson|Module|Area|Zone|Amendment|Mod|Version|"
    "Verse|Page|Item|Rule|Theorem|Lemma|Plate|Level|Region|Sector|Apollo|Saturn|Rocky|Final Fantasy|Gemini|Titan"
)
"""What stands before a number, of which "the second" would be wrong."""
LETTERS = frozenset("CDLM")
"""What names something behind a noun, as in Appendix C and Type C: nobody counts up to it."""
RULERS = frozenset(
    "king queen pope emperor empress tsar czar prince princess saint shah sultan pharaoh kaiser duke".split()  # noqa: SIM905
)
NAMES = frozenset(
    (  # noqa: SIM905
        "adolf alan albert alexander alfonso alfred amenhotep andrew anthony antiochus arthur artaxerxes basil "
        "baudouin benedict boniface canute carl carlos catherine celestine charles christian clement cleopatra "
        "conrad constantine cyrus daniel darius david donald edgar edmund edward elizabeth emmanuel eric erik ethelred "
        "felipe ferdinand francis francois frank franz frederick friedrich george gordon gregory gustav gustavus "
        "haakon harald harold henri henry hugh innocent ivan jack jacques james john jose joseph juan julius justin "
        "justinian karl kenneth leo leopold louis ludwig malcolm manuel margaret margrethe mark martin mary matthew "
        "maximilian mehmed michael mithridates mohammed murad napoleon nebuchadnezzar nicholas nikolai olaf osman otto "
        "paul pedro peter philip philippe pius ptolemy rainier ramesses ramses richard robert roger rudolf rudolph "
        "samuel selim seleucus sigismund sixtus stephen suleiman theodore theodosius thomas thutmose umberto urban "
        "valentinian vladimir walter wilhelm willem william xerxes"
    ).split()
)
FUNCTION_WORDS = frozenset(
    (  # noqa: SIM905
        "a an the in on at by for of and or but if my your his her our their this that use using via with from to is "
        "are was were as it its not no we i you they he she when while after before give given start stop"
    ).split()
)
BEHIND_PRONOUN = frozenset(
    (  # noqa: SIM905
        "am think thought know knew see saw read wrote write found find want wanted like liked love loved need mean "
        "say said told went have had do did will would can could should must felt learned learnt never always also "
        "just really met live lived work worked play played prefer hope guess"
    ).split()
)
"""Words before which I is the pronoun, even behind a noun that is numbered."""


def value_of(numeral: str) -> int | None:
    """Return the value of a numeral that is written the usual way, else None."""
    value, rest = 0, numeral
    for worth, symbol in SYMBOLS:
        count = 0
        while rest.startswith(symbol) and count < 3:
            value, rest, count = value + worth, rest[len(symbol) :], count + 1
    return value if value and not rest and _written(value) == numeral else None


def _written(value: int) -> str:
    pieces = []
    for worth, symbol in SYMBOLS:
        pieces.append(symbol * (value // worth))
        value %= worth
    return "".join(pieces)


def say_numbered(match: re.Match[str]) -> str:
    """Say the numerals behind a noun that is numbered: "Chapters two and three"."""
    noun, first = match[1], match[2]
    following = re.match(r" ([a-z]+)", match.string[match.end() : match.end() + 20])
    may_be_pronoun = first == "I" and not match[3] and not noun.lower().startswith("world")
    if may_be_pronoun and following and (following[1] in BEHIND_PRONOUN or noun[0].islower()):
        return match[0]
    numerals = re.findall(NUMERAL, match[2] + match[3])
    if any(value_of(numeral) is None or numeral in LETTERS for numeral in numerals):
        return match[0]
    if first == "X" and noun.lower() in ("gen", "generation"):
        return match[0]
    tail = re.sub(r" ?- ?", " to ", match[3])
    return noun + " " + re.sub(NUMERAL, lambda m: cardinal(str(value_of(m[0]))), first + tail)


def say_behind_name(match: re.Match[str]) -> str:
    """Return "Henry the eighth", and "Civilization six" behind what is no person's name."""
    word, numeral = match[1], match[2]
    value = value_of(numeral)
    if value is None or value > 89 or word.lower() in FUNCTION_WORDS:
        return match[0]
    previous = re.search(r"([A-Za-z]+) $", match.string[max(match.start() - 30, 0) : match.start()])
    before = previous[1].lower() if previous else ""
    is_ruler = before in RULERS
    is_person = is_ruler or word.lower() in NAMES or before in NAMES
    rest = match.string[match.end() : match.end() + 8]
    if numeral == "I" and not (is_ruler or (is_person and re.match(r"[,;:!?)]|\.?$|\.\s|'s| of ", rest))):
        return match[0]
    if len(numeral) == 1 and (
        not is_person or numeral not in "IVX" or word == "Malcolm" or re.match(r"\. [A-Z]", rest)
    ):
        return match[0]
    if numeral in ("XL", "XXL", "LI", "LL") and not is_person:
        return match[0]
    return f"{word} the {ordinal(str(value))}" if is_person else f"{word} {cardinal(str(value))}"


def say_before_noun(match: re.Match[str]) -> str:
    """Return "nineteenth century" for XIX century."""
    value = value_of(match[1])
    return match[0] if value is None else f"{ordinal(str(value))} {match[2]}"


def say_year(match: re.Match[str]) -> str:
    """Return the digits of a year, which are said as those of any."""
    value = value_of(match[0])
    return match[0] if value is None else str(value)


def roman_rules() -> list[tuple[str, Callable[[re.Match[str]], str]]]:
    """Return the patterns of numerals and what is said for them."""
    behind = r"(?![\w]|'(?:m|ve|ll|d)\b)"
    more = rf"((?:(?:, |,? and |,? or | to | ?[-&] ?){NUMERAL}\b){{0,9}})"
    return [
        (rf"\b((?i:{COUNTED})s?\.?) ({NUMERAL})\b{more}{behind}", say_numbered),
        (rf"\b([A-Z][A-Za-z]{{1,20}}) ([IVXL]{{1,8}}){behind}", say_behind_name),
        (rf"\b({NUMERAL}) ((?i:century|centuries|dynasty|olympiad|corps|legion))\b", say_before_noun),
        (r"\bM[MDCLXVI]{4,14}\b", say_year),
    ]
