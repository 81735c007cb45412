"""What is wrong with recordings beside each other: duplicates, and voices of others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from GPT_SoVITS.dataset.checks import Flag
from GPT_SoVITS.dataset.fingerprint import near_duplicates

LOOKED_AT = 400
"""Recordings among which the main speaker is looked for; a larger set is thinned out evenly."""
FEWEST_VOICES = 3
"""Of two voices nobody knows which one is the main one."""


def duplicates(
    hashes: Mapping[int, str], prints: Mapping[int, np.ndarray], names: Mapping[int, str]
) -> dict[int, Flag]:
    """Recordings whose samples, or whose sound, an earlier one has already. `names` is for the sentences."""
    found: dict[int, Flag] = {}
    first: dict[str, int] = {}
    for key, digest in hashes.items():
        other = first.setdefault(digest, key)
        if other != key:
            found[key] = Flag("duplicate", f"It is the same as {names[other]}, sample by sample.", other=other)
    alike = near_duplicates({key: one for key, one in prints.items() if key not in found})
    for key, other in alike.items():
        found[key] = Flag("near_duplicate", f"It is the recording {names[other]} in another form.", other=other)
    return found


def other_speakers(voices: Mapping[int, np.ndarray], least: float) -> tuple[dict[int, Flag], dict[int, float]]:
    """Recordings whose voice is unlike that of most, and how like each one is (−1 to 1).

    The main speaker is the voice that most others are like; its mean over those is what each is compared with.
    """
    if len(voices) < FEWEST_VOICES:
        return {}, {}
    keys = list(voices)
    every = np.stack([voices[key] for key in keys]).astype(np.float64)  # (V, 256), unit vectors
    some = every[:: -(-len(every) // LOOKED_AT)]
    likeness = some @ some.T
    middle = some[int(np.argmax(np.median(likeness, axis=1)))]
    for _ in range(3):
        near = every[every @ middle >= least]
        mean = near.mean(axis=0) if len(near) else middle
        middle = mean / np.linalg.norm(mean)
    found: dict[int, Flag] = {}
    similar = {key: round(float(voice @ middle), 4) for key, voice in zip(keys, every)}
    for key, value in similar.items():
        if value < least:
            message = f"Its voice has a likeness of {value:.2f} to the main speaker's; {least:g} is the least."
            found[key] = Flag("other_speaker", message, value)
    return found, similar
