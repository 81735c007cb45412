"""The names of the stages between a recording and a voice, as they stand in URLs, records and folder names."""

from __future__ import annotations

from typing import Literal

StageName = Literal[
    "convert",
    "audio_slice",
    "denoise",
    "asr",
    "text_feature",
    "hubert_feature",
    "speaker_vector",
    "semantic_token",
    "sovits_train",
    "gpt_train",
    "test_inference",
]
"""Each after the stages that it depends on."""
