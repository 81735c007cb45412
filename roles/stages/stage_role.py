"""What the roles that run stages share: tell the records, run the stage, go on to the next."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from core.jobs.job import Job
from core.records import ExperimentRecord
from roles.runtime.errors import model_errors
from roles.runtime.model_cache import ModelCache
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.storage_errors import storage_faults
from roles.stages.shared_folder import saved_for_others, wanted_by

PROGRESS_SECONDS = 1.0
"""Progress without numbers is written down this often at most: each time is a transaction."""


@dataclass(slots=True)
class StageRun:
    """One run of one stage of one experiment."""

    experiment: ExperimentRecord
    stage: str
    run: int
    config: dict[str, Any]
    """The stage's parameters, defaults filled in."""
    outputs: dict[str, dict[str, Any]]
    """What the stages before it left, by stage."""
    folder: Path
    """The experiment's folder; also its training-set folder (specification s1-gpt §12)."""
    services: WorkerServices
    context: JobContext
    work_run: int = 1
    """The run in whose own folder it works: an earlier one when it goes on after a pause."""
    changed: dict[str, Any] = field(default_factory=dict)
    """Name → `{before, now}` of what differs from the paused run that it goes on from; someone confirmed that."""
    models: ModelCache = field(default_factory=ModelCache)
    """What stays loaded from one job to the next."""
    save_soon: Callable[[], None] = lambda: None
    """Call it when what the folder holds is worth going on from, at another host if need be."""
    told_at: float = float("-inf")
    """When progress was written down last, by `time.monotonic`."""

    def progress(self, fraction: float, message: str, **extra: Any) -> None:
        """Tell how far this stage is (0–1); raises when the job is cancelled or lost."""
        self.context.check()
        now = time.monotonic()
        if not extra and fraction < 1.0 and now - self.told_at < PROGRESS_SECONDS:
            return
        self.told_at = now
        overall = self.services.call(
            self.services.experiments.runs.update_progress,
            self.experiment.id,
            self.stage,
            self.run,
            fraction,
            message,
            **extra,
        )
        self.context.progress(fraction, message, stage=self.stage, overall_progress=overall, **extra)

    @contextmanager
    def fresh_folder(self, name: str) -> Iterator[Path]:
        """A folder to fill that takes the place of `name` when the block ends well; nothing stays when it does not."""
        making, final, old = self.folder / f".{name}.making", self.folder / name, self.folder / f".{name}.old"
        shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
        try:
            making.mkdir(parents=True)
            yield making
            shutil.rmtree(old, ignore_errors=True)
            if final.exists():
                final.rename(old)
            making.rename(final)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


StageFunction = Callable[[StageRun], dict[str, Any]]


class StageRole:
    """Runs a stage and writes down what came of it. Each step may be repeated: a rescued job starts again."""

    name = ""
    stages: ClassVar[dict[str, StageFunction]]

    def start(self, services: WorkerServices) -> None:
        self.services = services
        self.models = ModelCache.from_settings(services.settings)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        experiments = self.services.experiments
        experiment_id, stage, run = (
            job.payload["experiment_id"],
            job.payload["stage"],
            int(job.payload["run"]),
        )
        started = self.services.call(experiments.runs.start, experiment_id, stage, run)
        if started.completed_outputs is not None:
            self.services.call(experiments.scheduler.advance, experiment_id)
            return started.completed_outputs
        key = f"experiments/{experiment_id}"
        folder, wanted = self.services.storage.local(key), wanted_by(stage, started.record.work_run)
        with model_errors(), storage_faults(folder), self.services.storage.working(key, wanted) as work:
            with saved_for_others(work, context):
                outputs = self.perform(
                    StageRun(
                        experiment=started.experiment,
                        stage=stage,
                        run=run,
                        config=started.config,
                        outputs=started.outputs,
                        folder=folder,
                        services=self.services,
                        context=context,
                        work_run=started.record.work_run,
                        changed=started.record.changed,
                        models=self.models,
                        save_soon=work.save_soon,
                    )
                )
            context.check()
            work.save()
        self.services.call(experiments.runs.complete, experiment_id, stage, run, outputs)
        return outputs

    def perform(self, run: StageRun) -> dict[str, Any]:
        """Do the stage; its outputs."""
        return self.stages[run.stage](run)

    def idle(self) -> None:
        """Forget what was loaded and nobody needs any more."""
        self.models.tidy()

    def stop(self) -> None:
        self.models.clear()
