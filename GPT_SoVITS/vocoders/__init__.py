"""Vocoders of v3 and v4 and the super-resolution after v3: log-mel to waveform (specification s2-v3v4 §10–§12)."""

from __future__ import annotations

from GPT_SoVITS.vocoders.load import Vocoder, load_vocoder
from GPT_SoVITS.vocoders.super_resolution import SuperResolution, load_super_resolution

__all__ = ["SuperResolution", "Vocoder", "load_super_resolution", "load_vocoder"]
