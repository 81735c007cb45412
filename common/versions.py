"""The versions of the GPT-SoVITS family."""

from __future__ import annotations

from typing import Final, Literal, get_args

Version = Literal["v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano"]

RequestedVersion = Literal["auto", "v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano"]
"""What a request may name; `auto` is the best version that is installed."""
AUTO: Final = "auto"

VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
"""All versions; `nano` is this project's own small model, the others are upstream's."""
UPSTREAM_VERSIONS: Final[tuple[Version, ...]] = tuple(version for version in VERSIONS if version != "nano")
"""The versions that have official weights."""
BEST_FIRST: Final[tuple[Version, ...]] = ("v2ProPlus", "v2Pro", "v4", "v3", "v2", "v1", "nano")
"""All versions in the order in which `auto` prefers them."""
SPEAKER_VECTOR_VERSIONS: Final[frozenset[Version]] = frozenset({"v2Pro", "v2ProPlus"})
"""The versions whose SoVITS model is conditioned on a speaker vector."""
NANO_LANGUAGES: Final = ("zh", "en")
"""What the bundled base was trained on; it reads other languages by phonemes that it never heard."""
TIMBRE_VERSIONS: Final[frozenset[Version]] = frozenset({"v1", "v2", "v2Pro", "v2ProPlus"})
"""The versions whose GPT continues the prompt while the second stage takes the timbre from any recording."""
FLOW_MATCHING_VERSIONS: Final[frozenset[Version]] = frozenset({"v3", "v4"})
"""The versions that generate a mel spectrogram by flow matching and need a vocoder."""

SAMPLE_RATES: Final[dict[str, int]] = {
    **dict.fromkeys(("v1", "v2", "v2Pro", "v2ProPlus"), 32_000),
    "v3": 24_000,
    "v4": 48_000,
    "nano": 16_000,
}
"""Hz at which the models of a version speak."""


def spoken_languages(version: str) -> tuple[str, ...]:
    """Return the languages that voices of a version speak; any for an unknown version."""
    return {"nano": NANO_LANGUAGES, "v1": ("zh", "en", "ja")}.get(version, ("zh", "en", "ja", "ko", "yue"))


def gpt_family(version: str) -> str:
    """Return the version whose GPT models, phonemes and tokens a version uses: v1 and nano have their own.

    All other versions share those of v2.
    """
    return version if version in ("v1", "nano") else "v2"
