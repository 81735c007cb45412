"""The judges of `GPT_SoVITS.evaluation`, under the short name by which scripts know them."""

from __future__ import annotations

from GPT_SoVITS.evaluation.judge import Evaluator, Judgement, Quality, read_16k
from GPT_SoVITS.evaluation.words import edit_distance, error_rate, words

__all__ = ["Evaluator", "Judgement", "Quality", "edit_distance", "error_rate", "read_16k", "words"]
