"""Text to phones, and texts to utterances. Nothing is loaded before the first call."""

from __future__ import annotations

from GPT_SoVITS.text.languages import CODES, LANGUAGES, Language, codes, resolve, spoken
from GPT_SoVITS.text.markup.items import Passage, Pause
from GPT_SoVITS.text.markup.notation import Reading
from GPT_SoVITS.text.markup.parser import INPUT_TYPES, read_markup
from GPT_SoVITS.text.phonemization.frontend import Cleaned, Frontend, Phonemes
from GPT_SoVITS.text.splitting.cut_methods import METHODS, cut, split_sentences
from GPT_SoVITS.text.splitting.utterances import Utterance, split_for_speech, split_script

__all__ = [
    "CODES",
    "INPUT_TYPES",
    "LANGUAGES",
    "METHODS",
    "Cleaned",
    "Frontend",
    "Language",
    "Passage",
    "Pause",
    "Phonemes",
    "Reading",
    "Utterance",
    "clean",
    "codes",
    "cut",
    "process",
    "read_markup",
    "resolve",
    "split_for_speech",
    "split_script",
    "split_sentences",
    "spoken",
]

_frontend = Frontend()
clean = _frontend.clean
process = _frontend.process
