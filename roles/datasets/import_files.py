"""Import of uploads into a data set: recordings and ZIPs, decoded in a limited child, cut where they are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from core.datasets.archive import (
    Archive,
    ArchiveMember,
    inspect_archive,
    is_zip,
    open_archive,
    printable_name,
    printable_text,
)
from core.datasets.options import NewRecording
from core.datasets.transcripts import TranscriptIndex, TranscriptLine, TranscriptMatch, parse_transcript_list
from core.errors import BadArchive, BadAudio, InvalidRequest, NotFound
from core.media.decode import decode
from core.net.fetch import RECORDING_SECONDS, Fetcher
from core.records import DatasetContents, RecordingRecord, SegmentRecord, SkippedFile
from roles.datasets.audio_store import AudioStore
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    import numpy as np

MAX_RATE: Final = 48_000
"""Hz; no model uses more."""
BLOCK_SECONDS: Final = 600
"""How much of a recording is in memory while it is cut."""
_NO_SOURCE: Final = NewRecording(file_id="none")
"""Of a download: no transcript, language or speaker is known."""
MAX_SEGMENTS: Final = 20_000
MAX_SKIPPED: Final = 1000

Progress = Callable[[float, str], None]
"""(fraction, message)."""
Unpack = Callable[[ArchiveMember, Path], None]


class RecordingImporter:
    """Add recordings to the contents of a data set; `skipped` names the files that cannot be used, with a reason."""

    def __init__(
        self, services: WorkerServices, store: AudioStore, contents: DatasetContents, check: Callable[[], None]
    ) -> None:
        """`check` is called often and raises to stop the import."""
        self.services = services
        self.store = store
        self.check = check
        self.contents = DatasetContents(list(contents.recordings), list(contents.segments))
        self.skipped: list[SkippedFile] = []

    def add(self, sources: Sequence[NewRecording], progress: Progress, urls: Sequence[str] = ()) -> None:
        """Import all uploads, then what the URLs name. Raises BadAudio when not one recording could be used."""
        before = len(self.contents.recordings)
        total = len(sources) + len(urls)
        for done, url in enumerate(urls, len(sources)):
            self._add_download(url, partial(_part_of, progress, done, total))
        for done, source in enumerate(sources):
            upload_progress: Progress = partial(_part_of, progress, done, total)
            try:
                record = self.services.call(self.services.records.files.get, source.file_id)
            except NotFound:
                self._skip(source.file_id, "The upload was deleted meanwhile.")
                continue
            path = self.services.storage.path(record.storage_key)
            if not path.is_file():
                self._skip(record.filename, "Its bytes are gone from the storage.")
            elif is_zip(path):
                self._add_archive(path, record.filename, record.id, source, upload_progress)
            else:
                self._add_upload(path, record.filename, record.id, source)
                upload_progress(1.0, f"Took {record.filename}.")
        if len(self.contents.recordings) == before:
            first = self.skipped[0] if self.skipped else {"name": "", "reason": ""}
            raise BadAudio(
                f"No recording could be taken. {first['name']}: {first['reason']}",
                details={"skipped": self.skipped[:50]},
            )
        progress(1.0, f"Took {len(self.contents.recordings) - before} recordings.")

    def _add_download(self, url: str, progress: Progress) -> None:
        """Import what a URL names, and delete it. Raises ForbiddenAddress, DownloadFailed or FileTooLarge."""
        settings = self.services.settings
        fetcher = Fetcher(
            max_bytes=settings.max_upload_mb << 20,
            timeout_seconds=RECORDING_SECONDS,
            allowed_hosts=settings.fetch_allowed_hosts,
        )
        name = printable_name(unquote(urlsplit(url).path).rpartition("/")[2]) or "recording"
        progress(0.0, f"Downloads {name}.")
        with self.services.storage.temporary_file() as path:
            self.services.call(fetcher.fetch, url, path)
            self.check()
            if is_zip(path):
                self._add_archive(path, name, "", _NO_SOURCE, progress)
            else:
                self._add_upload(path, name, "", _NO_SOURCE)
        progress(1.0, f"Took {name}.")

    def _add_upload(self, path: Path, filename: str, file_id: str, source: NewRecording) -> None:
        line = TranscriptLine(filename, source.speaker, source.language, " ".join(source.transcript.split()))
        with self.services.storage.temporary_folder() as folder:
            try:
                decoded = self._decode(path, folder / "decoded.wav")
            except BadAudio as error:
                self._skip(filename, error.message)
            else:
                self._add_recording(decoded, filename, file_id, line)

    def _add_archive(self, path: Path, filename: str, file_id: str, source: NewRecording, progress: Progress) -> None:
        """Import every recording in a ZIP; as many are decoded at once as there are cores."""
        try:
            archive = inspect_archive(path)
        except BadArchive as error:
            self._skip(filename, error.message)
            return
        for skipped in archive.skipped:
            self._skip(skipped["name"], skipped["reason"])
        at_once, members = max(1, self.services.threads), archive.recordings
        with open_archive(path) as unpack, ThreadPoolExecutor(at_once) as pool:
            transcripts = self._read_transcripts(unpack, archive, source.language)
            for first in range(0, len(members), at_once):
                batch = members[first : first + at_once]
                with self.services.storage.temporary_folder() as folder:
                    decoded = [self._unpack_and_decode(unpack, member, folder, pool) for member in batch]
                    for member, recording in zip(batch, decoded, strict=True):
                        line = transcripts.lines.get(member.name)
                        line = line or TranscriptLine(member.name, source.speaker, source.language, "")
                        try:
                            self._add_recording(recording.result(), printable_name(member.name), file_id, line)
                        except (BadArchive, BadAudio) as error:
                            self._skip(printable_name(member.name), error.message)
                done = first + len(batch)
                progress(done / len(members), f"Took {done} of {len(members)} recordings.")
        for problem in transcripts.problems:
            self._skip(printable_name(problem["name"]), printable_text(problem["reason"]))

    def _read_transcripts(self, unpack: Unpack, archive: Archive, language: str) -> TranscriptMatch:
        transcripts = TranscriptIndex()
        with self.services.storage.temporary_folder() as folder:
            for member in archive.transcript_lists:
                try:
                    unpack(member, folder / "list")
                except BadArchive as error:
                    self._skip(printable_name(member.name), error.message)
                    continue
                content, name = (folder / "list").read_bytes(), printable_name(member.name)
                lines, unreadable = parse_transcript_list(content, name, language)
                for line in [*unreadable, *transcripts.add(lines)]:
                    self._skip(line["name"], printable_text(line["reason"]))
        return transcripts.match([recording.name for recording in archive.recordings])

    def _unpack_and_decode(
        self, unpack: Unpack, member: ArchiveMember, folder: Path, pool: ThreadPoolExecutor
    ) -> Future[Path]:
        """Unpack a member and have it decoded in the pool. The future raises BadArchive or BadAudio."""
        path = folder / str(member.index)
        try:
            unpack(member, path)
        except BadArchive as error:
            failed: Future[Path] = Future()
            failed.set_exception(error)
            return failed
        return pool.submit(self._decode, path, path.with_name(f"{path.name}.wav"))

    def _decode(self, path: Path, decoded: Path) -> Path:
        """Decode to a mono WAV of 16 bits in a limited child. Raises BadAudio also for an incomplete file."""
        info = decode(path, decoded, mono=True, check=self.check)
        if info.sample_rate > MAX_RATE:
            info = decode(path, decoded, sample_rate=MAX_RATE, mono=True, check=self.check)
        if not info.complete:
            broken = info.broken_at_seconds or info.duration_seconds
            raise BadAudio(f"It breaks off after {broken:.1f} s: the file is damaged or incomplete.")
        return decoded

    def _add_recording(self, decoded: Path, name: str, file_id: str, line: TranscriptLine) -> None:
        """Store a decoded recording; a long one without a transcript is cut into segments at its silences."""
        from GPT_SoVITS.dataset.slicer import MAX_SEGMENT_SECONDS

        audio = self.store.add_file(decoded)
        recordings = self.contents.recordings
        number = recordings[-1].number + 1 if recordings else 1
        recordings.append(
            RecordingRecord(number, name, file_id or None, audio.sha256, audio.seconds, audio.rate, audio.key)
        )
        segments = [SegmentRecord(0, number, name, 0.0, audio.seconds, audio.key, audio.sha256)]
        if not line.text and audio.seconds > MAX_SEGMENT_SECONDS:
            pieces = list(_cut(self.services.storage.path(audio.key), audio.rate))
            if len(pieces) > 1:
                segments = []
                for first_sample, samples in pieces:
                    piece, start = self.store.add(samples, audio.rate), first_sample / audio.rate
                    title = f"{name} {start:.2f}-{start + piece.seconds:.2f} s"
                    segments.append(SegmentRecord(0, number, title, start, piece.seconds, piece.key, piece.sha256))
        for segment in segments:
            if len(self.contents.segments) >= MAX_SEGMENTS:
                raise InvalidRequest(f"A data set holds {MAX_SEGMENTS} segments at most.", hint="Make several.")
            last = self.contents.segments[-1].number if self.contents.segments else 0
            self.contents.segments.append(
                replace(segment, number=last + 1, transcript=line.text, language=line.language, speaker=line.speaker)
            )

    def _skip(self, name: str, reason: str) -> None:
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append({"name": name, "reason": reason})


def _part_of(progress: Progress, done: int, total: int, fraction: float, message: str) -> None:
    progress((done + fraction) / total, message)


def _cut(path: Path, rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample, samples) of the pieces between the silences of a long recording, read in blocks."""
    import soundfile

    from GPT_SoVITS.dataset.slicer import MIN_SEGMENT_SECONDS, Slicer

    slicer = Slicer(rate)
    start = 0
    with soundfile.SoundFile(str(path)) as file:
        while start < len(file):
            file.seek(start)
            block = file.read(BLOCK_SECONDS * rate, dtype="float32")
            chunks = slicer.slice(block)
            ends = start + len(block) >= len(file)
            # The last piece of a block may continue in the next one.
            following = start + len(block) if ends or len(chunks) < 2 else start + chunks.pop().start
            for chunk in chunks:
                if len(chunk.samples) >= MIN_SEGMENT_SECONDS * rate:
                    yield start + chunk.start, chunk.samples
            start = following
