"""The patterns of English numbers, dates, money, units, addresses and abbreviations, with what is said for each.

Every pattern either has a bounded length or cannot match from a position inside an earlier attempt, so the time stays
linear in the length of the text. Order matters: what reads more of a number comes before what reads less of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from GPT_SoVITS.text.english.expansions import (
    ABBREVIATIONS,
    ALWAYS_TITLES,
    AREAS,
    COUNT_SCALES,
    CURRENCIES,
    CURRENCY_CODES,
    DOLLARS,
    EXTENSIONS,
    MODEL_NOUNS,
    MONTHS,
    OPERATORS,
    PER,
    SCALE_WORDS,
    SCALES,
    SHORT_MONTHS,
    SPACED_UNITS,
    SYMBOL_WORDS,
    TITLES,
    TOP_LEVEL,
    WEEKDAYS,
)
from GPT_SoVITS.text.english.numbers import cardinal, fraction, ordinal
from GPT_SoVITS.text.english.replacements import (
    QUANTITY_PREFIX,
    join_digits,
    keep_apostrophe,
    plural,
    say_abbreviation,
    say_address,
    say_american_date,
    say_cents,
    say_date,
    say_day_of_month,
    say_days,
    say_days_of_month,
    say_decade,
    say_decimal,
    say_dollars,
    say_duration,
    say_host_and_port,
    say_initials,
    say_integer,
    say_list_numbers,
    say_measure,
    say_money,
    say_money_with_code,
    say_money_with_symbol_last,
    say_name_range,
    say_per,
    say_power,
    say_telephone,
    say_time,
    say_two_years,
    unit_names,
)
from GPT_SoVITS.text.english.roman import roman_rules

Replacement = str | Callable[[re.Match[str]], str]
Rules = list[tuple[str, Replacement]]
Q = QUANTITY_PREFIX
N = "[0-9]+(?:\\.[0-9]+)?"
CLOCK = r"([01]?[0-9]|2[0-3]|24(?=:00)):([0-5][0-9])(?::([0-5][0-9]))?"
DAY = "(0?[1-9]|[12][0-9]|3[01])"
SCALE = rf" (?:{SCALE_WORDS})\b|(?:{'|'.join(sorted(SCALES, key=len, reverse=True))})(?![A-Za-z0-9])"


@cache
def rules() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    """Return what is replaced, in order, in a text of ASCII characters and the symbols that have words."""
    groups = (
        _names_and_addresses(),
        _dates(),
        _arithmetic(),
        _times(),
        _money(),
        _quantities(),
        _numbers(),
        _spelling(),
    )
    return tuple((re.compile(pattern, re.ASCII), replacement) for group in groups for pattern, replacement in group)


def _names_and_addresses() -> Rules:
    host = rf"((?:[A-Za-z0-9_-]{{1,63}}[.@]){{1,8}}(?:{TOP_LEVEL}))(?![\w@-])"
    abbreviations = "|".join(re.escape(name) for name in ABBREVIATIONS)
    months = "|".join(SHORT_MONTHS)
    return [
        (r"[ \t]{2,}", " "),
        (r"(?<![\w.)])(-[0-9.]{1,20})--(?=[0-9])", r"\1 to -"),
        (r"(?<=[0-9])(?:—|--)(?=[0-9])", "-"),
        (r" ?— ?", ", "),
        (r"</?[A-Za-z][A-Za-z0-9]{0,10}(?: [^<>]{0,200}=[^<>]{0,200})?/?>", " "),
        (
            r"(?<![\w.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::([0-9]{1,5})|/([0-9]{1,2}))?(?!\w|[.:/][0-9])",
            say_host_and_port,
        ),
        (rf"((?:\.(?:{TOP_LEVEL})|\blocalhost)):([0-9]{{2,5}})(?![0-9:])", r"\1 port \2"),
        (rf"(?<![\w.@-])(?:https?://)?{host}((?:/[\w.~%-]{{1,99}}){{0,9}}/?(?:\?[\w.~%=&-]{{1,199}})?)", say_address),
        (r"https?://", ""),
        (rf"\b({'|'.join(TITLES)})\.(?= ?[A-Z])", lambda m: TITLES[m[1]]),
        (rf"\b({'|'.join(ALWAYS_TITLES)})\.(?![a-z0-9_])", lambda m: ALWAYS_TITLES[m[1]]),
        (rf"\b({months})\.?(?= ?'?[0-9])", lambda m: SHORT_MONTHS[m[1]]),
        (rf"(?<=[0-9](?:st|nd|rd|th)) (?:of )?({months})\b\.?(?! ?[A-Z])", lambda m: f" of {SHORT_MONTHS[m[1]]}"),
        (
            rf"(?<![\w.,:$-])((?:{DAY} ?- ?)?{DAY}) ({months})\b\.?(?! ?[A-Z])",
            lambda m: f"{m[1]} {SHORT_MONTHS[m[4]]}",
        ),
        *roman_rules(),
        (r"\b([A-Z])([A-Z]?)&([A-Z])\b", r"\1 \2 and \3"),
        (r"\b([CF])#(?![\w#])", r"\1 sharp"),
        (r"\b[Nn]o\. ?(?=[0-9])", "number "),
        (r"#(?=[0-9])", "number "),
        (r"#(?=[A-Za-z])", " hashtag "),
        (rf"(?<![\w.])((?i:{abbreviations}))\.(?=( ?[A-Z]| ?$)?)", say_abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", say_initials),
        (rf"(?<=[A-Za-z0-9])\.(?=[a-z](?!m\b)[a-z]|[chr]\b(?!\.)|(?:{EXTENSIONS})\b)", " dot "),
        (r"(?:(?<=[ (])|^)\.(?=(?:NET|[a-z]{2,5})\b)", "dot "),
    ]


def _dates() -> Rules:
    months = "|".join(MONTHS)
    names = "|".join(sorted((*MONTHS, *SHORT_MONTHS), key=len, reverse=True))
    days = "|".join(sorted((*WEEKDAYS.values(), *WEEKDAYS), key=len, reverse=True))
    return [
        (r"\bFY(?='?[0-9])", "FY "),
        (r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3}){1,12}(?!,?[0-9])", join_digits),
        (r"(?s).+", say_list_numbers),
        (rf"\b({names})\.? ?- ?({names})\b", say_name_range),
        (rf"\b({days})\.? ?- ?({days})\b", say_name_range),
        (rf"((?<=[0-9])|(?<=[0-9](?:st|nd|rd|th))) ?- ?(?=(?:{months}) [0-9])", " to "),
        (rf"\b({months}) ?- ?(?={DAY} (?:{months})\b)", r"\1 to "),
        (rf"\b({months}) {DAY} ?- ?{DAY}(?![\w:-]|\.[0-9])", say_days),
        (rf"(?<![\w.,:$-]){DAY} ?- ?{DAY} ({months})\b", say_days_of_month),
        (rf"\b({months}) {DAY}(?![\w:]|\.[0-9]|,[0-9]{{1,3}}(?![0-9]))", lambda m: f"{m[1]} {ordinal(m[2])}"),
        (rf"(?<![\w.,:$-]){DAY} ({months})\b", say_day_of_month),
        (r"(?<=[0-9](?:st|nd|rd|th))-(?=[0-9])", " to "),
        (r"(?<=[0-9]s)-(?='?[0-9]{2,4}s\b)", " to "),
        (r"(?<![0-9/.,])([0-9]{1,4}) ([1-9])/([2-9])(?![0-9/])", r"\1 and \2/\3"),
        (r"(?<![\w/])(9)/(11)(?![\w/])|(?<![\w/])(24)/(7)(?![\w/])", lambda m: m[0].replace("/", " ")),
        (r"(?<![\w/])([0-9]{1,2})/([0-9]{1,2})/([12][0-9]{3}|[0-9]{2})(?![\w/])", say_american_date),
        (r"(?<![\w/])([12][0-9]{3})/(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])(?![\w/])", say_date),
        (r"(?<![\w/])((?:19|20)[0-9]{2})/((?:19|20)?[0-9]{2})(?![\w/])", say_two_years),
        (r"(?<![\w)-])\(([0-9]{3})\) ?([0-9]{3})[- ]([0-9]{4})(?![\w-])", r"\1-\2-\3"),
        (r"(?<![\w-])(\+[0-9]{1,3})((?: [0-9]{2,4}){2,5})(?![\w-])", lambda m: m[0].replace(" ", "-")),
        (r"(?<![\w-])([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])", say_date),
    ]


def _arithmetic() -> Rules:
    right = rf"(?=[\w({Q}.$])"
    return [
        (rf"(?<![\w.])({N})[eE]\+?(-?[0-9]{{1,3}})(?!\w)", r"\1 times 10^\2"),
        (rf"(?<=[0-9]) ([+\-×÷=*/]) (?={Q}?[0-9])", lambda m: f" {OPERATORS[m[1]]} "),
        (r"(?<=[0-9)])-(?=[0-9.]{1,40} ?=)", " minus "),
        (r"(?<=[0-9)])/(?=[0-9.]{1,40} ?=)", " divided by "),
        (rf"(?<=[0-9)]) ?[xX] ?(?={Q}?[0-9.]{{1,40}} ?(?:=|Equals))", " times "),
        (rf"(?<=[1-9]) ?[xX] ?(?={Q}?[0-9])|(?<=[0-9]0) ?[xX] ?(?={Q}?[0-9])", " by "),
        (r"(?<=[0-9)])\*\*(?=[0-9(-])", "^"),
        (r"(?<=[\w)]) \* (?=[\w(])|(?:(?<=[0-9)])|(?<=\b[A-Za-z]))\*(?=[0-9(]|[A-Za-z](?![A-Za-z*]))", " times "),
        (r"(?<=[\w)]) ?\^ ?[({]?(-?[A-Za-z0-9.]{1,9}(?<!\.))[)}]?", say_power),
        (r" ?(?:<?-{1,2}>|<-{1,2}|=>) ?", ", "),
        (r" ?<= ?", " at most "),
        (r" ?>= ?", " at least "),
        (r" ?!= ?", " is not "),
        (r" ?== ?", " Equals "),
        (rf"(?<=[\w)%]) ?< ?-?{right}", lambda m: " is less than " + ("-" if "-" in m[0] else "")),
        (rf"(?<=[\w)%]) ?> ?-?{right}", lambda m: " is greater than " + ("-" if "-" in m[0] else "")),
        (rf"< ?(?=-?{Q}?[$£€.0-9])", " less than "),
        (rf"> ?(?=-?{Q}?[$£€.0-9])", " more than "),
        (rf"(?<=[0-9]) ?~ ?(?=[$£€]?{Q}?\.?[0-9])", " to "),
        (rf"~ ?(?=[$£€]?{Q}?\.?[0-9])", " about "),
        (r"\\ ?(?=\w)", " backslash "),
        (r"(?<=\w) ?\| ?(?=\w)", ", "),
        (r"(?<=[0-9])_(?=[0-9])", " underscore "),
    ]


def _times() -> Rules:
    am_pm = r"(?: ?([AaPp])\.?[Mm]\b\.?)?"
    half = r" ?[AaPp]\.?[Mm]\b\.?"
    hour = r"(?:1[0-2]|0?[1-9])(?::[0-5][0-9])?"
    return [
        (
            r"(?<![\w:.,])([0-9]{1,3}):([0-5][0-9])(?::([0-5][0-9]))?[ -]?(hours?|hrs?|h|minutes?|mins?)\b",
            lambda m: say_duration(m.groups()[:3], is_minutes=m[4][0].lower() == "m"),
        ),
        (
            r"(?<![\w:.,])([0-9]{1,3})"
            r"(?:h(?=[0-5][0-9](?![A-Za-z0-9]))| ?(?:h|hrs?)(?= ?[0-5]?[0-9] ?m(?:ins?)?(?![a-z])))"
            r" ?([0-5]?[0-9])(?: ?m(?:ins?)?)?(?: ?([0-5]?[0-9]) ?s(?:ecs?)?)?(?!\w)",
            lambda m: say_duration(m.groups(), is_minutes=False),
        ),
        (
            r"(?<![\w:.,])([0-9]{1,3}) ?m(?:ins?)? ?([0-5]?[0-9]) ?s(?:ecs?)?(?!\w)",
            lambda m: say_duration(m.groups(), is_minutes=True),
        ),
        (r"\b(noon|midnight) ?- ?(?=[0-9])", r"\1 to "),
        (rf"(?<=[0-9])({half})? ?- ?(?={hour}{half})", lambda m: f"{m[1] or ''} to "),
        (rf"(?<=[AaPp][Mm]) ?- ?(?={CLOCK}|noon|midnight|[0-9])", " to "),
        (rf"(?<=[0-9])-(?={CLOCK}(?![0-9:]))", " to "),
        (rf"(?<![\w:]){CLOCK}(?![0-9:]){am_pm}(?![0-9A-Za-z])", say_time),
        (r"(?<![\w:.,$£€-])(1[0-2]|0?[1-9]) ?([AaPp])\.?[Mm]\b(\.?)", lambda m: f"{cardinal(m[1])} {m[2].lower()}.m."),
        (r"(?<![0-9:.])([0-9]{1,3}):([0-9]{1,3})(?![0-9:])", r"\1 to \2"),
    ]


def _money() -> Rules:
    currencies = "".join(CURRENCIES)
    dollars, codes = "|".join(DOLLARS), "|".join(CURRENCY_CODES)
    return [
        (rf"([0-9](?: (?:{SCALE_WORDS})|[KkMB])?[{currencies}¢]?)/ ?({PER})\b", say_per),
        (rf"([{currencies}]) ?\.(?=[0-9])", r"\g<1>0."),
        (rf"(?<![\w.])([{currencies}]) ?-(?={Q}?[0-9])", r"-\1"),
        (rf"(?:\b(?:{dollars}))?[{currencies}] ?(?={Q}?{N}(?:{SCALE})? ?(?:{codes})\b)", ""),
        (
            rf"([{currencies}]) ?((?:{N})(?:{SCALE})?) ?- ?\1? ?(?={N})(?![0-9]{{1,4}}-)",
            lambda m: f"{m[2]} to {m[1]}",
        ),
        (rf"(?<=[0-9])([{currencies}]) ?- ?(?={N} ?\1)", r"\1 to "),
        (rf"\b({dollars})\$ ?([0-9]+)(?:\.([0-9]+))?({SCALE})?(?![0-9])", say_dollars),
        (
            rf"\b(?:({codes}) ?{Q}?([0-9]+)(?:\.([0-9]+))?({SCALE})?(?![0-9])"
            rf"|(?<!\.)([0-9]+)(?:\.([0-9]+))?({SCALE})? ?({codes})\b)",
            say_money_with_code,
        ),
        (rf"(?<![\w.])(-?)([{currencies}]) ?([0-9]+)(?:\.([0-9]+))?({SCALE})?(?![0-9])", say_money),
        (rf"(?<![\w.])()([0-9]+)(?:\.([0-9]+))? ?([{currencies}])(?![0-9])", say_money_with_symbol_last),
        (rf"(?<![\w.])({N}) ?¢|¢ ?({N})", say_cents),
    ]


def _quantities() -> Rules:
    units = "|".join(re.escape(unit) for unit in sorted(unit_names(), key=len, reverse=True))
    scales = "|".join(sorted(COUNT_SCALES, key=len, reverse=True))
    per = "|".join(map(re.escape, sorted({*unit_names(), *AREAS, *PER.split("|")}, key=len, reverse=True)))
    spaced = "|".join(re.escape(unit) for unit in sorted(SPACED_UNITS, key=len, reverse=True))
    return [
        (rf"(?:(?<=[\s(])|^)-(?={Q}?[0-9.])", "negative "),
        (r"(?<![0-9A-Za-z])'?([12][0-9]{2}|[2-9])0s\b", say_decade),
        (rf"(?<=[0-9])( ?(?:{units}|[%°]))-(?={N} ?(?:{units}|[%°]))", r"\1 to "),
        (
            rf"(?<![\w.]){Q}?({N})({scales})(?!\w)(?! (?:{MODEL_NOUNS})\b)",
            lambda m: f"{Q}{m[1]} {COUNT_SCALES[m[2]]}",
        ),
        (rf"(?<![\w.]){Q}?({N})({units})(?:/({per}))?(?![A-Za-z0-9])", say_measure),
        (rf"(?<![\w.]){Q}?({N}) ({units})/({per})(?![\w/])", say_measure),
        (rf"(?<![\w.]){Q}?({N}) ({spaced})()(?![\w/])", say_measure),
        (
            rf"(?<![\w.,$]){Q}?({N})(?= (?:dollars|euros|pounds|yen|yuan|percent|people|times|points|votes)\b)",
            rf"{Q}\1",
        ),
        (r"(?<=[A-Za-z])([0-9]{1,3})s\b", lambda m: f" {plural(cardinal(m[1]))}"),
        (r"(?<=[A-Za-z])(?=[0-9])", " "),
    ]


def _numbers() -> Rules:
    return [
        (r"(?<![\w-])\+?[0-9]{1,4}(?:-[0-9]{2,4}){2,4}(?![\w-])", say_telephone),
        (r"(?<![\w-])[0-9]{3}-[0-9]{4}(?![\w-])", say_telephone),
        (rf"(?<=[0-9])-(?={Q}?\.?[0-9])", " to "),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}(?![0-9])", lambda m: " point ".join(map(cardinal, m[0].split(".")))),
        (rf"{Q}?(?<![0-9])([0-9]*)\.([0-9]+)", say_decimal),
        (r"(?<![0-9/])([0-9]+) ?/ ?([0-9]+)(?![0-9/])", lambda m: fraction(m[1], m[2])),
        (r"(?<=[0-9]) ?/ ?(?=[0-9])", " slash "),
        (rf"(?<![0-9A-Za-z]){Q}?([0-9]+)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1])),
        (r"(?<=[0-9])(?=[A-Za-z])", " "),
        (rf"{Q}?[0-9]+", lambda m: say_integer(m[0])),
        (Q, ""),
    ]


def _spelling() -> Rules:
    return [
        (rf"[{re.escape(''.join(SYMBOL_WORDS))}]", lambda m: SYMBOL_WORDS[m[0]]),
        (r"[;:]", ","),
        (r"(?<![A-Za-z])'+|'+(?![A-Za-z])", keep_apostrophe),
        (r"[^A-Za-z'.,?!\- ]", " "),
        (r" {2,}", " "),
        (r" (?=[,.!?](?: |$))", ""),
        (r"(?<=[^A-Z '])(?=[A-Z])", " "),
        (r"([!?,.\- ])[!?,.\-]+", r"\1"),
        (r" {2,}", " "),
    ]
