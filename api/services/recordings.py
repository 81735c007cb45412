"""Untrusted recordings: probed and decoded in limited child processes, a few at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from common.limits import NANO_PROMPT_SECONDS
from core.errors import BadAudio, SilentRecording
from core.media.analysis import RecordingAnalysis, analyze_wav
from core.media.decode import AudioInfo, check_recording, decode, probe
from core.net.fetch import Fetcher
from core.speech.checks import canonical_language
from core.speech.requests import PromptRef
from core.storage import Storage

MAX_CHILDREN: Final = 2
"""Files examined at the same time; the others wait."""


class RecordingService:
    """Checks and decodes recordings; no untrusted file is parsed in this process."""

    def __init__(self, storage: Storage, fetcher: Fetcher) -> None:
        self.storage = storage
        self.fetcher = fetcher
        self._children = asyncio.Semaphore(MAX_CHILDREN)

    async def check(self, path: Path) -> AudioInfo:
        """Return the properties of a recording; raise BadAudio when it is no audio, cut off, silent or too short."""
        async with self._children:
            info = await asyncio.to_thread(probe, path)
            if not info.complete:
                raise _truncated(info.broken_at_seconds or info.duration_seconds)
            report = await asyncio.to_thread(check_recording, path)
        if not report.complete:
            raise _truncated(report.seconds)
        if report.silent:
            raise SilentRecording(
                f"Nothing can be heard in the {report.seconds:.1f} s of the recording.",
                hint="Check the microphone or the volume, and record again.",
            )
        return info

    async def read_mono(self, path: Path, *, sample_rate: int, max_seconds: float) -> Path:
        """Decode a recording to a mono 16-bit WAV in a temporary file, which the caller deletes. Raises BadAudio."""
        temporary = self.storage.new_temporary()
        try:
            async with self._children:
                await asyncio.to_thread(
                    decode, path, temporary, sample_rate=sample_rate, mono=True, max_seconds=max_seconds
                )
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    async def analyze(self, path: Path, sample_rate: int) -> RecordingAnalysis:
        """Measure a recording at this rate in Hz: level, clipping, noise, audible time. Raise BadAudio for no audio."""
        temporary = self.storage.new_temporary()
        try:
            async with self._children:
                await asyncio.to_thread(decode, path, temporary, mono=True)
                return await asyncio.to_thread(analyze_wav, temporary, original_rate=sample_rate)
        finally:
            temporary.unlink(missing_ok=True)

    async def store_prompt(
        self,
        path: Path,
        key: str,
        text: str,
        language: str = "auto",
        *,
        seconds: tuple[float, float] = NANO_PROMPT_SECONDS,
    ) -> PromptRef:
        """Check a reference recording, decode it to a mono WAV and store that under a key.

        `seconds`: the shortest and the longest duration that is accepted; BadAudio otherwise.
        """
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
                await asyncio.to_thread(decode, path, temporary, mono=True, max_seconds=NANO_PROMPT_SECONDS[1] + 1)
            await asyncio.to_thread(self.storage.publish, temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return PromptRef(audio=key, text=text, language=canonical_language(language))

    async def fetch_prompt(self, url: str, key: str, text: str, language: str = "auto") -> PromptRef:
        """Download a reference recording from an untrusted URL and store it (see `store_prompt`).

        Raises ForbiddenAddress, DownloadFailed or BadAudio.
        """
        temporary = self.storage.new_temporary()
        try:
            await self.fetcher.fetch(url, temporary)
            return await self.store_prompt(temporary, key, text, language)
        finally:
            temporary.unlink(missing_ok=True)


def _truncated(seconds: float) -> BadAudio:
    return BadAudio(
        f"The recording breaks off after {seconds:.1f} s.",
        hint="The file is damaged or incomplete: send the whole of it.",
        details={"breaks_at_seconds": round(seconds, 3)},
    )
