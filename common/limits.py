"""Limits of what a request may ask for."""

from __future__ import annotations

from typing import Final

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0
"""Times the voice's own pace, of a request and of a passage in a text with markup."""
MAX_PITCH: Final = 12.0
"""Semitones that a passage may be above or below its voice."""
MAX_GAIN: Final = 10.0
"""Times the voice's own amplitude, of a passage."""

MAX_SEED: Final = 2**63 - 1
"""Largest seed: what SQL, JSON libraries and random generators carry as a signed integer of 64 bits."""

MAX_TOP_K: Final = 1024
"""Codes of a codebook; as many keep every token."""
MAX_TEMPERATURE: Final = 2.0
MAX_REPETITION_PENALTY: Final = 10.0
MAX_SAMPLE_STEPS: Final = 128
"""Steps of the sampler of v3 and v4."""
MAX_FRAGMENT_INTERVAL: Final = 10.0
"""Seconds of silence after an utterance."""
MAX_MIN_CHUNK_LENGTH: Final = 200
MAX_CHUNK_OVERLAP: Final = 50
"""Semantic tokens, 25 to the second, of the chunks of a stream."""
MIN_LOUDNESS, MAX_LOUDNESS = -40.0, -8.0
"""LUFS that speech can be brought to."""
MIN_TRUE_PEAK, MAX_TRUE_PEAK = -20.0, 0.0
"""dBTP."""
MAX_EXTRA_REFERENCES: Final = 16
"""Reference recordings beside the first one, whose styles are averaged."""

MAX_PRONUNCIATIONS: Final = 1000
"""Entries of a pronunciation dictionary."""
MAX_PRONUNCIATION_WORD_LENGTH: Final = 100
"""Characters of an entry's word."""
MAX_PRONUNCIATION_LENGTH: Final = 500
"""Characters of an entry's pronunciation."""

NANO_PROMPT_SECONDS: Final = (1.0, 30.0)
UPSTREAM_PROMPT_SECONDS: Final = (3.0, 10.0)
"""Shortest and longest reference recording; upstream's versions were trained on such."""


def prompt_seconds(version: str) -> tuple[float, float]:
    """Return the shortest and the longest reference recording of a version."""
    return NANO_PROMPT_SECONDS if version == "nano" else UPSTREAM_PROMPT_SECONDS


MAX_API_WORKERS: Final = 64
"""Processes of the API on one host."""
