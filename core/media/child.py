"""The limited child that opens a stranger's file: `python -m core.media.child probe|check|decode FILE [options]`.

It reads one file, writes at most one, and answers with one line of JSON on standard output. The parent is
`core.media.decode`. FFmpeg parses the bytes here and nowhere else, so that a flaw in it, a decompression bomb or an
endless file costs one child and no more.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.media.meter import FRAME_SECONDS, Meter

ADDRESS_SPACE = 1 << 30
"""Bytes. The decoder works packet by packet and needs about 150 MB of it."""
CPU_SECONDS = 240
FILE_BYTES = (1 << 31) - (1 << 20)
"""Largest decoded file; what a WAV header can say with room to spare."""
OPEN_FILES = 32

FORMATS = (
    "3g2,3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,m4a,matroska,mj2,mov,mp3,mp4,mpeg,mpegts,ogg,tta,"
    "w64,wav,webm,wv"
)
"""Demuxers that may run: what holds recordings. Playlists (hls, concat, dash …) are not among them, because they
open other files and addresses."""
NO_LENGTH_IN_HEADER = ("aac", "ac3", "eac3", "amr", "asf", "mpeg", "mpegts", "avi")
"""Containers whose length FFmpeg estimates; a difference from it means nothing."""
LOOK_SECONDS = 10.0
"""`probe` decodes this much and then only counts packets."""
SHORTFALL = 0.1
"""Seconds by which sound may end before the header says, for the encoders' own delay and padding."""

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's names by number of channels."""


class Refused(Exception):
    """The file cannot be used; the message is a sentence for the one who sent it."""


@dataclass(slots=True)
class Facts:
    """What was found while reading."""

    codec: str
    sample_rate: int
    channels: int
    declared: float | None
    """Seconds that the container promises; None when it does not know."""
    seconds: float = 0.0
    good: int = 0
    bad: int = 0
    broken_at: float | None = None
    """Second of the first damage."""


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    _limit()
    try:
        answer = {"probe": _probe, "check": _check, "decode": _decode}[options.task](options)
    except Refused as refusal:
        answer = {"error": str(refusal)}
    except MemoryError:
        answer = {"error": "Decoding it needs more memory than a recording may take."}
    except (OSError, ValueError) as error:  # FFmpeg's errors are one or the other
        answer = {"error": f"It cannot be decoded: {_reason(error)}."}
    print(json.dumps(answer))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="core.media.child")
    parser.add_argument("task", choices=("probe", "check", "decode"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sample-rate", type=int)
    parser.add_argument("--mono", action="store_true")
    parser.add_argument("--max-seconds", type=float, required=True)
    return parser.parse_args(arguments)


def _limit() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowered, lowered))


def _probe(options: argparse.Namespace) -> dict[str, Any]:
    with options.source.open("rb") as file:
        facts = _read(file, options.max_seconds, None)
    return _describe(facts)


def _decode(options: argparse.Namespace) -> dict[str, Any]:
    """Write 16-bit PCM."""
    import av

    with ExitStack() as stack:
        file = stack.enter_context(options.source.open("rb"))
        written: dict[str, Any] = {}

        def begin(facts: Facts) -> Callable[[Any], None]:
            channels = 1 if options.mono else facts.channels
            rate = options.sample_rate or facts.sample_rate
            output = stack.enter_context(wave.open(str(options.output), "wb"))
            output.setparams((channels, 2, rate, 0, "NONE", "not compressed"))
            resampler = av.AudioResampler(format="s16", layout=LAYOUTS[channels], rate=rate, frame_size=rate)

            def write(frame: Any) -> None:
                for piece in resampler.resample(frame):
                    output.writeframesraw(bytes(piece.planes[0])[: piece.samples * channels * 2])
                written.update(seconds=output.getnframes() / rate, sample_rate=rate, channels=channels)

            return write

        facts = _read(file, options.max_seconds, begin)
        return {**_describe(facts), **written}


def _check(options: argparse.Namespace) -> dict[str, Any]:
    """How loud the recording is, and how long it says nothing."""
    meter = Meter()

    def begin(facts: Facts) -> Callable[[Any], None]:
        import av

        meter.frame_length = max(1, round(facts.sample_rate * FRAME_SECONDS))
        resampler = av.AudioResampler(
            format="flt", layout="mono", rate=facts.sample_rate, frame_size=20 * meter.frame_length
        )

        def listen(frame: Any) -> None:
            for piece in resampler.resample(frame):
                meter.hear(piece.to_ndarray().reshape(-1))

        return listen

    with options.source.open("rb") as file:
        facts = _read(file, options.max_seconds, begin)
    return {**_describe(facts), **meter.report()}


def _read(file: BinaryIO, max_seconds: float, begin: Callable[[Facts], Callable[[Any], None]] | None) -> Facts:
    """Decode the first sound stream into what `begin` returns; without `begin`, look at the start and count."""
    import av

    av.logging.set_level(None)
    if file.seek(0, 2) == 0:
        raise Refused("The file is empty.")
    file.seek(0)
    try:
        # Through a file object and with no protocol allowed, nothing but this file can be opened.
        container = av.open(file, options={"format_whitelist": FORMATS, "protocol_whitelist": "none"}, timeout=None)
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused(f"It is no sound file that can be read ({_reason(error)}).") from error
    with container:
        if not container.streams.audio:
            raise Refused("There is no sound in it.")
        stream = container.streams.audio[0]
        facts = _facts(file, container, stream)
        take = begin(facts) if begin else None
        for frame in _frames(container, stream, facts, max_seconds, everything=begin is not None):
            if take:
                take(frame)
        if take and facts.good:
            take(None)
    _judge(facts, file)
    return facts


def _facts(file: BinaryIO, container: Any, stream: Any) -> Facts:
    context = stream.codec_context
    if not context.sample_rate or not context.channels:
        raise Refused("Its sample rate or its number of channels is missing.")
    if context.channels not in LAYOUTS:
        raise Refused(f"It has {context.channels} channels; up to {max(LAYOUTS)} work.")
    context.thread_count = 1
    names = container.format.name.split(",")
    declared = None
    if stream.duration is not None and stream.time_base is not None:
        declared = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:  # else it may be that of the pictures
        declared = container.duration / 1_000_000
    if set(names) & set(NO_LENGTH_IN_HEADER) or ("mp3" in names and not _has_mp3_length(file)):
        declared = None
    return Facts(context.name, context.sample_rate, context.channels, declared)


def _frames(container: Any, stream: Any, facts: Facts, max_seconds: float, *, everything: bool) -> Iterator[Any]:
    """Decoded frames; counts seconds, and remembers damage instead of stopping at it."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            _damage(facts)
            return
        if not everything and facts.seconds >= LOOK_SECONDS and packet.duration:
            facts.seconds += float(packet.duration * packet.time_base)
            _too_long(facts, max_seconds)
            continue
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            _damage(facts)
            continue
        for frame in frames:
            facts.good += 1
            facts.seconds += frame.samples / frame.sample_rate
            _too_long(facts, max_seconds)
            yield frame


def _too_long(facts: Facts, max_seconds: float) -> None:
    if facts.seconds > max_seconds:
        raise Refused(f"It lasts more than the {max_seconds / 60:g} minutes that a recording may have.")


def _damage(facts: Facts) -> None:
    facts.bad += 1
    if facts.broken_at is None:
        facts.broken_at = facts.seconds


def _judge(facts: Facts, file: BinaryIO) -> None:
    if not facts.good:
        raise Refused("No sound in it can be decoded.")
    if facts.bad > facts.good:
        raise Refused("Most of it is damaged and cannot be decoded.")
    missing = facts.declared is not None and facts.declared - facts.seconds > SHORTFALL
    if missing or _is_cut_ogg(file) or _is_cut_wav(file):
        facts.broken_at = facts.seconds if facts.broken_at is None else facts.broken_at
    elif facts.declared is not None:
        facts.broken_at = None  # what could not be decoded was no sound: a tag, or padding


def _has_mp3_length(file: BinaryIO) -> bool:
    """Whether the first MPEG frame is a Xing, Info or VBRI header, which counts the frames."""
    place = file.tell()
    file.seek(0)
    start = file.read(10)
    tag = 0
    if start[:3] == b"ID3":
        tag = 10 + ((start[6] & 127) << 21 | (start[7] & 127) << 14 | (start[8] & 127) << 7 | start[9] & 127)
    file.seek(tag)
    head = file.read(4096)
    file.seek(place)
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _is_cut_ogg(file: BinaryIO) -> bool:
    """Whether the last Ogg page does not say that it is the last."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    size = file.seek(0, 2)
    file.seek(max(0, size - 70_000))  # a page has 65,307 bytes at most
    tail = file.read()
    page = tail.rfind(b"OggS")
    return page < 0 or page + 5 >= len(tail) or not tail[page + 5] & 4


def _is_cut_wav(file: BinaryIO) -> bool:
    """Whether the data chunk is larger than what is there. FFmpeg corrects its length without a word."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return False
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            streamed = length == 0 or length >= 0x7FFFFF00  # written before the length was known
            return not streamed and file.tell() + length > size
        file.seek(length + length % 2, 1)
    return False


def _describe(facts: Facts) -> dict[str, Any]:
    return {
        "seconds": round(facts.seconds, 6),  # a sum of many frames
        "sample_rate": facts.sample_rate,
        "channels": facts.channels,
        "codec": facts.codec,
        "broken_at": facts.broken_at,
    }


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
