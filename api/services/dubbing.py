"""Subtitles to be spoken, checked: every cue has words that its voice can say, and a voice that the caller may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from api.http.errors import InvalidBody
from api.http.request_context import warn_caller
from api.services.speech import SpeechOptions, SpeechService
from common.audio_formats import AudioFormat
from core.errors import EmptyText, InvalidRequest, SovitsError, TextTooLong
from core.speech.checks import check_spoken_languages
from core.speech.cues import SpokenCue
from core.speech.dubbing_jobs import DubbedCue, DubbingPlan
from core.speech.requests import SpeechRequest

_ANY_TEXT = "text"


async def plan_dubbing(
    speech: SpeechService,
    cues: Sequence[SpokenCue],
    voice: str,
    voices: Mapping[str, str],
    options: SpeechOptions,
    *,
    speeds: tuple[float, float],
    audio_format: AudioFormat,
) -> DubbingPlan:
    """Return what is spoken when.

    `voices`: speaker → voice, `voice`: of all others; `speeds`: the slowest and the fastest, times that of the options.
    Raises as `SpeechService.request`; InvalidRequest for a speaker without a voice.
    """
    _check(speech, cues, speeds)
    requests: dict[str, SpeechRequest] = {}
    planned: list[DubbedCue] = []
    names = {speaker.casefold(): name for speaker, name in voices.items()}
    for cue in cues:
        if not cue.text:
            continue
        name = names.get(cue.speaker.casefold(), "") or voice
        if not name:
            speaker = f"{cue.speaker!r}" if cue.speaker else "nobody in particular"
            raise InvalidRequest(
                f"The cue at line {cue.line} is spoken by {speaker}, who has no voice.",
                hint="Send `voice` for all speakers that `voices` does not name.",
            )
        if name not in requests:
            text_options = replace(options, input_type="text", sample_rate=options.sample_rate)
            requests[name] = (await speech.request(_ANY_TEXT, name, text_options)).model_copy(update={"text": ""})
        own = requests[name]
        if warning := _located(cue, own):
            warn_caller(warning)
        planned.append(DubbedCue(start=cue.start, end=cue.end, text=cue.text, voice=list(requests).index(name)))
    return DubbingPlan(
        cues=tuple(planned),
        voices=tuple(requests.values()),
        min_speed=speeds[0],
        max_speed=speeds[1],
        format=audio_format,
        seconds=max(cue.end for cue in cues),
    )


def _check(speech: SpeechService, cues: Sequence[SpokenCue], speeds: tuple[float, float]) -> None:
    if not any(cue.text for cue in cues):
        raise EmptyText("The subtitles hold nothing to say.", hint="Send cues with words.")
    characters, longest = sum(len(cue.text) for cue in cues), speech.settings.max_text_characters
    if characters > longest:
        raise TextTooLong(
            f"The subtitles have {characters:,} characters; {longest:,} is the most.", hint="Send two files."
        )
    if speeds[0] > speeds[1]:
        raise InvalidBody(
            f"min_speed is {speeds[0]:g}, above max_speed, {speeds[1]:g}.", hint="Cues are spoken between the two."
        )


def _located(cue: SpokenCue, request: SpeechRequest) -> str:
    """Return a warning where the voice does not speak the language of a cue; an error names its line."""
    try:
        return check_spoken_languages(request, cue.text)
    except SovitsError as error:
        error.message = f"The cue at line {cue.line}: {error.message}"
        raise
