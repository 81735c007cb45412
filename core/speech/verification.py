"""What is reported of speech that was verified before it was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NotRequired, cast, get_args

from typing_extensions import TypedDict

VerifyMode = Literal["off", "fast", "asr"]
"""`off`: not at all; `fast`: by tokens and samples; `asr`: a recognizer compares the words of whole sentences, too."""
VERIFY_MODES: Final[tuple[VerifyMode, ...]] = get_args(VerifyMode)
DEFAULT_VERIFY: Final[VerifyMode] = "fast"
Verdict = Literal["ok", "doubtful", "unverified"]


class SpeechFault(TypedDict):
    """Something wrong in an utterance; times in seconds from its start."""

    kind: str
    start: float
    end: float
    repeated: NotRequired[bool]
    """Whether another attempt, with another seed, had it at the same place: it may be the voice's way to speak."""


class SpeechVerification(TypedDict):
    """How an utterance was verified."""

    verdict: Verdict
    """`doubtful`: it has faults that no attempt corrected; `unverified`: nobody wanted to know."""
    attempts: int
    """How often it was spoken."""
    faults: list[SpeechFault]
    """Those that are left."""
    unchecked: list[str]
    """What could not be verified: `coverage`, whether all words are spoken and no others; `speaker`."""
    speaker_similarity: NotRequired[float]
    """Of the voice that is heard to the prompt's, from -1 to 1; with `verify_speaker`."""


class PartialVerification(TypedDict, total=False):
    """A `SpeechVerification` in the result of an utterance, which older workers left out."""

    verdict: Verdict
    attempts: int
    faults: list[SpeechFault]
    unchecked: list[str]
    speaker_similarity: float


UNVERIFIED: Final[SpeechVerification] = {"verdict": "unverified", "attempts": 1, "faults": [], "unchecked": []}


class VerifiedUtterance(SpeechVerification):
    """How an utterance of a text was verified."""

    index: int
    """Of the utterance, counted from 0."""
    text: str


class VerificationSummary(TypedDict):
    """What became of the utterances of a text."""

    verified: int
    """Utterances that were verified."""
    retried: int
    """Those of them that were spoken more than once."""
    doubtful: list[VerifiedUtterance]
    """Those that are still in doubt."""


def verification_of(result: Mapping[str, Any]) -> SpeechVerification:
    """Return the verification in the result of a synthesizer's job; an older worker's has none."""
    verification = {name: result.get(name, value) for name, value in UNVERIFIED.items()}
    if "speaker_similarity" in result:
        verification["speaker_similarity"] = result["speaker_similarity"]
    return cast(SpeechVerification, verification)


def summarize_verified(utterances: Iterable[VerifiedUtterance]) -> VerificationSummary:
    """Return the summary of a text's utterances that were verified, in order."""
    verified = list(utterances)
    return {
        "verified": len(verified),
        "retried": sum(utterance["attempts"] > 1 for utterance in verified),
        "doubtful": [utterance for utterance in verified if utterance["verdict"] == "doubtful"],
    }


def summarize_verification(results: Iterable[Mapping[str, Any]]) -> VerificationSummary:
    """Return the summary of the results of a text's utterances, in order."""
    utterances = (
        VerifiedUtterance(**verification_of(result), index=index, text=result["text"])
        for index, result in enumerate(results)
    )
    return summarize_verified(utterance for utterance in utterances if utterance["verdict"] != "unverified")
