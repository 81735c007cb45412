"""How each voice speaks a sentence with a fixed seed: noted by a backup, compared by a restore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from common.programs import SPOKEN_CHECK, program_command
from core.child_process import ChildProcess
from core.errors import SovitsError
from core.process import child_environment
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.storage import Storage
from recovery.backup.manifest import SpokenSentence

SEED: Final = 20_240
SENTENCES: Final = {
    "en": "The quick brown fox jumps over the lazy dog.",
    "zh": "今天天气很好。",
    "yue": "今日天氣好好。",
    "ja": "今日は良い天気です。",
    "ko": "오늘은 날씨가 좋습니다.",
}
"""By the language of a voice."""
MAX_LENGTH_DIFFERENCE: Final = 0.2
"""By which share the audio may be longer or shorter on other hardware."""


@dataclass(frozen=True, slots=True)
class SpeakingFailure:
    """A voice that did not speak."""

    voice_id: str
    message: str


async def sentences_to_speak(
    records: Records, storage: Storage, voices: Iterable[VoiceRecord]
) -> list[dict[str, object]]:
    """Return the requests for voices to speak, as the program reads them."""
    requests: list[dict[str, object]] = []
    for voice in voices:
        gpt = await records.checkpoints.get(voice.gpt_checkpoint_id)
        sovits = await records.checkpoints.get(voice.sovits_checkpoint_id)
        language = voice.language.removeprefix("all_")
        language = language if language in SENTENCES else "en"
        requests.append(
            {
                "id": voice.id,
                "gpt": str(storage.path(gpt.storage_key)),
                "sovits": str(storage.path(sovits.storage_key)),
                "text": SENTENCES[language],
                "language": language,
                "seed": SEED,
                "prompt": {
                    "audio": str(storage.path(voice.prompt["audio"])),
                    "text": voice.prompt["text"],
                    "language": voice.prompt["language"],
                    "tokens": voice.prompt.get("tokens"),
                },
            }
        )
    return requests


def speak_sentences(
    settings: Settings, requests: list[dict[str, object]], release_ids: Mapping[str, str], *, threads: int = 1
) -> Iterator[SpokenSentence | SpeakingFailure]:
    """Yield how each voice spoke its sentence, on the CPU, one after the other.

    Raises SovitsError when the process ends before all of them have spoken.
    """
    if not requests:
        return
    by_id = {str(request["id"]): request for request in requests}
    document = {"models": str(settings.models_folder), "threads": threads, "voices": requests}
    command = program_command(SPOKEN_CHECK)
    done = False
    with ChildProcess(command, env=child_environment(threads=threads), input=orjson.dumps(document)) as child:
        for event in child.events():
            assert event is not None
            done = done or event["event"] == "done"
            if event["event"] == "failed":
                yield SpeakingFailure(str(event["id"]), str(event["message"]))
            elif event["event"] == "spoken":
                voice_id = str(event["id"])
                yield SpokenSentence.model_validate(
                    {
                        **by_id[voice_id],
                        **event,
                        "voice_id": voice_id,
                        "release_id": release_ids.get(voice_id, ""),
                    }
                )
        if child.wait() != 0 or not done:
            raise SovitsError(f"The voices could not be tried: {child.describe_exit()}.", hint=" ".join(child.log_tail))


def describe_difference(expected: SpokenSentence, present: SpokenSentence) -> str:
    """Return how the audio of a voice differs from what a backup notes; empty when it is the same."""
    if expected.sha256 == present.sha256:
        return ""
    levels = zip(expected.loudness, present.loudness, strict=False)
    difference = max((abs(left - right) for left, right in levels), default=0.0)
    return f"{present.seconds:.2f} s instead of {expected.seconds:.2f} s, level differs by up to {difference:.1f} dB"


def differs_too_much(expected: SpokenSentence, present: SpokenSentence) -> bool:
    """Return whether audio is too short or too long to be the same sentence on other hardware."""
    return abs(expected.seconds - present.seconds) > MAX_LENGTH_DIFFERENCE * max(expected.seconds, 0.1)
