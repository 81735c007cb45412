"""IPA becomes the notation of each of the five languages."""

from __future__ import annotations

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import phonemize, read_markup
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.markup.ipa import CANTONESE_INITIALS, MANDARIN_INITIALS, from_ipa
from GPT_SoVITS.text.markup.items import Passage


@pytest.mark.parametrize(
    ("language", "ipa", "notation"),
    [
        ("en", "təˈmeɪtoʊ", "T AH0 M EY1 T OW0"),
        ("en", "/həˈləʊ/", "HH AH0 L OW1"),
        ("en", "d͡ʒɪf", "JH IH1 F"),
        ("en", "ˌjuːnɪˈvɜːsɪti", "Y UW2 N IH0 V ER1 S IH0 T IY0"),
        ("en", "ˈbʌt.n̩", "B AH1 T AH0 N"),
        ("en", "ðə", "DH AH1"),
        ("zh", "in˧˥ xɑŋ˧˥", "yin2 hang2"),
        ("zh", "ʈ͡ʂʊŋ˥ kwo˧˥", "zhong1 guo2"),
        ("zh", "ni˨˩˦ xɑʊ̯˨˩˦", "ni3 hao3"),
        ("zh", "tɕʰy˥˩", "qu4"),
        ("zh", "ʂɻ̩˥˩", "shi4"),
        ("zh", "ɥɛn35", "yuan2"),
        ("zh", "wo˨˩˦ tə", "wo3 de5"),
        ("yue", "hœːŋ˥ kɔːŋ˧˥", "hoeng1 gong2"),
        ("yue", "kʷɔːk̚˧", "gwok3"),
        ("yue", "saːm˥ sɐm˥", "saam1 sam1"),
        ("yue", "m̩˨˩", "m4"),
        ("ja", "toːkʲoː", "t o o ky o o"),
        ("ja", "kitːe", "k i cl t e"),
        ("ja", "matːɕa", "m a cl ch a"),
        ("ja", "konːit͡ɕiwa", "k o N n i ch i w a"),
        ("ja", "haꜛɕiꜜ", "h a [ sh i ]"),
        ("ja", "çakɯ", "hy a k u"),
        ("ko", "hanɡuk", "한국"),
        ("ko", "kamsʰahamnida", "감사함니다"),
        ("ko", "an.njʌŋ", "안녕"),
        ("ko", "t͈al", "딸"),
        ("ko", "ɰisa", "의사"),
    ],
)
def test_ipa_becomes_the_notation_of_its_language(language: str, ipa: str, notation: str) -> None:
    assert from_ipa(ipa, language) == notation


def test_all_syllables_of_mandarin_and_cantonese_have_ipa() -> None:
    """Each is found again by the plainest IPA of its initial with that of its final, as another syllable spells it."""
    from GPT_SoVITS.text.markup.ipa import _cantonese_table, _mandarin_table

    same = {name for name in table("pinyin_to_symbols") if name[0] in "jqxy" and "v" in name}  # ü after these is u
    assert set(table("pinyin_to_symbols")) - set(_mandarin_table().values()) == same
    assert set(table("jyutping_split")) - set(_cantonese_table().values()) == {"hm", "hng"}
    assert len(MANDARIN_INITIALS) == 22
    assert len(CANTONESE_INITIALS) == 20


@pytest.mark.parametrize(
    ("language", "document"),
    [
        ("en", '<speak><phoneme alphabet="ipa" ph="təˈmɑːtəʊ">tomato</phoneme></speak>'),
        ("zh", '<speak><phoneme alphabet="ipa" ph="in˧˥ xɑŋ˧˥">银行</phoneme></speak>'),
        ("all_yue", '<speak><phoneme alphabet="ipa" ph="ŋɐn˨˩ hɔːŋ˨˩">银行</phoneme></speak>'),
        ("ja", '<speak><phoneme alphabet="ipa" ph="haꜜɕi">箸</phoneme></speak>'),
        ("ko", '<speak><phoneme alphabet="ipa" ph="kap̚ɕi">값이</phoneme></speak>'),
        ("auto", '<speak>读 <phoneme alphabet="ipa" ph="d͡ʒɪf">GIF</phoneme> 文件</speak>'),
        ("auto", '<speak><lang xml:lang="ja"><phoneme alphabet="IPA" ph="haꜜɕi">箸</phoneme></lang></speak>'),
    ],
)
def test_a_phoneme_element_takes_ipa_in_every_language(language: str, document: str) -> None:
    (passage,) = (item for item in read_markup(document, language) if isinstance(item, Passage))
    phonemes = phonemize(passage.text, passage.language, "v2", inline_pronunciations=passage.pronunciations).phonemes

    assert "UNK" not in phonemes
    assert len(phonemes) >= 4


@pytest.mark.parametrize(
    ("language", "word", "ipa", "part"),
    [
        ("en", "tomato", "tøm", "'ø' is no symbol of it"),
        ("zh", "银", "blaŋ˥", "'blaŋ' is no syllable"),
        ("zh", "银", "in˩˥˩", "'˩˥˩' is no tone"),
        ("zh", "银", "/ /", "it holds no syllable"),
        ("yue", "银", "ŋɐn", "'no tone at all' is no tone"),
        ("ja", "箸", "ːa", "ː follows no vowel"),
        ("ko", "값", "kk", "stands beside no vowel"),
    ],
)
def test_ipa_that_a_language_does_not_have_is_rejected_by_symbol(language: str, word: str, ipa: str, part: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_markup(f'<speak><phoneme alphabet="ipa" ph="{ipa}">{word}</phoneme></speak>', language)

    assert caught.value.code == "bad_pronunciation"
    assert part in caught.value.message
