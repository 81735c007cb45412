"""The pitch and the volume of SSML's prosody."""

from __future__ import annotations

import math
import re

from common.limits import MAX_GAIN, MAX_PITCH
from GPT_SoVITS.text.markup.items import bad_markup

PITCHES = {"x-low": -4.0, "low": -2.0, "medium": 0.0, "default": 0.0, "high": 2.0, "x-high": 4.0}
"""Semitones."""
VOLUMES = {"silent": None, "x-soft": -12.0, "soft": -6.0, "medium": 0.0, "default": 0.0, "loud": 6.0, "x-loud": 12.0}
"""Decibels; None for silence."""
_NUMBER = r"([0-9]{1,4}(?:\.[0-9]{0,4})?|\.[0-9]{1,4})"
_PITCH = re.compile(rf"([+-]){_NUMBER}\s?(st|%)")
_VOLUME = re.compile(rf"([+-]?){_NUMBER}\s?(dB|%)?")


def parse_pitch(written: str, outer: float) -> float:
    """Return the semitones of `high`, `+2st` or `-10%`, on top of those of the elements around it."""
    semitones = PITCHES.get(written.strip())
    if semitones is None:
        match = _PITCH.fullmatch(written.strip())
        if match is None:
            raise bad_markup(
                f"{written[:40]!r} is no pitch.", f"Write {', '.join(PITCHES)}, +2st (semitones) or -10%; no hertz."
            )
        semitones = float(match[1] + match[2])
        if match[3] == "%":
            factor = 1 + semitones / 100
            semitones = 12 * math.log2(factor) if factor > 0 else -math.inf
    semitones += outer
    if not -MAX_PITCH <= semitones <= MAX_PITCH:
        raise bad_markup(f"The pitch is {semitones:+g} semitones; it may be -{MAX_PITCH:g} to +{MAX_PITCH:g}.")
    return semitones


def parse_volume(written: str, outer: float) -> float:
    """Return the gain of `loud`, `+6dB`, `50` (of 100) or `-10%`, times that of the elements around it."""
    name = written.strip()
    if name in VOLUMES:
        decibels = VOLUMES[name]
        gain = 0.0 if decibels is None else 10 ** (decibels / 20)
    else:
        match = _VOLUME.fullmatch(name)
        if match is None or (match[1] and not match[3]):
            raise bad_markup(
                f"{written[:40]!r} is no volume.", f"Write {', '.join(VOLUMES)}, +6dB, 50 (of 100) or -10%."
            )
        number = float(match[1] + match[2])
        part = number / 100 + (1 if match[1] else 0)
        gain = 10 ** (number / 20) if match[3] == "dB" else max(0.0, part)
    gain *= outer
    if gain > MAX_GAIN:
        raise bad_markup(
            f"The volume is {20 * math.log10(gain):+.1f} dB; {20 * math.log10(MAX_GAIN):+g} dB is the most."
        )
    return gain
