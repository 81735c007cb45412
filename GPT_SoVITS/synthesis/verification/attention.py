"""Tokens and phonemes by the attention of the second stage's text encoder, for versions without a classifier.

Nothing trains that attention to be an alignment. So the prompt of a voice is looked at first, whose tokens speak its
transcript: only where attention shows that is it evidence. Shapes: T tokens, S phonemes.
"""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment, TokenEvidence
from GPT_SoVITS.synthesis.verification.coverage import coverage_faults

CLEAR_SHARE = 0.5
"""Of its attention, that a token pays to the phoneme it speaks and to the two beside it, at the median."""


def attention_evidence(weights: np.ndarray) -> TokenEvidence:
    """Return what attention weights (T, S) say of the tokens."""
    fit = np.log(np.maximum(weights, np.finfo(np.float32).tiny))
    return TokenEvidence(fit, fit.max(axis=1), fit.argmax(axis=1))


def shows_speech(weights: np.ndarray, is_pause: np.ndarray) -> bool:
    """Return whether the attention (T, S) of tokens that speak a text shows it, phoneme by phoneme."""
    tokens, phonemes = weights.shape
    if not phonemes or tokens < phonemes:
        return False
    alignment = MonotonicAlignment(phonemes)
    alignment.extend(attention_evidence(weights))
    beside = np.abs(np.arange(phonemes) - alignment.path(whole=True)[:, None]) <= 1
    clear = float(np.median((weights * beside).sum(axis=1))) >= CLEAR_SHARE
    return clear and not coverage_faults(alignment, is_pause, whole=True, durations=False)
