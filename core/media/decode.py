"""Look at or decode an untrusted sound file through `core.media.child`; blocking, so call it by `asyncio.to_thread`."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.child_process import ChildProcess, isolated_environment
from core.errors import BadAudio, RecordingTooShort

logger = logging.getLogger(__name__)

MAX_SECONDS = 7200.0
"""Longest recording that is decoded."""
SHORTEST_UPLOAD = 0.5
"""Seconds; less is a click."""
WALL_SECONDS = 600.0
"""A child that is not done by then is stopped: its CPU limit does not see a disk that hangs."""

CHILD: tuple[str, ...] = (sys.executable, "-m", "core.media.child")
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What a sound file holds, as far as it can be read."""

    duration_seconds: float
    sample_rate: int
    channels: int
    codec: str
    complete: bool
    """False for a file that ends before its own header says, or is damaged on the way."""
    broken_at_seconds: float | None = None
    """Where it breaks, when it is not complete."""


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """How a recording sounds, without listening to the words."""

    seconds: float
    sample_rate: int
    channels: int
    peak: float
    """Largest absolute sample, 1.0 is full scale."""
    rms: float
    silent: bool
    """No 50 ms of it are louder than −50 dB of full scale."""
    sounding_seconds: float
    """How much of it is louder than that."""
    longest_silence_seconds: float
    complete: bool


def probe(path: Path, *, min_seconds: float = SHORTEST_UPLOAD, max_seconds: float = MAX_SECONDS) -> SoundInfo:
    """What the file holds. Raises BadAudio for what is no sound, RecordingTooShort below `min_seconds`."""
    info = _sound_info(_ask("probe", path, max_seconds))
    if info.duration_seconds < min_seconds:
        raise RecordingTooShort(
            f"The recording lasts {info.duration_seconds:.2f} s; at least {min_seconds:g} s are needed."
        )
    return info


def check_recording(path: Path, *, max_seconds: float = MAX_SECONDS) -> RecordingReport:
    """Measure the whole recording. Raises BadAudio for what is no sound."""
    answer = _ask("check", path, max_seconds)
    return RecordingReport(
        seconds=answer["seconds"],
        sample_rate=answer["sample_rate"],
        channels=answer["channels"],
        peak=answer["peak"],
        rms=answer["rms"],
        silent=answer["silent"],
        sounding_seconds=answer["sounding_seconds"],
        longest_silence_seconds=answer["longest_silence_seconds"],
        complete=answer["broken_at"] is None,
    )


def decode(
    source: Path,
    destination: Path,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float = MAX_SECONDS,
    check: Callable[[], None] | None = None,
) -> SoundInfo:
    """Decode to a 16-bit WAV, in place of `destination` only when all went well.

    `sample_rate` and `mono` convert on the way. `check` is called a few times a second and may raise to stop it.
    A damaged file is decoded as far as it goes: see `complete`. Raises BadAudio for what is no sound.
    """
    making = destination.with_name(f".{destination.name}.{os.getpid()}.{time.monotonic_ns()}")
    options = ["--output", str(making.absolute())]
    if sample_rate:
        options += ["--sample-rate", str(sample_rate)]
    if mono:
        options.append("--mono")
    try:
        answer = _ask("decode", source, max_seconds, *options, check=check)
        os.replace(making, destination)
    finally:
        making.unlink(missing_ok=True)
    info = _sound_info(answer)
    if not info.complete:
        logger.warning("%s is damaged or cut off at %.2f s; what can be read is used.", source, info.broken_at_seconds)
    return info


def _ask(
    task: str, path: Path, max_seconds: float, *options: str, check: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Run the limited child and return its answer. Raises BadAudio for what it rejects and when it is killed."""
    if not path.is_file():
        raise BadAudio(f"There is no file {path.name!r}.")
    command = [*CHILD, task, str(path.absolute()), "--max-seconds", str(max_seconds), *options]
    # One thread each: OpenBLAS would reserve address space for every core.
    environment = {**isolated_environment(threads=1), "LC_ALL": "C.UTF-8"}
    deadline = time.monotonic() + WALL_SECONDS
    answer: dict[str, Any] | None = None
    with ChildProcess(command, env=environment) as child:
        for event in child.events(_POLL_SECONDS):
            if event is not None:
                answer = event
            elif time.monotonic() > deadline:
                raise BadAudio(f"Decoding it was not done after {WALL_SECONDS:.0f} s.")
            elif check:
                check()
        child.wait()
    if child.killed_by == "SIGXCPU":
        raise BadAudio("Decoding it takes more processor time than a recording may take.")
    if child.killed_by:
        raise BadAudio(
            f"The decoder was stopped by {child.killed_by} while reading it: the file is broken or too much for it."
        )
    if child.returncode != 0 or answer is None:
        last = child.log_tail[-1] if child.log_tail else "without a word"
        logger.error("The media child ended with code %s: %s", child.returncode, last)
        raise BadAudio("The decoder could not cope with it.")
    if "error" in answer:
        raise BadAudio(answer["error"], hint="WAV, FLAC, MP3, M4A, Ogg and WebM recordings work.")
    return answer


def _sound_info(answer: dict[str, Any]) -> SoundInfo:
    return SoundInfo(
        duration_seconds=answer["seconds"],
        sample_rate=answer["sample_rate"],
        channels=answer["channels"],
        codec=answer["codec"],
        complete=answer["broken_at"] is None,
        broken_at_seconds=answer["broken_at"],
    )
