"""The utterances of a speech request: what the splitter, or a process that splits itself, makes of a text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from common.limits import MAX_SPEED, MIN_SPEED
from common.text_origins import TextOrigin
from core.speech.requests import PronunciationSpan, SpeechRequest, UtteranceRequest
from core.speech.text_language import guess_language


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

    @property
    def origins(self) -> tuple[TextOrigin, ...]: ...


def utterance_requests(
    request: SpeechRequest, parent: str, utterances: Sequence[SplitUtterance], first: int = 0, *, notice: str = ""
) -> list[UtteranceRequest]:
    """Return the utterances of a request with everything that they need, numbered from `first`.

    Each has a seed from now on: a worker that speaks it again, after another one died, gets the same samples. Together
    they cover the text: what nobody speaks belongs to the utterance before it, at the start to the first one.
    `notice` is spoken in an utterance of its own before the one with the number 0.
    """
    if notice and first == 0 and utterances:
        requests = utterance_requests(request, parent, utterances, 1)
        return [_spoken_notice(requests[0], notice), *requests]
    starts = [utterance.origins[0].begin if utterance.origins else 0 for utterance in utterances]
    ends = [*starts[1:], len(request.text)]
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
            text_start=start if index > first else 0,
            text_end=end,
            origins=utterance.origins,
            timestamps=request.timestamps,
        )
        for index, (utterance, start, end) in enumerate(zip(utterances, starts, ends, strict=True), first)
    ]


def _spoken_notice(first: UtteranceRequest, text: str) -> UtteranceRequest:
    """Return the utterance that speaks a notice in the voice of what would be first, at the voice's own pace."""
    changes: dict[str, object] = {"index": 0, "text": text, "language": guess_language(text), "notice": True}
    silences: dict[str, object] = {"silence_before": 0.0, "silence_after": 0.0}
    place: dict[str, object] = {"text_start": first.text_start, "text_end": first.text_start, "origins": ()}
    return first.model_copy(update={**changes, **silences, **place, "speed": 1.0, "readings": (), "timestamps": None})
