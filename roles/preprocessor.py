"""The preprocessor: from an uploaded recording to everything that the trainings read, a stage a job."""

from __future__ import annotations

from typing import ClassVar

from core.roles import PREPROCESSOR
from roles.preparing.features import hubert_feature, semantic_token, speaker_vector, text_feature
from roles.preparing.segments import asr, audio_slice, convert, denoise
from roles.stage_role import StageFunction, StageRole


class Preprocessor(StageRole):
    """Convert, slice, denoise, transcribe, and extract features."""

    name = PREPROCESSOR
    stages: ClassVar[dict[str, StageFunction]] = {
        "convert": convert,
        "audio_slice": audio_slice,
        "denoise": denoise,
        "asr": asr,
        "text_feature": text_feature,
        "hubert_feature": hubert_feature,
        "speaker_vector": speaker_vector,
        "semantic_token": semantic_token,
    }
