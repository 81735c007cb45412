"""The encoding of a list of transcripts: by its byte order mark, by its bytes, else by what its texts would say.

An encoding for East Asian text decodes almost any bytes of another one, to rare characters. Each candidate is scored by
the characters that it gives for the language of each line; without a clear winner there is none.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CANDIDATES: Final = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252")
_LANGUAGES: Final = {"zh": "zh", "cn": "zh", "yue": "zh", "ja": "ja", "jp": "ja", "ko": "ko", "en": "en"}
_NATIVE: Final = {"zh": ("gb18030", "big5hkscs"), "ja": ("cp932", "euc_jp"), "ko": ("cp949",), "en": ("cp1252",)}
FOREIGN_SCORE: Final = 0.8
"""Factor for an encoding that people who write the language do not use."""
MIN_SCORE: Final = 0.5
MIN_LEAD: Final = 0.12
"""Of the best candidate before the next that gives other text."""
_MAX_LINES: Final = 2000
_COMMON_HAN: Final = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着"
    "等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新"
    "线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题程展五果料象员位入常文总次品式活设及"
    "管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处世界早晚请谢再听写读话语音您吗"
    "呢吧啊今昨给让走吃喝睡爱快慢真太每次带候什怎谁叫名字朋友认识喜欢觉知帮助先生女士老师对不起没关系"
    "這為個國時來們對會發動過說產種後經進著麼裡現實體當點從業應開還間樣與關線數無氣條結問軍題員總設長頭資邊級圖統組見計別論運農幾區強戰據處"
    "請謝聽寫讀話語嗎給讓愛帶誰認識歡覺幫師係電學義點兩機變總萬樂買賣車書東門們喺嘅咗唔佢哋嚟冇啲嗰咁噉啱"
)


def decode_list(content: bytes, language: str = "") -> str | None:
    """Return the text of a list; None when its encoding cannot be told.

    `language`: that of the data set, for lines that name none.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decode(content, encoding)
    if b"\0" in content:
        return _decode_utf16(content)
    text = _decode(content, "utf-8")
    if text is not None:
        return text
    scores: dict[str, float] = {}
    for encoding in _CANDIDATES:
        text = _decode(content, encoding)
        if text is not None and text not in scores:
            scores[text] = _score(text, language, encoding)
    ranking = sorted(scores, key=lambda text: -scores[text])
    if not ranking or scores[ranking[0]] < MIN_SCORE:
        return None
    if len(ranking) > 1 and scores[ranking[0]] - scores[ranking[1]] < MIN_LEAD:
        return None
    return ranking[0]


def _decode(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_utf16(content: bytes) -> str | None:
    """Decode UTF-16 without a mark by where the field separators are."""
    texts = [_decode(content, encoding) for encoding in ("utf-16-le", "utf-16-be")]
    with_fields = [text for text in texts if text is not None and text.count("|") >= 3]
    return with_fields[0] if len(with_fields) == 1 else None


def _score(text: str, language: str, encoding: str) -> float:
    """Return how much the text looks like that of its lines' languages: 0 to 1."""
    points, letters = 0.0, 0
    for row in text.split("\n")[:_MAX_LINES]:
        fields = row.split("|")
        spoken = fields[-1] if len(fields) > 1 else row
        foreign = [letter for letter in spoken if letter > "\x7f"]
        named = _LANGUAGES.get(fields[2].strip().lower() if len(fields) == 4 else "") or _LANGUAGES.get(language, "")
        if not foreign:
            foreign, named = [letter for letter in row if letter > "\x7f"], ""
        if foreign:
            likely = [named] if named else [_LANGUAGES[language]] if language in ("zh", "yue", "ja", "ko") else _NATIVE
            points += max(_points(row, foreign, name, encoding) for name in likely)
            letters += len(foreign)
    return points / letters if letters else 0.0


def _points(row: str, letters: Iterable[str], language: str, encoding: str) -> float:
    points = sum(_point(letter, language) for letter in letters)
    if language == "en":  # letters with accents stand alone among plain ones
        points -= 2 * sum(first.isalpha() and second > "\x7f" for first, second in pairwise(row) if first > "\x7f")
    return points if encoding in _NATIVE[language] else points * FOREIGN_SCORE


def _point(letter: str, language: str) -> float:
    """Return how usual a character is in a language: 0 to 1."""
    name = unicodedata.name(letter, "")
    if letter in "、。，！？：；「」『』“”‘’…—～《》（）·　":
        return 0.8
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return 1.0 if language == "ja" else 0.0
    if name.startswith("HANGUL SYLLABLE"):
        usual = _lead_byte(letter, "euc_kr") in range(0xB0, 0xC9)
        return (1.0 if usual else 0.2) if language == "ko" else 0.0
    if name.startswith("LATIN"):
        return 1.0 if language == "en" else 0.0
    if not name.startswith("CJK UNIFIED"):
        return 0.0
    if language == "zh":
        return 1.0 if letter in _COMMON_HAN else 0.5 if _is_first_level(letter) else 0.0
    return 0.6 if language == "ja" and _lead_byte(letter, "cp932") in range(0x88, 0x99) else 0.0


def _is_first_level(letter: str) -> bool:
    """Return whether GB 2312 or Big5 counts a character among the frequent ones."""
    return _lead_byte(letter, "gb2312") in range(0xB0, 0xD8) or _lead_byte(letter, "big5") in range(0xA4, 0xC7)


def _lead_byte(letter: str, encoding: str) -> int:
    try:
        return letter.encode(encoding)[0]
    except UnicodeEncodeError:
        return 0
