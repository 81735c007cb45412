"""The audible signal before synthetic speech, in the rhythm that GB 45438-2025 specifies: short long, short short.

These are the letters A and I in Morse code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

UNIT_SECONDS: Final = 0.08
"""Of a short tone; a long one has three, the pause between tones one, between letters three."""
LETTERS: Final = ((1, 3), (1, 1))
END_UNITS: Final = 5
"""Silence before the speech."""
HERTZ: Final = 880.0
AMPLITUDE: Final = 0.2
FADE_SECONDS: Final = 0.008
"""At the beginning and the end of a tone, which would click."""


def rhythm(sample_rate: int) -> bytes:
    """Return the signal as 16-bit samples at a rate."""
    import numpy as np

    unit = round(UNIT_SECONDS * sample_rate)
    parts: list[np.ndarray] = []
    for number, letter in enumerate(LETTERS):
        if number:
            parts.append(np.zeros(3 * unit))
        for position, units in enumerate(letter):
            if position:
                parts.append(np.zeros(unit))
            parts.append(_tone(units * unit, sample_rate))
    parts.append(np.zeros(END_UNITS * unit))
    return (np.concatenate(parts) * 32767).astype("<i2").tobytes()


def _tone(length: int, sample_rate: int) -> np.ndarray:
    import numpy as np

    time = np.arange(length) / sample_rate
    fade = np.minimum(1, np.minimum(time, time[::-1]) / FADE_SECONDS)
    tone: np.ndarray = AMPLITUDE * fade * np.sin(2 * math.pi * HERTZ * time)
    return tone
