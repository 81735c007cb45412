"""Plain English sentences of everyday words, whose words a recognizer cannot mistake easily."""

from __future__ import annotations

import random
from typing import Final

PEOPLE: Final = (
    "my brother|the teacher|our neighbor|the old farmer|a young doctor|her grandmother|the driver|the captain|"
    "a little girl|the painter|his uncle|the manager|the children|two students|the visitors|the police officer"
)
ACTIONS: Final = (
    "opened the window|closed the heavy door|read a long letter|bought fresh bread|painted the kitchen wall|"
    "carried a wooden box|found the silver key|wrote a short story|watched the evening train|"
    "cleaned the red car|repaired the broken clock|watered the yellow flowers|cooked a simple dinner|"
    "answered the telephone|walked across the bridge|looked at the mountains|forgot the umbrella|"
    "asked for directions|lost a brown coat|counted the apples|planted a small tree|told a funny story|"
    "drank a cup of tea|missed the last bus"
)
PLACES: Final = (
    "in the garden|near the station|at the library|by the river|in the village|behind the school|"
    "on the corner|outside the museum|in front of the house|at the market|on the beach|under the bridge"
)
TIMES: Final = (
    "before breakfast|after the meeting|on Monday morning|last summer|every evening|at midnight|"
    "during the storm|on a cold day|after the concert|at the end of the week"
)
LINKS: Final = ("and then", "because", "while", "but", "although")


def plain_sentences(count: int, seed: int = 17) -> list[str]:
    """Return so many different sentences of six to thirty words, the same for the same seed."""
    rng = random.Random(seed)
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        parts = [f"{rng.choice(PEOPLE.split('|'))} {rng.choice(ACTIONS.split('|'))} {rng.choice(PLACES.split('|'))}"]
        if rng.random() < 0.5:
            parts[0] += f" {rng.choice(TIMES.split('|'))}"
        if rng.random() < 0.4:
            parts.append(f"{rng.choice(LINKS)} {rng.choice(PEOPLE.split('|'))} {rng.choice(ACTIONS.split('|'))}")
        sentence = ", ".join(parts)
        sentences[f"{sentence[0].upper()}{sentence[1:]}."] = None
    return list(sentences)
