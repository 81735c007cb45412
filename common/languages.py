"""The codes that a text's language is named by, and other names for them."""

from __future__ import annotations

from typing import Final, Literal, get_args

LanguageCode = Literal["auto", "auto_yue", "zh", "en", "ja", "ko", "yue", "all_zh", "all_ja", "all_ko", "all_yue"]
"""`auto` gives every script its language, `auto_yue` the same with Cantonese for Mandarin. Under a language's own code
Latin words are English, a number takes its neighbours' language and everything else is that language; under `all_…`
numbers are that language as well."""
RecordingLanguage = Literal["auto", "zh", "en", "ja", "ko", "yue"]
"""What a recording may be in; `auto` leaves it to the recognizer."""

LANGUAGE_CODES: Final[tuple[LanguageCode, ...]] = get_args(LanguageCode)
LANGUAGE_CODES_OF_V1: Final[tuple[LanguageCode, ...]] = ("auto", "zh", "en", "ja", "all_zh", "all_ja")
RECORDING_LANGUAGES: Final[tuple[RecordingLanguage, ...]] = get_args(RecordingLanguage)

LANGUAGE_ALIASES: Final[dict[str, LanguageCode]] = {
    "": "auto",
    "multilingual": "auto",
    "多语种混合": "auto",
    "多语种混合(粤语)": "auto_yue",
    **dict.fromkeys(("english", "eng", "en-us", "en-gb", "英文", "英语"), "en"),
    **dict.fromkeys(("chinese", "mandarin", "cmn", "zho", "zh-cn", "zh-hans", "zh-tw", "zh-hant", "中英混合"), "zh"),
    **dict.fromkeys(("中文",), "all_zh"),
    **dict.fromkeys(("japanese", "jp", "jpn", "ja-jp", "日英混合"), "ja"),
    **dict.fromkeys(("日文", "日本語"), "all_ja"),
    **dict.fromkeys(("korean", "kor", "ko-kr", "韩英混合"), "ko"),
    **dict.fromkeys(("韩文", "한국어"), "all_ko"),
    **dict.fromkeys(("cantonese", "zh-hk", "zh-yue", "yue-hk", "粤英混合"), "yue"),
    **dict.fromkeys(("粤语", "粵語"), "all_yue"),
}
"""Other names of the codes, those of upstream's interface among them; lower case, `-` between their parts."""

_CODES_BY_NAME: Final[dict[str, LanguageCode]] = {code.replace("_", "-"): code for code in LANGUAGE_CODES}


def find_language(name: str) -> LanguageCode | None:
    """Return the code that a name stands for, whatever its case and separators; None for an unknown name."""
    key = name.strip().lower().replace("_", "-")
    return _CODES_BY_NAME.get(key) or LANGUAGE_ALIASES.get(key)


def single_language(name: str) -> str:
    """Return the single language that a code or another name stands for; "" for `auto` and unknown names.

    `auto_yue` and `all_yue` both stand for Cantonese.
    """
    code = (find_language(name) or "auto").removeprefix("all_")
    return {"auto": "", "auto_yue": "yue"}.get(code, code)
