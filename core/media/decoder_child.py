"""The resource-limited child process that reads untrusted audio: `python -m core.media.decoder_child TASK FILE …`.

It reads one file, writes at most one, and prints one JSON object on standard output. The parent is
`core.media.decode`. FFmpeg parses untrusted input here and nowhere else, so that a flaw in it, a decompression bomb or
an endless file costs no more than this process.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from common.operating_system import ProcessLimits, limit_process
from core.media.level_meter import FRAME_SECONDS, LevelMeter
from core.media.media_types import HEAD_BYTES, recording_media_type
from core.media.mpeg_frames import correct_mpeg
from core.media.ogg_pages import correct_ogg
from core.media.piecewise_file import CorrectedFile, PiecewiseFile
from core.media.wav_lengths import correct_wav

ADDRESS_SPACE = 1 << 30
"""Bytes. The decoder works packet by packet and needs about 150 MB of it."""
CPU_SECONDS = 240
FILE_BYTES = (1 << 31) - (1 << 20)
"""Largest decoded file: the limit of a WAV header, with a margin."""
OPEN_FILES = 32

FORMATS = (
    "3g2,3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,m4a,matroska,mj2,mov,mp3,mp4,mpeg,mpegts,ogg,tta,"
    "w64,wav,webm,wv"
)
"""Demuxers that may run: containers of recordings. Playlists (hls, concat, dash …) are not among them, because they
open other files and addresses."""
FORMATS_WITHOUT_DURATION = ("aac", "ac3", "eac3", "amr", "asf", "mpeg", "mpegts", "avi")
"""Containers whose duration FFmpeg estimates; a difference from it means nothing."""
PROBE_SECONDS = 10.0
"""`probe` decodes this much and then only counts packets."""
MAX_SHORTFALL = 0.1
"""Seconds by which the audio may be shorter than its header says: the encoders' delay and padding."""

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's names by number of channels."""


class UnusableAudio(Exception):
    """The file cannot be used; the message is a sentence for its sender."""


@dataclass(slots=True)
class StreamInfo:
    """The audio stream of a file, and how far it was decoded."""

    codec: str
    sample_rate: int
    channels: int
    declared: float | None
    """Duration by the container in seconds; None when it does not say."""
    seconds: float = 0.0
    """Decoded or counted so far."""
    good: int = 0
    """Frames that were decoded."""
    bad: int = 0
    """Packets that could not be decoded."""
    broken_at: float | None = None
    """Position of the first damage in seconds."""
    media_type: str = ""
    """By the container."""
    warnings: list[str] = field(default_factory=list)
    """A sentence for each wrong length that does not matter."""


def main(arguments: list[str]) -> int:
    """Run one task and print its result."""
    options = _parse(arguments)
    limit_resources()
    try:
        result = {"probe": _probe, "check": _check, "decode": _decode}[options.task](options)
    except UnusableAudio as error:
        result = {"error": str(error)}
    except MemoryError:
        result = {"error": "Decoding it needs more memory than a recording may take."}
    except (OSError, ValueError) as error:  # FFmpeg's errors are one or the other
        result = {"error": f"It cannot be decoded: {_reason(error)}."}
    print(json.dumps(result))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="core.media.decoder_child")
    parser.add_argument("task", choices=("probe", "check", "decode"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sample-rate", type=int)
    parser.add_argument("--mono", action="store_true")
    parser.add_argument("--max-seconds", type=float, required=True)
    return parser.parse_args(arguments)


def limit_resources() -> None:
    """Limit what this process may use."""
    limit_process(ProcessLimits(CPU_SECONDS, FILE_BYTES, OPEN_FILES, ADDRESS_SPACE))


def _probe(options: argparse.Namespace) -> dict[str, Any]:
    with options.source.open("rb") as file:
        info = _read(file, options.max_seconds, None)
    return _describe(info)


def _decode(options: argparse.Namespace) -> dict[str, Any]:
    """Write a WAV file of 16-bit PCM."""
    with ExitStack() as stack:
        file = stack.enter_context(options.source.open("rb"))
        written: dict[str, Any] = {}

        def begin(info: StreamInfo) -> Callable[[Any], None]:
            channels = 1 if options.mono else info.channels
            rate = options.sample_rate or info.sample_rate
            output = stack.enter_context(wave.open(str(options.output), "wb"))
            output.setparams((channels, 2, rate, 0, "NONE", "not compressed"))
            convert = _converter(format="s16", layout=LAYOUTS[channels], rate=rate, frame_size=rate)

            def write(frame: Any) -> None:
                for resampled in convert(frame):
                    output.writeframesraw(bytes(resampled.planes[0])[: resampled.samples * channels * 2])
                written.update(seconds=output.getnframes() / rate, sample_rate=rate, channels=channels)

            return write

        info = _read(file, options.max_seconds, begin)
        return {**_describe(info), **written}


def _check(options: argparse.Namespace) -> dict[str, Any]:
    """Measure level and silences of the whole recording."""
    meter = LevelMeter()

    def begin(info: StreamInfo) -> Callable[[Any], None]:
        return _measuring(meter, info.sample_rate)

    with options.source.open("rb") as file:
        info = _read(file, options.max_seconds, begin)
    return {**_describe(info), **meter.report()}


def _converter(**target: Any) -> Callable[[Any], Iterator[Any]]:
    """Return a function that converts frames of any format and rate, also where these change; None flushes it."""
    import av

    resampler = av.AudioResampler(**target)
    current: tuple[Any, ...] | None = None

    def convert(frame: Any) -> Iterator[Any]:
        nonlocal resampler, current
        kind = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame is not None and current is not None and kind != current:
            yield from resampler.resample(None)
            resampler = av.AudioResampler(**target)
        current = kind or current
        yield from resampler.resample(frame)

    return convert


def _measuring(meter: LevelMeter, rate: int) -> Callable[[Any], None]:
    """Return a function that measures frames."""
    meter.frame_length = max(1, round(rate * FRAME_SECONDS))
    convert = _converter(format="flt", layout="mono", rate=rate, frame_size=20 * meter.frame_length)

    def measure(frame: Any) -> None:
        for converted in convert(frame):
            meter.add(converted.to_ndarray().reshape(-1))

    return measure


def _read(
    file: BinaryIO, max_seconds: float, begin: Callable[[StreamInfo], Callable[[Any], None]] | None
) -> StreamInfo:
    """Decode the first audible stream, passing each frame and a final None to the function that `begin` returns.

    Without `begin`, decode only the start and count the remaining packets.
    """
    import av

    av.logging.set_level(None)
    if file.seek(0, 2) == 0:
        raise UnusableAudio("The file is empty.")
    corrected, stream_index = _inspect(file)
    with open_container(corrected) as container:
        stream = container.streams[stream_index]
        info = _stream_info(corrected, container, stream)
        consume = begin(info) if begin else None
        for frame in _frames(container, stream, info, max_seconds, everything=begin is not None):
            if consume:
                consume(frame)
        if consume and info.good:
            consume(None)
    _check_damage(info, corrected)
    return info


def open_container(corrected: CorrectedFile) -> Any:
    """Return the container in a file; raise UnusableAudio where there is none with sound."""
    import av

    corrected.file.seek(0)
    try:
        # Through a file object and with no protocol allowed, nothing but this file can be opened.
        container = av.open(
            corrected.file, options={"format_whitelist": FORMATS, "protocol_whitelist": "none"}, timeout=None
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise UnusableAudio(f"It is no sound file that can be read ({_reason(error)}).") from error
    if not container.streams.audio:
        container.close()
        raise UnusableAudio("There is no sound in it.")
    return container


def _inspect(file: BinaryIO) -> tuple[CorrectedFile, int]:
    """Return the file with correct lengths, and the index of its first stream that can be heard."""
    corrected = correct_wav(file) or correct_ogg(file) or CorrectedFile(file)
    with open_container(corrected) as container:
        if "mp3" in container.format.name.split(","):
            corrected = correct_mpeg(file) or corrected
        streams = [stream.index for stream in container.streams.audio]
    for index in streams if len(streams) > 1 else ():
        if _is_audible(corrected, index):
            return corrected, index
    return corrected, streams[0]


def _is_audible(corrected: CorrectedFile, index: int) -> bool:
    """Decode a stream until something can be heard in it."""
    meter = LevelMeter()
    with open_container(corrected) as container:
        stream = container.streams[index]
        try:
            info = _stream_info(corrected, container, stream)
            measure = _measuring(meter, info.sample_rate)
            for frame in _frames(container, stream, info, math.inf, everything=True):
                measure(frame)
                if not meter.silent:
                    return True
            if info.good:
                measure(None)
        except (UnusableAudio, OSError, ValueError):  # another stream may do
            return False
    return not meter.silent


def _stream_info(corrected: CorrectedFile, container: Any, stream: Any) -> StreamInfo:
    context = stream.codec_context
    if not context.sample_rate or not context.channels:
        raise UnusableAudio("Its sample rate or its number of channels is missing.")
    if context.channels not in LAYOUTS:
        raise UnusableAudio(f"It has {context.channels} channels; up to {max(LAYOUTS)} work.")
    context.thread_count = 1
    names = container.format.name.split(",")
    declared = None
    if stream.duration is not None and stream.time_base is not None:
        declared = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:  # otherwise it may be that of the video
        declared = container.duration / 1_000_000
    if set(names) & set(FORMATS_WITHOUT_DURATION) or ("mp3" in names and not _has_mp3_length(corrected.file)):
        declared = None
    return StreamInfo(
        context.name,
        context.sample_rate,
        context.channels,
        declared,
        media_type=_media_type(corrected, container),
        warnings=list(corrected.warnings),
    )


def _media_type(corrected: CorrectedFile, container: Any) -> str:
    from av.stream import Disposition

    position = corrected.file.tell()
    corrected.file.seek(0)
    head = corrected.file.read(HEAD_BYTES)
    corrected.file.seek(position)
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return recording_media_type(container.format.name.split(","), head, has_video=bool(pictures))


def _frames(container: Any, stream: Any, info: StreamInfo, max_seconds: float, *, everything: bool) -> Iterator[Any]:
    """Yield decoded frames; count seconds, and record damage instead of stopping at it."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            _record_damage(info)
            return
        if not everything and info.seconds >= PROBE_SECONDS and packet.duration:
            info.seconds += float(packet.duration * packet.time_base)
            _check_duration(info, max_seconds)
            continue
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            _record_damage(info)
            continue
        for frame in frames:
            info.good += 1
            info.seconds += frame.samples / frame.sample_rate
            _check_duration(info, max_seconds)
            yield frame


def _check_duration(info: StreamInfo, max_seconds: float) -> None:
    if info.seconds > max_seconds:
        raise UnusableAudio(f"It lasts more than the {max_seconds / 60:g} minutes that a recording may have.")


def _record_damage(info: StreamInfo) -> None:
    info.bad += 1
    if info.broken_at is None:
        info.broken_at = info.seconds


def _check_damage(info: StreamInfo, corrected: CorrectedFile) -> None:
    if not info.good:
        raise UnusableAudio("No sound in it can be decoded.")
    if info.bad > info.good:
        raise UnusableAudio("Most of it is damaged and cannot be decoded.")
    missing = info.declared is not None and info.declared - info.seconds > MAX_SHORTFALL
    if corrected.damaged_at is not None:
        info.broken_at = corrected.damaged_at
    elif missing or corrected.truncated:
        info.broken_at = info.seconds if info.broken_at is None else info.broken_at
    elif info.declared is not None or info.bad <= corrected.joints:
        info.broken_at = None  # the undecodable packet was no audio but a tag or padding


def _has_mp3_length(file: BinaryIO | PiecewiseFile) -> bool:
    """Return whether the first MPEG frame is a Xing, Info or VBRI header, which counts the frames."""
    position = file.tell()
    file.seek(0)
    start = file.read(10)
    tag = 0
    if start[:3] == b"ID3":
        tag = 10 + ((start[6] & 127) << 21 | (start[7] & 127) << 14 | (start[8] & 127) << 7 | start[9] & 127)
    file.seek(tag)
    head = file.read(4096)
    file.seek(position)
    return any(magic in head for magic in (b"Xing", b"Info", b"VBRI"))


def _describe(info: StreamInfo) -> dict[str, Any]:
    return {
        "seconds": round(info.seconds, 6),  # a sum of many frames
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "codec": info.codec,
        "media_type": info.media_type,
        "broken_at": info.broken_at,
        "warnings": info.warnings,
    }


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
