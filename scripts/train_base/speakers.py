"""The teacher's speakers: its voices, and mixtures of two of one sex, who are people that nobody recorded."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

SEED = 16
MIXTURES = 20
"""Speakers beside the pure voices."""
SHARE = (0.35, 0.65)
"""Of the first voice in a mixture."""
MANDARIN: Final = ("zf_xiaoyi", "zf_xiaobei", "zf_xiaoxiao", "zm_yunjian", "zm_yunxi", "zm_yunxia", "zm_yunyang")
"""Without zf_xiaoni, whose tones are those of another dialect."""
ENGLISH: Final = (
    "af_heart", "af_bella", "af_nicole", "af_aoede", "af_kore", "af_sarah", "af_nova", "af_alloy",
    "am_michael", "am_fenrir", "am_puck", "am_echo", "am_eric", "am_liam", "am_onyx",
    "bf_emma", "bf_isabella", "bm_george", "bm_fable", "bm_lewis",
)  # fmt: skip
FURTHER: Final = (
    "af_river", "am_santa", "bf_alice", "ef_dora", "em_alex", "em_santa", "ff_siwis", "hf_alpha", "hf_beta", "hm_omega",
    "hm_psi", "if_sara", "im_nicola", "jf_gongitsune", "jf_tebukuro", "pf_dora", "pm_alex", "pm_santa",
)  # fmt: skip
"""Voices that say little, and with their mixtures make the sound of a voice independent of what it says."""
FURTHER_MIXTURES: Final = 40
FURTHER_SHARE: Final = (0.3, 0.7)
FURTHER_MANDARIN: Final = 0.7
OWN_LANGUAGE = 0.65
"""How much of what a voice says is in the language that it was made of."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker by name, with what it is mixed of."""

    name: str
    """Without a hyphen, which divides the names of clips."""
    voices: dict[str, float]
    """The teacher's voice → its share."""
    mandarin: float
    """How much of what it says is Mandarin, 0–1."""


def speakers() -> list[Speaker]:
    """Return all of them, the same at each call."""
    pure = [Speaker(name, {name: 1.0}, 1 - OWN_LANGUAGE) for name in ENGLISH]
    pure += [Speaker(name, {name: 1.0}, OWN_LANGUAGE) for name in MANDARIN]
    rng = random.Random(SEED)
    mixed: dict[str, Speaker] = {}
    while len(mixed) < MIXTURES:
        first = rng.choice(MANDARIN if len(mixed) % 2 else ENGLISH)
        second = rng.choice([name for name in ENGLISH + MANDARIN if name != first and name[1] == first[1]])
        share = round(rng.uniform(*SHARE), 2)
        mixed.setdefault(
            f"{first}+{second}", Speaker(f"{first}+{second}", {first: share, second: round(1 - share, 2)}, 0.5)
        )
    return pure + list(mixed.values())


def further_speakers() -> list[Speaker]:
    """Return those of `FURTHER` and mixtures of any two voices that train, the same at each call."""
    people = {name: Speaker(name, {name: 1.0}, FURTHER_MANDARIN) for name in FURTHER}
    names = {speaker.name for speaker in speakers()}
    rng = random.Random(SEED + 1)
    while len(people) < len(FURTHER) + FURTHER_MIXTURES:
        first, second = rng.sample(ENGLISH + MANDARIN + FURTHER, 2)
        share = round(rng.uniform(*FURTHER_SHARE), 2)
        name = f"{first}+{second}"
        if name not in names:
            people.setdefault(name, Speaker(name, {first: share, second: round(1 - share, 2)}, FURTHER_MANDARIN))
    return list(people.values())
