"""Texts to utterances, and texts to phonemes. No dictionary is loaded before the first call.

languages.py     the registry of languages: where a new one is added
segmentation.py  a mixed text cut into segments of one language
phonemization/   the front end: text → phonemes and their ids
splitting/       texts cut into utterances, and upstream's ways to cut
markup/          inline tags, SSML, notations of pronunciations and a user's dictionary of them
english/ mandarin/ japanese/ korean/ cantonese/   one front end each
tracing.py       where each character of a rewritten text comes from
words.py         the words of a text and the phonemes of each
symbols.py, data/   the phonemes of each model version, and all tables
"""

from __future__ import annotations

from GPT_SoVITS.text.languages import LanguageFrontend, language_codes, resolve_language, spoken_languages
from GPT_SoVITS.text.markup.inline_tags import last_voice
from GPT_SoVITS.text.markup.items import MarkPlace, Passage, Pause
from GPT_SoVITS.text.markup.notation import InlinePronunciation
from GPT_SoVITS.text.markup.parser import INPUT_TYPES, read_markup
from GPT_SoVITS.text.phonemization.frontend import TextFrontend
from GPT_SoVITS.text.phonemization.result import PhonemizedSegment, PhonemizedText
from GPT_SoVITS.text.splitting.cut_methods import CUT_METHODS, cut, split_sentences
from GPT_SoVITS.text.splitting.utterances import UtteranceText, split_for_speech, split_script
from GPT_SoVITS.text.tracing import Span
from GPT_SoVITS.text.words import WrittenWord, written_words

__all__ = [
    "CUT_METHODS",
    "INPUT_TYPES",
    "InlinePronunciation",
    "LanguageFrontend",
    "MarkPlace",
    "Passage",
    "Pause",
    "PhonemizedSegment",
    "PhonemizedText",
    "Span",
    "TextFrontend",
    "UtteranceText",
    "WrittenWord",
    "cut",
    "language_codes",
    "last_voice",
    "phonemize",
    "read_markup",
    "resolve_language",
    "split_for_speech",
    "split_script",
    "split_sentences",
    "spoken_languages",
    "written_words",
]

phonemize = TextFrontend().phonemize
