"""Lines of annotation lists as training reads them."""

from __future__ import annotations

from GPT_SoVITS.dataset.folder import Annotation
from GPT_SoVITS.dataset.phonemes import read_texts


def line(text: str, language: str, path: str = "a.wav") -> Annotation:
    return Annotation(path, "speaker", language, text)


def test_a_line_is_read_with_its_words_of_other_languages_and_no_stop_before_it():
    (read,) = read_texts([line("我在Apple", "zh", "C:\\data\\b.wav")], "v2").lines

    assert read.entry.name == "b.wav"
    assert read.entry.phones == ["w", "o3", "z", "ai4", "AE1", "P", "AH0", "L"]
    assert read.phonemes.feature_columns == [(0, 0), (0, 0), (0, 1), (0, 1), None, None, None, None]
    assert [one.entry.phones for one in read_texts([line("はい", "ja")], "v2").lines] == [["h", "a", "]", "i"]]


def test_a_percent_sign_is_read_as_one_except_as_the_reference_did():
    annotations = [line("涨了100%", "zh")]

    assert read_texts(annotations, "v2").lines[0].entry.norm_text == "涨了百分之一百"
    assert read_texts(annotations, "v2", compat="reference").lines[0].entry.norm_text == "涨了幺零零减"


def test_a_line_that_cannot_be_read_is_named_and_left_out():
    read = read_texts([line("bonjour", "fr", "a.wav"), line("…", "zh", "b.wav"), line("안녕", "ko", "c.wav")], "v1")

    assert read.lines == []
    assert [name for name, _ in read.left_out] == ["a.wav", "b.wav", "c.wav"]
    assert "v1" in read.left_out[2][1]
