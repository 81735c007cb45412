"""Real records, a real queue and a real preprocessor, whose jobs a test runs one by one."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any, cast

import soundfile

from core.errors import ErrorData, SovitsError
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.ids import new_id
from core.jobs.roles import PREPROCESSOR
from core.records import NewFileRecord, StageRecord, upgrade
from core.settings import Settings
from core.stages.stage import STAGES
from roles.preprocessor import Preprocessor
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.stages.stage_role import StageRole

RECORDING = Path(__file__).resolve().parents[2] / "prompts" / "allison" / "recording.flac"


class StageBench:
    """Runs stages as a worker would, in this thread; what a stage raises, the test sees."""

    def __init__(self, settings: Settings, redis_url: str, *, threads: int = 1) -> None:
        upgrade(settings.resolved_database_url)
        self.services = WorkerServices(settings, redis_url, threads=threads)
        self.roles: dict[str, StageRole] = {PREPROCESSOR: Preprocessor()}
        for role in self.roles.values():
            role.start(self.services)
        self.draining = threading.Event()

    def close(self) -> None:
        for role in self.roles.values():
            role.stop()
        self.services.close()

    def upload(self, source: Path) -> str:
        """Store a file as the API does and return its id."""
        file_id, content = new_id("file"), source.read_bytes()
        self.services.storage.put_bytes(f"files/{file_id}", content)
        self.services.call(
            self.services.records.files.create,
            NewFileRecord(
                id=file_id,
                filename=source.name,
                purpose="training",
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            ),
        )
        return file_id

    def experiment(self, file_id: str, name: str = "allison") -> str:
        """Create a nano experiment in expert mode and return its id."""
        record = self.services.call(
            self.services.experiments.create, ExperimentRequest(name, file_id, version="nano", language="en")
        )
        return record.id

    def folder(self, experiment_id: str) -> Path:
        return self.services.storage.local(f"experiments/{experiment_id}")

    def stage(self, experiment_id: str, stage: str) -> StageRecord:
        return self.services.call(self.services.records.stages.get, experiment_id, stage)

    def run(self, experiment_id: str, stage: str, **parameters: Any) -> dict[str, Any]:
        """Ask for a stage as an expert does, and do its job; the outputs."""
        context = self.claim(experiment_id, stage, **parameters)
        try:
            outputs = self.roles[STAGES[stage].role].run(context.job, context)
        except Exception as error:
            self.fail(context, error)
            raise
        self.services.queue.ack(context.lease, outputs)
        return outputs

    def claim(self, experiment_id: str, stage: str, **parameters: Any) -> JobContext:
        """Claim the job of a stage without starting it."""
        self.services.call(self.services.experiments.stages.run, experiment_id, stage, parameters)
        lease = self.services.queue.claim(STAGES[stage].role, new_id(STAGES[stage].role))
        assert lease is not None
        assert lease.job.payload["stage"] == stage
        return JobContext(lease, self.services, self.draining)

    def task(self, file_id: str) -> str:
        """Create a nano task, whose first stage waits, and return its id."""
        record = self.services.call(
            self.services.experiments.tasks.create, TaskRequest("allison", file_id, version="nano", language="en")
        )
        return record.id

    def work_once(self, worker_id: str = "preprocessor-test") -> None:
        """Do the preprocessor's next job."""
        lease = self.services.queue.claim(PREPROCESSOR, worker_id)
        assert lease is not None
        outputs = self.roles[PREPROCESSOR].run(lease.job, JobContext(lease, self.services, self.draining))
        self.services.queue.ack(lease, outputs)

    def fail(self, context: JobContext, error: Exception) -> None:
        """Record that the stage has failed, as worker and supervisor would."""
        document: ErrorData = (
            error.as_dict() if isinstance(error, SovitsError) else {"code": "internal_error", "message": str(error)}
        )
        self.services.queue.fail(context.lease, document, permanent=True)
        payload = cast(dict[str, Any], context.job.payload)
        self.services.call(
            self.services.experiments.runs.fail,
            payload["experiment_id"],
            payload["stage"],
            payload["run"],
            document,
        )


class Prepared:
    """An experiment whose stages run once, when a test first asks for their results."""

    def __init__(self, stage_bench: StageBench, file_id: str) -> None:
        self.stage_bench = stage_bench
        self.file_id = file_id
        self.id = stage_bench.experiment(file_id)
        self.folder = stage_bench.folder(self.id)
        self.outputs: dict[str, dict[str, Any]] = {}

    def after(self, stage: str) -> dict[str, Any]:
        """Return the outputs of a stage; run it, and what it needs, unless that is done."""
        for needed in STAGES[stage].needs:
            self.after(needed)
        if stage not in self.outputs:
            self.outputs[stage] = self.stage_bench.run(self.id, stage)
        return self.outputs[stage]


def speech(path: Path, seconds: float = 21.0) -> Path:
    """Write the beginning of the bundled recording to a file."""
    samples, rate = soundfile.read(RECORDING, frames=int(seconds * 16_000), dtype="int16")
    soundfile.write(path, samples, rate)
    return path
