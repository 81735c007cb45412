"""What stages say while they run: a code and its values, and the English sentence that they make.

The sentence is what is stored and sent; programs that show another language read the code and the values of it.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

ProgressCode = Literal[
    "waiting",
    "begins_at",
    "waits_for",
    "started",
    "switched_off",
    "paused",
    "cancelled",
    "task_failed",
    "completed",
    "completed_before",
    "reused",
    "not_requested",
    "seconds_converted",
    "cut_into",
    "all_transcribed",
    "segments_converted",
    "segments_cut",
    "segments_denoised",
    "segments_transcribed",
    "segments_encoded",
    "speakers_encoded",
    "segments_taken",
    "transcripts_read",
    "tokens_extracted",
    "epoch",
    "epoch_complete",
    "sentence_judged",
]
PROGRESS_CODES: Final[tuple[ProgressCode, ...]] = get_args(ProgressCode)
_SENTENCES: Final[dict[ProgressCode, str]] = {
    "waiting": "Waiting for a worker.",
    "begins_at": "Begins at {time}.",
    "waits_for": "Waits for {stages}.",
    "started": "Started.",
    "switched_off": "Switched off.",
    "paused": "Paused.",
    "cancelled": "Cancelled.",
    "task_failed": "The task failed.",
    "completed": "Completed.",
    "completed_before": "Completed: nothing that it is made of had changed, so the result that was there is used.",
    "reused": "Nothing that it is made of has changed; the result that is there is used.",
    "not_requested": "Not asked for.",
    "seconds_converted": "Converted {seconds} s of sound.",
    "cut_into": "Cut into {count} segments.",
    "all_transcribed": "Every segment has a transcript already.",
    "segments_converted": "Converted {done} of {count} segments.",
    "segments_cut": "Cut {done} of {count} segments.",
    "segments_denoised": "Denoised {done} of {count} segments.",
    "segments_transcribed": "Transcribed {done} of {count} segments.",
    "segments_encoded": "Encoded {done} of {count} segments.",
    "speakers_encoded": "Heard the speaker in {done} of {count} segments.",
    "segments_taken": "Took {done} of {count} segments of the data set.",
    "transcripts_read": "Read {done} of {count} transcripts.",
    "tokens_extracted": "Found the tokens of {done} of {count} segments.",
    "epoch": "Epoch {epoch} of {count}.",
    "epoch_complete": "Epoch {epoch} of {count} is complete.",
    "sentence_judged": "Judged sentence {number} of {count} of {voice}.",
}


_TEXTS: Final = frozenset({"stages", "time", "voice"})
"""Values that are no whole numbers."""


def progress_message(code: ProgressCode, **values: object) -> str:
    """Return the sentence of a code."""
    return _SENTENCES[code].format(**values)


def read_progress_message(sentence: str) -> tuple[ProgressCode, dict[str, str]] | None:
    """Return code and values of a sentence; None for one that no code makes, such as that of an error."""
    for code, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(sentence):
            return code, match.groupdict()
    return None


def _pattern(sentence: str) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        return f"(?P<{match[1]}>{'.+' if match[1] in _TEXTS else '[0-9]+'})"

    return re.compile(re.sub(r"\\{(\w+)\\}", group, re.escape(sentence)))


_PATTERNS: Final = {code: _pattern(sentence) for code, sentence in _SENTENCES.items()}
