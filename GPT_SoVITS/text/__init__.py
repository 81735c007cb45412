"""Text to phones, and texts to utterances. Nothing is loaded before the first call."""

from __future__ import annotations

from GPT_SoVITS.text.cut import METHODS, cut, split_sentences
from GPT_SoVITS.text.frontend import Cleaned, Frontend, Phonemes
from GPT_SoVITS.text.language import CODES, LANGUAGES, Language, resolve
from GPT_SoVITS.text.utterances import Utterance, split_for_speech

__all__ = [
    "CODES",
    "LANGUAGES",
    "METHODS",
    "Cleaned",
    "Frontend",
    "Language",
    "Phonemes",
    "Utterance",
    "clean",
    "cut",
    "process",
    "resolve",
    "split_for_speech",
    "split_sentences",
]

_frontend = Frontend()
clean = _frontend.clean
process = _frontend.process
