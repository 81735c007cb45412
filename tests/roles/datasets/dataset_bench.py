"""What the tests of data sets share: real speech in pieces, ZIPs, and the roles of its workers in this process."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from bundled_speech import PIECES, RATE, speech

from core.datasets import DatasetService
from core.datasets.options import NewRecording
from core.errors import PermanentError
from core.ids import new_id
from core.jobs.roles import FILES, PREPROCESSOR
from core.records import (
    DatasetContents,
    DatasetRecord,
    DatasetVersionRecord,
    NewFileRecord,
    RecordingRecord,
    SegmentRecord,
)
from roles.datasets.audio_store import AudioStore
from roles.files import Files
from roles.preprocessor import Preprocessor
from roles.runtime.role import JobContext, Role
from roles.runtime.services import WorkerServices


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def transcripts(names: list[str], language: str = "EN") -> bytes:
    return "".join(f"wavs/{name}|allison|{language}|{PIECES[name][2]}\n" for name in names).encode()


class Bench:
    """Data sets with everything real behind them: records, queue, storage, the roles' own code."""

    def __init__(self, services: WorkerServices) -> None:
        self.services = services
        self.datasets = DatasetService(services.records, services.async_queue, services.storage)
        self.roles: dict[str, Role] = {FILES: Files(), PREPROCESSOR: Preprocessor()}
        for role in self.roles.values():
            role.start(services)

    def call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        return self.services.call(function, *arguments, **named)

    def upload(self, content: bytes, name: str = "a.wav") -> str:
        file_id = new_id("file")
        self.services.storage.put_bytes(f"files/{file_id}", content)
        self.call(
            self.services.records.files.create,
            NewFileRecord(
                id=file_id,
                filename=name,
                purpose="training",
                size_bytes=len(content),
                sha256="0" * 64,
            ),
        )
        return file_id

    def make(self, uploads: Mapping[str, bytes], language: str = "en", **transcripts: str) -> DatasetRecord:
        """Make a data set of uploads."""
        files = [
            NewRecording(file_id=self.upload(content, name), transcript=transcripts.get(name.partition(".")[0], ""))
            for name, content in uploads.items()
        ]
        dataset = self.call(self.datasets.create, "set", files, language=language)
        self.work()
        return self.call(self.services.records.datasets.get, dataset.id)

    def quick(self, *names: str, language: str = "en") -> str:
        """Return the id of a data set of those pieces with their transcripts, without a job that decodes anything."""
        records = self.services.records
        dataset = self.call(records.datasets.create, new_id("ds"), "set", language, "import", {}, 5)
        store = AudioStore(self.services.storage, dataset.id)
        contents = DatasetContents([], [])
        for number, name in enumerate(names, start=1):
            audio = store.add(speech(name), RATE)
            about: dict[str, Any] = {"sha256": audio.sha256, "seconds": audio.seconds, "storage_key": audio.key}
            contents.recordings.append(RecordingRecord(number, name, None, sample_rate=RATE, **about))
            contents.segments.append(
                SegmentRecord(number, number, name, 0.0, transcript=PIECES[name][2], language="en", **about)
            )
        self.call(records.dataset_versions.finish, dataset.id, 1, contents, [], "Made.")
        return dataset.id

    def work(self) -> Mapping[str, object] | None:
        """Run every job that waits, as a worker would; the result of the last one that was done."""
        queue, last = self.services.queue, None
        while lease := next(filter(None, (queue.claim(role, f"{role}-test-1-bench") for role in self.roles)), None):
            try:
                last = self.roles[lease.job.role].run(lease.job, JobContext(lease, self.services, threading.Event()))
            except PermanentError as error:
                queue.fail(lease, error.as_dict(), permanent=True)
            else:
                assert queue.ack(lease, last)
        return last

    def version(self, dataset_id: str, version: int | None = None) -> DatasetVersionRecord:
        return self.call(self.services.records.dataset_versions.get, dataset_id, version)

    def contents(self, dataset_id: str, version: int | None = None) -> DatasetContents:
        number = self.version(dataset_id, version).version
        return self.call(self.services.records.dataset_versions.contents, dataset_id, number)

    def sounds(self, dataset_id: str) -> list[Path]:
        return sorted((self.services.storage.root / "datasets" / dataset_id).rglob("*.wav"))
