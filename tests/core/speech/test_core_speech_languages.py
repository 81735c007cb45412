"""The languages of a text, and whether a voice speaks them."""

from __future__ import annotations

import pytest

from common.versions import spoken_languages
from core.errors import LanguageNotSpoken
from core.speech.checks import check_spoken_languages
from core.speech.requests import SpeechRequest
from core.speech.text_language import languages_of


@pytest.mark.parametrize(
    ("text", "code", "languages"),
    [
        ("Hello.", "auto", ("en",)),
        ("你好。", "auto", ("zh",)),
        ("你好。", "auto_yue", ("yue",)),
        ("こんにちは、世界。", "auto", ("ja",)),
        ("안녕하세요", "auto", ("ko",)),
        ("我用 Linux。", "auto", ("en", "zh")),
        ("你好。안녕", "auto", ("ko", "zh")),
        ("世界", "ja", ("ja",)),
        ("世界", "all_yue", ("yue",)),
        ("OK", "zh", ("en",)),
        ("Café, Ötzi", "auto", ("en",)),
        ("42.", "auto", ()),
        ("42.", "zh", ()),
        ("", "auto", ()),
    ],
)
def test_letters_tell_the_languages_of_a_text(text, code, languages):
    assert languages_of(text, code) == languages


@pytest.mark.parametrize(
    ("version", "text", "language", "warning"),
    [
        ("nano", "Hello.", "auto", ""),
        ("nano", "42.", "auto", ""),
        ("nano", "你好。", "auto", ""),
        ("nano", "안녕.", "auto", 'language_not_spoken; text="ko"; voice="zh, en"'),
        ("nano", "你好 안녕 さようなら", "auto", 'language_not_spoken; text="ja, ko"; voice="zh, en"'),
        ("v1", "안녕", "ko", 'language_not_spoken; text="ko"; voice="zh, en, ja"'),
        ("v2", "你好，안녕, hello", "auto", ""),
    ],
)
def test_a_text_in_a_language_that_the_voice_was_not_taught_is_a_warning_or_an_error(version, text, language, warning):
    request = SpeechRequest(text=text, language=language, voice_id="v", spoken_languages=spoken_languages(version))

    assert check_spoken_languages(request, text) == warning

    strict = request.model_copy(update={"strict_language": True})
    if not warning:
        assert check_spoken_languages(strict, text) == ""
        return
    with pytest.raises(LanguageNotSpoken, match="the voice speaks") as error:
        check_spoken_languages(strict, text)
    assert error.value.code == "language_not_spoken"
