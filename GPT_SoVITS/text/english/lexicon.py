"""The pronouncing dictionary of English, and the context that tells words of one spelling apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from GPT_SoVITS.text.data import lines, table

BEFORE_VERBS = frozenset(
    (  # noqa: SIM905
        "i you we they to will would can could may might must shall should do does did don't doesn't didn't won't "
        "can't cannot couldn't wouldn't shouldn't let's please who i'll you'll we'll they'll he'll she'll i'd "
        "you'd we'd they'd"
    ).split()
)
BEFORE_PAST = frozenset(["he", "she", "it"])
BEFORE_PARTICIPLES = frozenset(
    (  # noqa: SIM905
        "have has had having i've you've we've they've haven't hasn't hadn't is are was were be been being am"
    ).split()
)
BEFORE_NOUNS = frozenset(
    (  # noqa: SIM905
        "a an the this that these those my your his her its our their no some any every each another new old of "
        "in on at for with by from under first last one two three"
    ).split()
)
OBJECTS = frozenset(
    (  # noqa: SIM905
        "a an the this that these those my your his her its our their it them me us him"
    ).split()
)


@cache
def lexicon() -> dict[str, str]:
    """Return lower-case word → its first pronunciation, phonemes joined by spaces."""
    words: dict[str, str] = {}
    for line in lines("cmudict.dict.gz"):
        word, _, phonemes = line.partition(" ")
        if word[-1] != ")":  # "read(2)" is a further pronunciation
            words[word] = phonemes.partition(" #")[0]
    changes = table("en_tables")
    words.update({word: " ".join(phonemes) for word, phonemes in changes["extra_words"].items()})
    for word in changes["removed_words"]:
        words.pop(word, None)
    return words


@cache
def homographs() -> dict[str, tuple[list[str], list[str], str]]:
    """Return word → (pronunciation with the tag, pronunciation without it, Penn tag)."""
    entries = {}
    for line in lines("en_homographs.txt"):
        if line and not line.startswith("#"):
            word, first, second, tag = line.split("|")
            entries[word.lower()] = (first.split(), second.split(), tag)
    for word, (first, second, tag) in table("en_tables")["homograph_overrides"].items():
        entries[word] = (first, second, tag)
    return entries


def homograph(word: str, before: str, after: str) -> list[str] | None:
    """Return the pronunciation that the neighbors decide; None for a word with one, or where they say too little.

    Words are in lower case; `before` and `after` are "" for punctuation and the ends of a text.
    """
    entry = homographs().get(word)
    tag = _guess_tag(before, after) if entry else ""
    if entry is None or not tag:
        return None
    with_tag, without_tag, entry_tag = entry
    return with_tag if tag.startswith(entry_tag) or entry_tag.startswith(tag) else without_tag


def _guess_tag(before: str, after: str) -> str:
    """Return the likely Penn tag of the word between two others; "" where they say too little."""
    if before in BEFORE_VERBS:
        return "VBP"
    if before in BEFORE_PAST:
        return "VBD"
    if before in BEFORE_PARTICIPLES:
        return "VBN"
    if before in BEFORE_NOUNS:
        return "NN"
    return "VB" if after in OBJECTS else ""


def compound(word: str) -> list[str] | None:
    """Return the fewest dictionary words of 4 or more letters that make up a longer one; None if none do."""
    words, size = lexicon(), len(word)
    if not 8 <= size <= 40:
        return None
    best: list[Sequence[str] | None] = [()] + [None] * size
    for end in range(4, size + 1):
        for start in range(0, end - 3):
            head = best[start]
            if head is None or (start == 0 and end == size) or word[start:end] not in words:
                continue
            if best[end] is None or len(head) + 1 < len(best[end] or ()):
                best[end] = (*head, word[start:end])
    parts = best[size]
    return list(parts) if parts and len(parts) > 1 else None
