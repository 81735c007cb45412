"""Looks into recordings that strangers sent, a few at a time, each in a limited child process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from core.errors import BadAudio, SilentRecording
from core.media.decode import AudioInfo, check_recording, decode, probe
from core.speech.checks import canonical_language
from core.speech.requests import PromptRef
from core.storage import Storage

CHILDREN: Final = 2
"""Files looked into at the same time; the others wait."""
MIN_PROMPT_SECONDS: Final = 1.0
MAX_PROMPT_SECONDS: Final = 30.0


class Recordings:
    """Probes and decodes; nothing of a stranger's file is parsed in this process."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._children = asyncio.Semaphore(CHILDREN)

    async def check(self, path: Path) -> AudioInfo:
        """What it is. BadAudio when it is no sound, is cut off, silent, or too short to hold a voice."""
        async with self._children:
            info = await asyncio.to_thread(probe, path)
            if not info.complete:
                raise _broken(info.broken_at_seconds or info.duration_seconds)
            report = await asyncio.to_thread(check_recording, path)
        if not report.complete:
            raise _broken(report.seconds)
        if report.silent:
            raise SilentRecording(
                f"Nothing can be heard in the {report.seconds:.1f} s of the recording.",
                hint="Check the microphone or the volume, and record again.",
            )
        return info

    async def keep_prompt(
        self,
        path: Path,
        key: str,
        text: str,
        language: str = "auto",
        *,
        seconds: tuple[float, float] = (MIN_PROMPT_SECONDS, MAX_PROMPT_SECONDS),
    ) -> PromptRef:
        """Decode a reference recording, whole, audible and neither too short nor too long, to a WAV under a key."""
        info = await self.check(path)
        shortest, longest = seconds
        if not shortest <= info.duration_seconds <= longest:
            raise BadAudio(
                f"The reference recording lasts {info.duration_seconds:.1f} s.",
                hint=f"It may last {shortest:g} to {longest:g} s; 3 to 10 s are best.",
            )
        temporary = self.storage.new_temporary()
        try:
            async with self._children:
                await asyncio.to_thread(decode, path, temporary, mono=True, max_seconds=MAX_PROMPT_SECONDS + 1)
            await asyncio.to_thread(self.storage.publish, temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return PromptRef(audio=key, text=text, language=canonical_language(language))


def _broken(seconds: float) -> BadAudio:
    return BadAudio(
        f"The recording breaks off after {seconds:.1f} s.",
        hint="The file is damaged or incomplete: send the whole of it.",
        details={"breaks_at_seconds": round(seconds, 3)},
    )
