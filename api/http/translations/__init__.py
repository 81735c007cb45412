"""Chinese for the messages and hints of errors, for clients that send `Accept-Language: zh`. Codes stay as they are.

A text is translated as a whole, or sentence by sentence when it consists of several. What has no translation gets the
sentence of its code, with the original behind it: nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Final

from api.http.translations.codes import BY_CODE
from api.http.translations.fragments import FRAGMENTS, PROBLEMS
from api.http.translations.general import GENERAL
from api.http.translations.hints import HINTS
from api.http.translations.messages_of_api import API_MESSAGES
from api.http.translations.messages_of_core import CORE_MESSAGES
from api.http.translations.messages_of_models import MODEL_MESSAGES
from api.http.translations.messages_of_roles import ROLE_MESSAGES
from api.http.translations.records import RECORD_SENTENCES
from api.http.translations.validation import VALIDATION

TEMPLATES: Final[dict[str, str]] = {
    **API_MESSAGES,
    **CORE_MESSAGES,
    **ROLE_MESSAGES,
    **MODEL_MESSAGES,
    **RECORD_SENTENCES,
    **HINTS,
}
"""English sentence → Chinese sentence. Of `{0}`, `{1}` the number is the place in the English one."""
MAX_LENGTH: Final = 4000
"""Characters of a text that is translated; a longer one is what a caller sent rather than what the server says."""
MAX_SENTENCES: Final = 12

_UNKNOWN_CODE: Final = ("操作无法完成。", "")
"""Of the model library, whose codes belong to jobs."""
_PLACE: Final = re.compile(r"\{(\d*)\}")
_COUNT: Final = re.compile(r"([a-z ]+) (\d+)")
_BETWEEN_SENTENCES: Final = re.compile(r"((?<=[.!?]) (?=[A-Z`'{])|; )")

Patterns = list[tuple[re.Pattern[str], str]]


def prefers_chinese(accept_language: str) -> bool:
    """Return whether an `Accept-Language` header ranks Chinese above English and everything else."""
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language.split(",")[:20]):
        tag, _, parameter = part.strip().partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if tag.strip() and quality > 0:
            ranked.append((-quality, place, tag.strip().lower()))
    return bool(ranked) and min(ranked)[2].split("-")[0] == "zh"


@lru_cache(maxsize=1024)
def translate(code: str, message: str, hint: str) -> tuple[str, str]:
    """Return the message and the hint of an error in Chinese; what has no translation stands behind its code's."""
    code_message, code_hint = BY_CODE.get(code, _UNKNOWN_CODE)
    return _translate(code, message, code_message), _translate(code, hint, code_hint) if hint else ""


@lru_cache(maxsize=1024)
def translate_text(text: str) -> str:
    """Return what a record says, such as how far a job is, in Chinese; what has no translation stays as it is."""
    return _translate("", text, "")


def _translate(code: str, text: str, fallback: str) -> str:
    if len(text) <= MAX_LENGTH:
        translated = _translate_sentences(code, text)
        if translated is not None:
            return translated
    return f"{fallback}（{text}）" if fallback else text


def _translate_sentences(code: str, text: str) -> str | None:
    """Return a text in Chinese, divided into sentences that each have a translation; None when it cannot be."""
    pieces = _BETWEEN_SENTENCES.split(text)  # sentences, and what is between two of them
    if len(pieces) > 2 * MAX_SENTENCES:
        return _translate_sentence(code, text)

    @cache
    def translate_from(start: int) -> str | None:
        if start >= len(pieces):
            return ""
        # A value may hold the end of a sentence, so a longer piece is tried when the rest cannot be translated.
        for end in range(start + 1, len(pieces) + 1, 2):
            if (rest := translate_from(end + 1)) is not None:
                sentence = _translate_sentence(code, "".join(pieces[start:end]))
                if sentence is not None:
                    return sentence + ("；" if pieces[end : end + 1] == ["; "] else "") + rest
        return None

    return translate_from(0)


def _translate_sentence(code: str, text: str) -> str | None:
    for pattern, template in _patterns():
        if match := pattern.fullmatch(text):
            # A value may be a sentence itself, such as the reason of a failure.
            return _fill(template, [translate_value(code, value) for value in match.groups()])
    for pattern, template in _patterns_of(code):
        # These say so little that their values would take in whole sentences.
        if (match := pattern.fullmatch(text)) and not any(". " in value for value in match.groups()):
            return _fill(template, match.groups())
    return None


def translate_value(code: str, value: str) -> str:
    """Return what stands for a value in a sentence in Chinese, if it has words of ours; else as it is."""
    for pattern, template in _value_patterns():
        if match := pattern.fullmatch(value):
            return _fill(template, match.groups())
    counts = [_COUNT.fullmatch(part) for part in value.split(", ")]
    if all(match is not None and match[1] in PROBLEMS for match in counts):
        return "，".join(f"{PROBLEMS[match[1]]} {match[2]}" for match in counts if match is not None)
    return (_translate_sentence(code, value) if value.endswith(".") and " " in value else None) or value


def _fill(template: str, values: Sequence[str]) -> str:
    numbers = iter(range(len(values)))
    return _PLACE.sub(lambda place: values[int(place[1]) if place[1] else next(numbers)], template)


@cache
def _patterns() -> Patterns:
    return _compile(TEMPLATES)


@cache
def _patterns_of(code: str) -> Patterns:
    return _compile(GENERAL.get(code, {}))


@cache
def _value_patterns() -> Patterns:
    return _compile(VALIDATION) + _compile(FRAGMENTS)


def _compile(templates: Mapping[str, str]) -> Patterns:
    """Return a pattern for each English template; those that say the most themselves come first."""
    ordered = sorted(templates.items(), key=lambda item: len(item[0].replace("{}", "")), reverse=True)
    return [(_pattern(source), target) for source, target in ordered]


def _pattern(source: str) -> re.Pattern[str]:
    """Return a pattern whose values end where the text behind them first occurs, the last one where the message ends.

    Values are found once and never again shorter or longer (atomic groups): a message has what a caller sent, as long
    as a URL, and nobody's may keep the server busy.
    """
    first, *others = (re.escape(part) for part in source.split("{}"))
    values = [f"(?>(.+?){text})" for text in others[:-1]] + [f"(.+){text}" for text in others[-1:]]
    return re.compile(first + "".join(values), re.DOTALL)
