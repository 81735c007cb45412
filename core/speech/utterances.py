"""The utterances of a speech request: what the splitter, or a process that splits itself, makes of a text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, Required

from typing_extensions import TypedDict

from common.limits import MAX_SPEED, MIN_SPEED
from common.text_origins import TextOrigin
from core.errors import VoiceNotFound
from core.speech.requests import PromptRef, PronunciationSpan, SpeechRequest, UtteranceRequest
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


class SpokenMark(Protocol):
    """A mark in a text."""

    @property
    def name(self) -> str: ...

    @property
    def position(self) -> int: ...


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
    def pitch(self) -> float: ...

    @property
    def gain(self) -> float: ...

    @property
    def voice(self) -> str: ...

    @property
    def marks(self) -> Sequence[SpokenMark]: ...

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
            speed=min(max(request.speed * utterance.rate, MIN_SPEED), MAX_SPEED),
            pitch=utterance.pitch,
            gain=utterance.gain,
            seed=request.seed if request.seed is not None else random.getrandbits(32),
            repeatable=request.seed is not None,
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
            marks=tuple((mark.name, mark.position) for mark in utterance.marks),
            timestamps=request.timestamps,
            **_voice_of(request, utterance.voice),
        )
        for index, (utterance, start, end) in enumerate(zip(utterances, starts, ends, strict=True), first)
    ]


def first_of_each_voice(utterances: Iterable[UtteranceRequest]) -> list[UtteranceRequest]:
    """Return the first utterance of each voice, notices left out."""
    first: dict[str, UtteranceRequest] = {}
    for utterance in utterances:
        if not utterance.notice:
            first.setdefault(utterance.voice_id, utterance)
    return list(first.values())


class _VoiceFields(TypedDict, total=False):
    """The fields of an utterance that say whose voice it has."""

    voice_id: Required[str]
    voice_stamp: str
    prompt: PromptRef | None
    prompt_name: str
    extra_references: tuple[str, ...]
    timbre: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    loudness: float | None


def _voice_of(request: SpeechRequest, name: str) -> _VoiceFields:
    """Return the voice of a name; the empty one is that of the request, whose references and checkpoints are its own.

    Raises VoiceNotFound for a name that the request does not know.
    """
    if not name:
        return {
            "voice_id": request.voice_id,
            "voice_stamp": request.voice_stamp,
            "prompt": request.prompt,
            "prompt_name": request.prompt_name,
            "extra_references": request.extra_references,
            "timbre": request.timbre,
            "gpt_checkpoint_id": request.gpt_checkpoint_id,
            "sovits_checkpoint_id": request.sovits_checkpoint_id,
            "loudness": request.loudness,
        }
    voice = request.voices.get(name)
    if voice is None:
        raise VoiceNotFound(f"no voice named {name!r}", hint="GET /api/v1/voices lists them.")
    return {
        "voice_id": voice.voice_id,
        "voice_stamp": voice.voice_stamp,
        "prompt_name": voice.prompt_name,
        "loudness": voice.loudness,
    }


MANNER: Final[dict[str, object]] = {"speed": 1.0, "pitch": 0.0, "gain": 1.0}
"""The voice's own."""


def _spoken_notice(first: UtteranceRequest, text: str) -> UtteranceRequest:
    """Return the utterance that speaks a notice in the voice of what would be first, at the voice's own pace."""
    changes: dict[str, object] = {"index": 0, "text": text, "language": guess_language(text), "notice": True}
    silences: dict[str, object] = {"silence_before": 0.0, "silence_after": 0.0}
    place: dict[str, object] = {"text_start": first.text_start, "text_end": first.text_start, "origins": ()}
    return first.model_copy(
        update={**changes, **silences, **place, **MANNER, "readings": (), "marks": (), "timestamps": None}
    )
