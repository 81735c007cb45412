"""The utterances of a speech request: what the splitter, or a process that splits itself, makes of a text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from common.limits import MAX_SPEED, MIN_SPEED
from core.speech.requests import PronunciationSpan, SpeechRequest, UtteranceRequest


class SpokenSpan(Protocol):
    """A pronunciation that was given for a span of a text."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def language(self) -> str: ...

    @property
    def units(self) -> tuple[str, ...]: ...


class SplitUtterance(Protocol):
    """An utterance as the text front end returns it."""

    @property
    def text(self) -> str: ...

    @property
    def language(self) -> str: ...

    @property
    def pronunciations(self) -> Sequence[SpokenSpan]: ...

    @property
    def rate(self) -> float: ...

    @property
    def silence_before(self) -> float: ...

    @property
    def silence_after(self) -> float: ...


def utterance_requests(
    request: SpeechRequest, parent: str, utterances: Sequence[SplitUtterance], first: int = 0
) -> list[UtteranceRequest]:
    """Return the utterances of a request with everything that they need, numbered from `first`.

    Each has a seed from now on: a worker that speaks it again, after another one died, gets the same samples.
    """
    return [
        UtteranceRequest(
            parent=parent,
            index=index,
            text=utterance.text,
            language=utterance.language,
            voice_id=request.voice_id,
            voice_stamp=request.voice_stamp,
            speed=min(max(request.speed * utterance.rate, MIN_SPEED), MAX_SPEED),
            seed=request.seed if request.seed is not None else random.getrandbits(32),
            repeatable=request.seed is not None,
            prompt=request.prompt,
            prompt_name=request.prompt_name,
            extra_references=request.extra_references,
            gpt_checkpoint_id=request.gpt_checkpoint_id,
            sovits_checkpoint_id=request.sovits_checkpoint_id,
            sampling=request.sampling,
            announced=bool(request.assembly),
            readings=tuple(
                PronunciationSpan(start=span.start, end=span.end, language=span.language, units=span.units)
                for span in utterance.pronunciations
            ),
            silence_before=utterance.silence_before,
            silence_after=utterance.silence_after,
        )
        for index, utterance in enumerate(utterances, first)
    ]
