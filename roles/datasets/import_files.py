"""Uploads into a data set: recordings and ZIPs of them, decoded in the limited child, cut where they are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.datasets.archive import Member, inspect, is_zip, shown, unpacking
from core.datasets.options import NewRecording
from core.datasets.transcripts import Line, Transcripts, parse_list
from core.errors import BadArchive, BadAudio, InvalidRequest, NotFound
from core.media import decode
from core.records import FileRecord
from core.records.dataset_rows import DatasetContents, RecordingRow, SegmentRow
from roles.datasets.audio_store import Sounds, workspace
from roles.runtime.services import Services

if TYPE_CHECKING:
    import numpy as np

HIGHEST_RATE: Final = 48_000
"""No model hears more."""
BLOCK_SECONDS: Final = 600
"""So much of a recording is in memory while it is cut."""
MAX_SEGMENTS: Final = 20_000
MAX_SKIPPED: Final = 1000

Progress = Callable[[float, str], None]
Unpack = Callable[[Member, Path], None]


@dataclass(frozen=True, slots=True)
class Refused:
    """A recording that cannot be taken."""

    reason: str


class Intake:
    """Adds recordings to the contents of a data set; what cannot be taken is named in `skipped`."""

    def __init__(self, services: Services, sounds: Sounds, before: DatasetContents, check: Callable[[], None]) -> None:
        self.services = services
        self.sounds = sounds
        self.check = check
        self.contents = DatasetContents(list(before.recordings), list(before.segments))
        self.skipped: list[dict[str, str]] = []

    def take(self, sources: Sequence[NewRecording], progress: Progress) -> None:
        """All of the uploads. Raises BadAudio when nothing of them could be taken."""
        before = len(self.contents.recordings)
        for done, source in enumerate(sources):
            try:
                record = self.services.call(self.services.records.get_file, source.file_id)
            except NotFound:
                self._skip(source.file_id, "The upload was deleted meanwhile.")
                continue
            self._take_upload(record, source, _part(progress, done, len(sources)))
        if len(self.contents.recordings) == before:
            first = self.skipped[0] if self.skipped else {"name": "", "reason": ""}
            raise BadAudio(
                f"No recording could be taken. {first['name']}: {first['reason']}",
                details={"skipped": self.skipped[:50]},
            )
        progress(1.0, f"Took {len(self.contents.recordings) - before} recordings.")

    def _take_upload(self, record: FileRecord, source: NewRecording, progress: Progress) -> None:
        path = self.services.storage.path(record.storage_key)
        if not path.is_file():
            self._skip(record.filename, "Its bytes are gone from the storage.")
            return
        if is_zip(path):
            self._take_archive(path, record, source, progress)
            return
        line = Line(record.filename, source.speaker, source.language, " ".join(source.transcript.split()))
        with workspace(self.services.storage) as folder:
            self._take_decoded(self._decode(path, folder / "decoded.wav"), record.filename, record.id, line)
        progress(1.0, f"Took {record.filename}.")

    def _take_archive(self, path: Path, record: FileRecord, source: NewRecording, progress: Progress) -> None:
        """Every recording in it, as many at a time as there are cores."""
        try:
            archive = inspect(path)
        except BadArchive as error:
            self._skip(record.filename, error.message)
            return
        for one in archive.skipped:
            self._skip(one["name"], one["reason"])
        at_once, sounds = max(1, self.services.threads), archive.sounds
        with unpacking(path) as unpack, ThreadPoolExecutor(at_once) as pool:
            transcripts = self._read_lists(unpack, archive.lists)
            for first in range(0, len(sounds), at_once):
                some = sounds[first : first + at_once]
                with workspace(self.services.storage) as folder:
                    unpacked = [self._unpack(unpack, one, folder / str(one.index)) for one in some]
                    for member, decoded in zip(some, pool.map(self._decode_unpacked, unpacked), strict=True):
                        line = transcripts.find(member.name)
                        line = line or Line(member.name, source.speaker, source.language, "")
                        self._take_decoded(decoded, shown(member.name), record.id, line)
                progress((first + len(some)) / len(sounds), f"Took {first + len(some)} of {len(sounds)} recordings.")
        for name in transcripts.unused():
            self._skip(shown(name), "A list names it, and the archive has no such recording.")

    def _read_lists(self, unpack: Unpack, lists: Sequence[Member]) -> Transcripts:
        transcripts = Transcripts()
        with workspace(self.services.storage) as folder:
            for member in lists:
                unpacked = self._unpack(unpack, member, folder / "list")
                if isinstance(unpacked, Refused):
                    self._skip(shown(member.name), unpacked.reason)
                    continue
                lines, bad = parse_list(unpacked.read_bytes(), shown(member.name))
                transcripts.add(lines)
                for one in bad:
                    self._skip(one["name"], one["reason"])
        return transcripts

    def _unpack(self, unpack: Unpack, member: Member, destination: Path) -> Path | Refused:
        try:
            unpack(member, destination)
        except BadArchive as error:
            return Refused(error.message)
        return destination

    def _decode_unpacked(self, unpacked: Path | Refused) -> Path | Refused:
        if isinstance(unpacked, Refused):
            return unpacked
        return self._decode(unpacked, unpacked.with_name(f"{unpacked.name}.wav"))

    def _decode(self, path: Path, decoded: Path) -> Path | Refused:
        """A mono WAV of 16 bits, in the limited child."""
        try:
            info = decode(path, decoded, mono=True, check=self.check)
            if info.sample_rate > HIGHEST_RATE:
                info = decode(path, decoded, sample_rate=HIGHEST_RATE, mono=True, check=self.check)
        except BadAudio as error:
            return Refused(error.message)
        if not info.complete:
            broken = info.broken_at_seconds or info.duration_seconds
            return Refused(f"It breaks off after {broken:.1f} s: the file is damaged or incomplete.")
        return decoded

    def _take_decoded(self, decoded: Path | Refused, name: str, file_id: str, line: Line) -> None:
        if isinstance(decoded, Refused):
            self._skip(name, decoded.reason)
        else:
            self._keep(decoded, name, file_id, line)

    def _keep(self, decoded: Path, name: str, file_id: str, line: Line) -> None:
        from GPT_SoVITS.dataset.slicer import LONGEST_SECONDS

        sound = self.sounds.keep_file(decoded)
        rate = sound.rate
        number = self.contents.recordings[-1].number + 1 if self.contents.recordings else 1
        self.contents.recordings.append(
            RecordingRow(number, name, file_id, sound.sha256, sound.seconds, rate, sound.key)
        )
        pieces = (
            []
            if line.text or sound.seconds <= LONGEST_SECONDS
            else list(_cut(self.services.storage.path(sound.key), rate))
        )
        if len(pieces) > 1:
            for start, piece in pieces:
                kept = self.sounds.keep(piece, rate)
                shown_time = f"{name} {start / rate:.2f}-{start / rate + kept.seconds:.2f} s"
                self._add(SegmentRow(0, number, shown_time, start / rate, kept.seconds, kept.key, kept.sha256), line)
            return
        self._add(SegmentRow(0, number, name, 0.0, sound.seconds, sound.key, sound.sha256), line)

    def _add(self, segment: SegmentRow, line: Line) -> None:
        if len(self.contents.segments) >= MAX_SEGMENTS:
            raise InvalidRequest(f"A data set holds {MAX_SEGMENTS} segments at most.", hint="Make several.")
        number = self.contents.segments[-1].number + 1 if self.contents.segments else 1
        self.contents.segments.append(
            replace(segment, number=number, transcript=line.text, language=line.language, speaker=line.speaker)
        )

    def _skip(self, name: str, reason: str) -> None:
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append({"name": name, "reason": reason})


def _part(progress: Progress, done: int, count: int) -> Progress:
    """Progress of one of several, told as progress of all."""
    return lambda fraction, message: progress((done + fraction) / count, message)


def _cut(path: Path, rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of the pieces of a long recording, cut at its silences, a block at a time."""
    import soundfile

    from GPT_SoVITS.dataset.slicer import SHORTEST_SECONDS, Slicer

    slicer = Slicer.from_parameters({}, rate)
    start = 0
    with soundfile.SoundFile(str(path)) as file:
        while start < len(file):
            file.seek(start)
            block = file.read(BLOCK_SECONDS * rate, dtype="float32")
            chunks = slicer.slice(block)
            ends = start + len(block) >= len(file)
            # The last piece of a block may go on in the next one.
            following = start + len(block) if ends or len(chunks) < 2 else start + chunks.pop().start
            for chunk in chunks:
                if len(chunk.samples) >= SHORTEST_SECONDS * rate:
                    yield start + chunk.start, chunk.samples
            start = following
