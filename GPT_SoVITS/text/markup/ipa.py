"""The International Phonetic Alphabet in the notations of the five languages, by tables.

English becomes ARPAbet, Mandarin Pinyin, Cantonese Jyutping, Japanese OpenJTalk's phonemes, Korean Hangul.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from GPT_SoVITS.text.data import table

_IGNORED = dict.fromkeys(map(ord, "/[]()\u0361\u035c\u032f\u031a\u02de\u0325\u030a\u0320\u031f\u033b\u031e\u02d1"))
"""Brackets, ties, and diacritics that tell no two phonemes of these languages apart."""

ENGLISH_VOWELS = {
    "aɪə": "AY AH", "aʊə": "AW AH", "eɪ": "EY", "aɪ": "AY", "ɔɪ": "OY", "ɔi": "OY", "aʊ": "AW", "oʊ": "OW", "əʊ": "OW",
    "ɪə": "IH R", "eə": "EH R", "ɛə": "EH R", "ʊə": "UH R", "ɜr": "ER", "ɜɹ": "ER", "ər": "ER", "əɹ": "ER",
    "ɪ": "IH", "i": "IY", "e": "EH", "ɛ": "EH", "æ": "AE", "a": "AA", "ɑ": "AA", "ɒ": "AA", "ɔ": "AO", "o": "OW",
    "ʊ": "UH", "u": "UW", "ʌ": "AH", "ɐ": "AH", "ə": "AH", "ɜ": "ER", "ɝ": "ER", "ɚ": "ER", "ɨ": "IH", "ʉ": "UW",
    "n̩": "AH N", "l̩": "AH L", "m̩": "AH M",
}  # fmt: skip
ENGLISH_CONSONANTS = {
    "tʃ": "CH", "ʧ": "CH", "dʒ": "JH", "ʤ": "JH", "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "g": "G", "f": "F",
    "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "m": "M", "n": "N", "ŋ": "NG",
    "l": "L", "ɫ": "L", "r": "R", "ɹ": "R", "ɻ": "R", "ɾ": "T", "j": "Y", "w": "W", "ʍ": "W", "x": "K", "ʔ": "T",
}  # fmt: skip
MANDARIN_INITIALS = {
    "b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t", "t": "tʰ", "n": "n", "l": "l", "g": "k", "k": "kʰ", "h": "x",
    "j": "tɕ", "q": "tɕʰ", "x": "ɕ", "zh": "tʂ", "ch": "tʂʰ", "sh": "ʂ", "r": "ɻ", "z": "ts", "c": "tsʰ", "s": "s",
    "": "",
}  # fmt: skip
MANDARIN_FINALS = {
    "a": "a", "o": "uo", "e": "ə", "ai": "ai", "ei": "ei", "ao": "au", "ou": "ou", "an": "an", "en": "ən", "ang": "aŋ",
    "eng": "əŋ", "ong": "uŋ", "er": "ər", "i": "i", "ia": "ia", "ie": "ie", "iao": "iau", "iu": "iou", "iou": "iou",
    "ian": "ien", "in": "in", "iang": "iaŋ", "ing": "iŋ", "iong": "iuŋ", "u": "u", "ua": "ua", "uo": "uo", "uai": "uai",
    "ui": "uei", "uei": "uei", "uan": "uan", "un": "uən", "uen": "uən", "uang": "uaŋ", "ueng": "uəŋ", "v": "y",
    "ve": "ye", "van": "yen", "vn": "yn", "io": "io",
}  # fmt: skip
MANDARIN_SPELLINGS = (
    ("yu", "v"), ("yi", "i"), ("you", "iu"), ("y", "i"), ("wu", "u"), ("wei", "ui"), ("wen", "un"),
    ("weng", "ueng"), ("w", "u"),
)  # fmt: skip
"""How Pinyin spells a syllable without an initial, and the final that is meant."""
MANDARIN_TONES = {"˥˥": "1", "˥": "1", "˧˥": "2", "˨˩˦": "3", "˨˩˧": "3", "˨˩": "3", "˥˩": "4", "": "5"}
CANTONESE_INITIALS = {
    "b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t", "t": "tʰ", "n": "n", "l": "l", "g": "k", "k": "kʰ", "ng": "ŋ",
    "h": "h", "gw": "kʷ", "kw": "kʷʰ", "w": "w", "z": "ts", "c": "tsʰ", "s": "s", "j": "j", "": "",
}  # fmt: skip
CANTONESE_VOWELS = {"aa": "aː", "a": "ɐ", "e": "ɛ", "i": "i", "o": "ɔ", "u": "u", "oe": "œ", "eo": "ɵ", "yu": "y"}
CANTONESE_ENDINGS = {"": "", "i": "i", "u": "u", "m": "m", "n": "n", "ng": "ŋ", "p": "p", "t": "t", "k": "k"}
CANTONESE_TONES = {
    "˥˥": "1", "˥": "1", "˥˧": "1", "˧˥": "2", "˨˥": "2", "˧˧": "3", "˧": "3", "˨˩": "4", "˩˩": "4", "˩": "4",
    "˩˧": "5", "˨˧": "5", "˨˨": "6", "˨": "6",
}  # fmt: skip
JAPANESE = {
    "tɕ": "ch", "ts": "ts", "dʑ": "j", "dz": "z", "ʑ": "j", "ɕ": "sh", "ʃ": "sh", "kʲ": "ky", "gʲ": "gy", "ɲ": "ny",
    "bʲ": "by", "pʲ": "py", "mʲ": "my", "ɾʲ": "ry", "rʲ": "ry", "ç": "hy", "ɸ": "f", "k": "k", "g": "g", "s": "s",
    "z": "z", "t": "t", "d": "d", "n": "n", "h": "h", "b": "b", "p": "p", "m": "m", "j": "y", "ɾ": "r", "r": "r",
    "w": "w", "β": "w", "v": "v", "ɴ": "N", "ŋ": "N", "ʔ": "cl",
    "a": "a", "i": "i", "ɯ": "u", "u": "u", "e": "e", "o": "o",
    "ꜛ": "[", "↑": "[", "ꜜ": "]", "↓": "]",
}  # fmt: skip
KOREAN_ONSETS = {
    "k͈": "ㄲ", "kʰ": "ㅋ", "k": "ㄱ", "g": "ㄱ", "n": "ㄴ", "t͈ɕ": "ㅉ", "tɕ͈": "ㅉ",
    "tɕʰ": "ㅊ", "tɕ": "ㅈ", "dʑ": "ㅈ", "t͈": "ㄸ",
    "tʰ": "ㅌ", "t": "ㄷ", "d": "ㄷ", "ɾ": "ㄹ", "r": "ㄹ", "l": "ㄹ", "m": "ㅁ", "p͈": "ㅃ",
    "pʰ": "ㅍ", "p": "ㅂ", "b": "ㅂ",
    "s͈": "ㅆ", "ɕ͈": "ㅆ", "sʰ": "ㅅ", "s": "ㅅ", "ɕ": "ㅅ", "h": "ㅎ", "ç": "ㅎ", "ɸ": "ㅎ", "ŋ": "ㅇ",
}  # fmt: skip
KOREAN_VOWELS = {
    "ja": "ㅑ", "jʌ": "ㅕ", "jə": "ㅕ", "jo": "ㅛ", "ju": "ㅠ", "jɛ": "ㅒ", "je": "ㅖ", "wa": "ㅘ", "wʌ": "ㅝ",
    "wə": "ㅝ", "wɛ": "ㅙ",
    "we": "ㅞ", "ø": "ㅚ", "wi": "ㅟ", "y": "ㅟ", "ɰi": "ㅢ", "ɯi": "ㅢ",
    "a": "ㅏ", "ʌ": "ㅓ", "ə": "ㅓ", "o": "ㅗ", "u": "ㅜ",
    "ɯ": "ㅡ", "i": "ㅣ", "ɛ": "ㅐ", "æ": "ㅐ", "e": "ㅔ",
}  # fmt: skip
_LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MEDIALS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_TAILS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_TONE_DIGITS = str.maketrans("⁵⁴³²¹12345", "˥˦˧˨˩˩˨˧˦˥")
_TONES = "˥˦˧˨˩"
_BREAKS = re.compile(r"[\s.·‿|‖-]+")


def from_ipa(ipa: str, language: str) -> str:
    """Return IPA in the notation of a language.

    Raises ValueError, which names the first symbol that the language does not have.
    """
    cleaned = unicodedata.normalize("NFD", ipa).replace("ɡ", "g").replace("c\u0327", "ç").translate(_IGNORED)
    return {
        "en": _english,
        "zh": _mandarin,
        "yue": _cantonese,
        "ja": _japanese,
        "ko": _korean,
    }[language](cleaned.strip())


def _english(ipa: str) -> str:
    phonemes: list[str] = []
    stress = ""
    symbols = {**ENGLISH_VOWELS, **ENGLISH_CONSONANTS, "ˈ": "1", "'": "1", "ˌ": "2"}
    stressed = "ˈ" in ipa or "'" in ipa
    for symbol, phoneme in _symbols(_BREAKS.sub("", ipa).replace("ː", "").replace(":", ""), symbols):
        if symbol in "ˈ'ˌ":
            stress = phoneme
        elif symbol in ENGLISH_VOWELS:
            vowel, *rest = phoneme.split()
            # Without a sign, the first vowel that can be stressed is.
            own = stress or ("0" if stressed or (vowel == "AH" and symbol != "ʌ") else "1")
            phonemes += [f"{vowel}{own}", *(f"{other}0" if other == "AH" else other for other in rest)]
            stressed, stress = stressed or own == "1", ""
        else:
            phonemes.append(phoneme)
    if phonemes and not stressed:
        first = next((index for index, phoneme in enumerate(phonemes) if phoneme[-1] == "0"), None)
        if first is not None:
            phonemes[first] = phonemes[first][:-1] + "1"
    return " ".join(phonemes)


def _mandarin(ipa: str) -> str:
    return " ".join(
        _syllables(ipa.replace("ʈ", "t").replace("ʐ", "ɻ").replace("ɖ", "t"), _mandarin_table(), MANDARIN_TONES)
    )


def _cantonese(ipa: str) -> str:
    return " ".join(_syllables(ipa, _cantonese_table(), CANTONESE_TONES))


def _japanese(ipa: str) -> str:
    text = _BREAKS.sub("", ipa).replace("ɴ̩", "ɴ").replace("ŋ̍", "ɴ")
    text = re.sub(r"([mnɲ])ː", r"ɴ\1", text)
    text = re.sub(r"tː(?=[ɕs])|([kgstdbpɕʃ])(?=\1)", lambda match: "ʔt" if match[1] is None else "ʔ", text)
    text = re.sub(r"(tɕ|ts|dʑ|[kgstdbpɕʃɸ])ː", r"ʔ\1", text)
    phonemes: list[str] = []
    previous = ""
    for symbol, phoneme in _symbols(text, {**JAPANESE, "ː": "ː"}):
        if symbol == "ː":
            if previous not in ("a", "i", "u", "e", "o"):
                raise ValueError("ː follows no vowel")
            phoneme = previous
        phonemes.append(phoneme)
        previous = phoneme if phoneme not in ("[", "]") else previous
    joined = " ".join(phonemes)
    # Before i these two are the usual consonants of their rows; behind such consonants no y is said again.
    return re.sub(r"\b(sh|ch|j|ny|hy) y\b", r"\1", re.sub(r"\b([nh])y i\b", r"\1 i", joined))


def _korean(ipa: str) -> str:
    parts: list[tuple[str, bool]] = []
    symbols = {**KOREAN_ONSETS, **KOREAN_VOWELS, ".": ""}
    for _, jamo in _symbols(re.sub(r"[\s·-]+", ".", ipa).replace("ː", ""), symbols):
        parts.append((jamo, jamo in _MEDIALS and bool(jamo)))
    syllables: list[list[str]] = []
    waiting: list[str] = []
    for index, (jamo, vowel) in enumerate(parts):
        follows_vowel = index + 1 < len(parts) and parts[index + 1][1]
        if not jamo:
            continue
        if vowel:
            syllables.append([waiting.pop() if waiting else "ㅇ", jamo, " "])
        elif follows_vowel and jamo != "ㅇ":
            waiting = [jamo]
        elif syllables and syllables[-1][2] == " ":
            syllables[-1][2] = jamo
        else:
            raise ValueError(f"{jamo} stands beside no vowel")
    return "".join(
        chr(0xAC00 + (_LEADS.index(lead) * 21 + _MEDIALS.index(medial)) * 28 + _TAILS.index(tail))
        for lead, medial, tail in syllables
    )


def _syllables(ipa: str, syllables: Mapping[str, str], tones: Mapping[str, str]) -> Iterator[str]:
    """Yield each syllable with the digit of its tone; syllables end with their tone, at a point or at a space."""
    text = ipa.translate(_TONE_DIGITS).replace("ˈ", "").replace("ˌ", "")
    pieces = [piece for piece in re.split(rf"(?<=[{_TONES}])(?![{_TONES}])|[\s.·-]+", text) if piece]
    if not pieces:
        raise ValueError("it holds no syllable")
    for piece in pieces:
        segments = piece.rstrip(_TONES)
        tone = tones.get(piece[len(segments) :])
        syllable = syllables.get(_canonical(segments, cantonese=tones is CANTONESE_TONES))
        if syllable is None:
            raise ValueError(f"{segments or piece!r} is no syllable")
        if tone is None:
            raise ValueError(f"{piece[len(segments) :] or 'no tone at all'!r} is no tone")
        yield syllable + tone


@cache
def _mandarin_table() -> Mapping[str, str]:
    syllables: dict[str, str] = {}
    for pinyin in table("pinyin_to_symbols"):
        spelled = pinyin
        for prefix, final in MANDARIN_SPELLINGS:
            if pinyin == prefix or (len(prefix) < 3 and pinyin.startswith(prefix)):
                spelled = final + pinyin[len(prefix) :]
                break
        initial = next((name for name in ("zh", "ch", "sh") if spelled.startswith(name)), spelled[:1])
        if initial not in MANDARIN_INITIALS:
            initial = ""
        final = spelled[len(initial) :]
        if initial in ("j", "q", "x"):
            final = re.sub("^u", "v", final)
        if final not in MANDARIN_FINALS:
            continue
        endings = [MANDARIN_FINALS[final]]
        if final == "i" and initial in ("z", "c", "s"):
            endings = ["ɹ", "ɿ", "z", "ɯ", "ɨ"]
        elif final == "i" and initial in ("zh", "ch", "sh", "r"):
            endings = ["ɻ", "ʅ", "ɹ", "ɯ", "ɨ", ""]
        elif final == "o":
            endings = ["o", "uo"] if initial in ("b", "p", "m", "f") else ["o"]
        elif final == "er":
            endings = ["ər", "ar", "əɻ", "aɻ", "ɚ", "aɚ"]
        elif final == "ong":
            endings = ["uŋ", "oŋ"]
        elif final == "van":
            endings = ["yen", "yan"]
        elif final == "ian":
            endings = ["ien", "ian"]
        for ending in endings:
            syllables.setdefault(_canonical(MANDARIN_INITIALS[initial] + ending, cantonese=False), pinyin)
    return syllables


@cache
def _cantonese_table() -> Mapping[str, str]:
    syllables: dict[str, str] = {"m": "m", "ŋ": "ng"}
    for jyutping in table("jyutping_split"):
        for initial, initial_ipa in CANTONESE_INITIALS.items():
            for vowel, vowel_ipa in CANTONESE_VOWELS.items():
                for ending, ending_ipa in CANTONESE_ENDINGS.items():
                    if initial + vowel + ending == jyutping:
                        syllables.setdefault(_canonical(initial_ipa + vowel_ipa + ending_ipa, cantonese=True), jyutping)
    return syllables


def _canonical(syllable: str, *, cantonese: bool) -> str:
    """Return a syllable with one symbol for each phoneme, however narrowly it was transcribed."""
    if cantonese:
        # Length tells apart only the two vowels of sāam and sām, which are written with letters of their own.
        narrow = syllable.replace("aː", "A").replace("a", "A").replace("ː", "").replace("ʃ", "s").replace("ʊ", "u")
        narrow = narrow.replace("ɪ", "i").replace("e", "ɛ").replace("ə", "ɐ").replace("o", "ɔ").replace("ø", "ɵ")
        return narrow.replace("ʔ", "").replace("kw", "kʷ").replace("kʰw", "kʷʰ").replace("̩", "")
    broad = syllable.replace("ː", "").replace("ɑ", "a").replace("æ", "a").replace("ɪ", "i").replace("ʊ", "u")
    broad = broad.replace("j", "i").replace("w", "u").replace("ɥ", "y").replace("ɛ", "e").replace("̩", "")
    broad = broad.translate(str.maketrans("bdgʷ", "ptku"))
    broad = broad.replace("ɤ", "ə").replace("ʌ", "ə").replace("h", "ʰ" if syllable.startswith(("p", "t", "k")) else "x")
    return re.sub(r"([iuy])\1", r"\1", broad)


def _symbols(text: str, symbols: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield the symbols of a text, the longest at each place, with what they stand for."""
    longest = max(map(len, symbols))
    position = 0
    while position < len(text):
        for length in range(longest, 0, -1):
            symbol = text[position : position + length]
            if len(symbol) == length and symbol in symbols:
                yield symbol, symbols[symbol]
                position += length
                break
        else:
            raise ValueError(f"{text[position]!r} is no symbol of it")
