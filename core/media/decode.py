"""Probe, check or decode untrusted audio in a child process; blocking, so call these by `asyncio.to_thread`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common.files import atomic_path
from common.programs import DECODER, program_command
from core.child_process import ChildProcess, isolated_environment
from core.errors import BadAudio, DecoderKilled, RecordingTooShort

logger = logging.getLogger(__name__)

MAX_SECONDS: Final = 7200.0
"""Longest recording that is decoded."""
MIN_UPLOAD_SECONDS: Final = 0.5
"""Shortest recording that may be uploaded; less is a click."""
WALL_SECONDS: Final = 600.0
"""A child that runs longer is stopped: its CPU limit does not cover a disk that hangs."""

CHILD: tuple[str, ...] = tuple(program_command(DECODER))
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The properties of an audio file, as far as it can be read."""

    duration_seconds: float
    sample_rate: int
    channels: int
    codec: str
    media_type: str
    """By the container, as `audio/mp4`."""
    complete: bool
    """False for a file that is shorter than its header says, or damaged."""
    broken_at_seconds: float | None = None
    """Position of the first damage, when it is not complete."""
    warnings: tuple[str, ...] = ()
    """A sentence for each length in it that is wrong and was corrected."""


@dataclass(frozen=True, slots=True)
class RecordingLevels:
    """Level and silences of a recording."""

    seconds: float
    sample_rate: int
    channels: int
    peak: float
    """Largest absolute sample; 1.0 is full scale."""
    rms: float
    silent: bool
    """No 50 ms of it are louder than −50 dB of full scale."""
    sounding_seconds: float
    """Duration of the frames that are louder than that."""
    longest_silence_seconds: float
    complete: bool


def probe(path: Path, *, min_seconds: float = MIN_UPLOAD_SECONDS, max_seconds: float = MAX_SECONDS) -> AudioInfo:
    """Return the properties of a file.

    Raises: BadAudio for a file that is not audio, RecordingTooShort below `min_seconds`.
    """
    info = _audio_info(_run_child("probe", path, max_seconds))
    if info.duration_seconds < min_seconds:
        raise RecordingTooShort(
            f"The recording lasts {info.duration_seconds:.2f} s; at least {min_seconds:g} s are needed."
        )
    return info


def check_recording(path: Path, *, max_seconds: float = MAX_SECONDS) -> RecordingLevels:
    """Measure the whole recording; raise BadAudio for a file that is not audio."""
    result = _run_child("check", path, max_seconds)
    return RecordingLevels(
        seconds=result["seconds"],
        sample_rate=result["sample_rate"],
        channels=result["channels"],
        peak=result["peak"],
        rms=result["rms"],
        silent=result["silent"],
        sounding_seconds=result["sounding_seconds"],
        longest_silence_seconds=result["longest_silence_seconds"],
        complete=result["broken_at"] is None,
    )


def decode(
    source: Path,
    destination: Path,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float = MAX_SECONDS,
    check: Callable[[], None] | None = None,
) -> AudioInfo:
    """Decode to a 16-bit WAV, which replaces `destination` only on success.

    `sample_rate` and `mono` convert on the way. `check` is called a few times a second and may raise to stop it.
    A damaged file is decoded as far as possible: see `complete`. Raise BadAudio for a file that is not audio.
    """
    with atomic_path(destination) as temporary:
        options = ["--output", str(temporary.absolute())]
        if sample_rate:
            options += ["--sample-rate", str(sample_rate)]
        if mono:
            options.append("--mono")
        result = _run_child("decode", source, max_seconds, *options, check=check)
    info = _audio_info(result)
    if not info.complete:
        logger.warning("%s is damaged or cut off at %.2f s; what can be read is used.", source, info.broken_at_seconds)
    for warning in info.warnings:
        logger.warning("%s: %s", source, warning)
    return info


def _run_child(
    task: str, path: Path, max_seconds: float, *options: str, check: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Have the limited child run a task and return its result; raise BadAudio where it does not."""
    if not path.is_file():
        raise BadAudio(f"There is no file {path.name!r}.")
    command = [*CHILD, task, str(path.absolute()), "--max-seconds", str(max_seconds), *options]
    return run_limited_child(command, path, check)


def run_limited_child(command: Sequence[str], path: Path, check: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run a child that limits itself (see `decoder_child.limit_resources`) on a file; return the object that it prints.

    Raise BadAudio when it rejects the file or breaks over it, DecoderKilled when somebody else ends it twice.
    `check` is called a few times a second and may raise.
    """
    # One thread each: OpenBLAS would reserve address space for every core.
    environment = {**isolated_environment(threads=1), "LC_ALL": "C.UTF-8"}
    deadline = time.monotonic() + WALL_SECONDS
    child, result = _run_once(command, environment, deadline, check)
    if child.killed_by == "SIGKILL":
        # Somebody else did that, such as the kernel that needs memory; the file may be all right.
        logger.warning("The decoder was killed while it was reading %s; it reads once more.", path.name)
        child, result = _run_once(command, environment, deadline, check)
    if child.killed_by == "SIGKILL":
        raise DecoderKilled(
            "The decoder was killed twice while it was reading the file.", hint="Try again later; memory may be short."
        )
    if child.killed_by == "SIGXCPU":
        raise BadAudio("Decoding it takes more processor time than a recording may take.")
    if child.killed_by:
        raise BadAudio(
            f"The decoder was stopped by {child.killed_by} while reading it: the file is broken or too much for it."
        )
    if child.returncode != 0 or result is None:
        last = child.log_tail[-1] if child.log_tail else "without a word"
        logger.error("The media child ended with code %s: %s", child.returncode, last)
        raise BadAudio("The decoder could not cope with it.")
    if "error" in result:
        raise BadAudio(result["error"], hint="WAV, FLAC, MP3, M4A, Ogg and WebM recordings work.")
    return result


def _run_once(
    command: Sequence[str], environment: Mapping[str, str], deadline: float, check: Callable[[], None] | None
) -> tuple[ChildProcess, dict[str, Any] | None]:
    """Return the child, which has ended, and the last thing it reported; BadAudio when it is still busy then."""
    result: dict[str, Any] | None = None
    with ChildProcess(command, env=environment) as child:
        for event in child.events(_POLL_SECONDS):
            if event is not None:
                result = event
            elif time.monotonic() > deadline:
                raise BadAudio(f"Decoding it was not done after {WALL_SECONDS:.0f} s.")
            elif check:
                check()
        child.wait()
    return child, result


def _audio_info(result: dict[str, Any]) -> AudioInfo:
    return AudioInfo(
        duration_seconds=result["seconds"],
        sample_rate=result["sample_rate"],
        channels=result["channels"],
        codec=result["codec"],
        media_type=result["media_type"],
        complete=result["broken_at"] is None,
        broken_at_seconds=result["broken_at"],
        warnings=tuple(result["warnings"]),
    )
