"""Compare the recordings of a data set with each other: duplicates, and other speakers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from GPT_SoVITS.dataset.checks import QualityFlag
from GPT_SoVITS.dataset.fingerprint import near_duplicates

MAX_COMPARED = 400
"""Recordings among which the main speaker is searched; a larger set is thinned out evenly."""
MIN_SPEAKERS = 3
"""Of two voices nobody knows which one is the main one."""


def duplicates(
    checksums: Mapping[int, str], fingerprints: Mapping[int, np.ndarray], names: Mapping[int, str]
) -> dict[int, QualityFlag]:
    """Return a flag for each recording whose samples, or whose audio, an earlier one has already.

    `names` is for the messages.
    """
    flags: dict[int, QualityFlag] = {}
    first: dict[str, int] = {}
    for recording, checksum in checksums.items():
        other = first.setdefault(checksum, recording)
        if other != recording:
            message = f"It is the same as {names[other]}, sample by sample."
            flags[recording] = QualityFlag("duplicate", message, other=other)
    distinct = {recording: frames for recording, frames in fingerprints.items() if recording not in flags}
    for recording, other in near_duplicates(distinct).items():
        message = f"It is the recording {names[other]} in another form."
        flags[recording] = QualityFlag("near_duplicate", message, other=other)
    return flags


def other_speakers(
    speakers: Mapping[int, np.ndarray], min_similarity: float
) -> tuple[dict[int, QualityFlag], dict[int, float]]:
    """Return a flag for each recording of another speaker than most, and the similarity of each one (−1 to 1).

    `speakers` are unit vectors, (256,). The main speaker is the one that most others resemble; all are compared with
    the mean over those.
    """
    if len(speakers) < MIN_SPEAKERS:
        return {}, {}
    recordings = list(speakers)
    vectors = np.stack([speakers[recording] for recording in recordings]).astype(np.float64)  # (V, 256)
    sample = vectors[:: -(-len(vectors) // MAX_COMPARED)]
    center = sample[int(np.argmax(np.median(sample @ sample.T, axis=1)))]
    for _ in range(3):
        near = vectors[vectors @ center >= min_similarity]
        mean = near.mean(axis=0) if len(near) else center
        center = mean / np.linalg.norm(mean)
    similarities = {recording: round(float(vector @ center), 4) for recording, vector in zip(recordings, vectors)}
    flags = {
        recording: QualityFlag(
            "other_speaker",
            f"Its voice has a likeness of {value:.2f} to the main speaker's; {min_similarity:g} is the least.",
            value,
        )
        for recording, value in similarities.items()
        if value < min_similarity
    }
    return flags, similarities
