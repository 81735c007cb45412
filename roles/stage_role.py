"""What the roles that run stages share: tell the records, run the stage, go on to the next."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from core.job import Job
from core.records import ExperimentRecord
from roles.errors import model_errors
from roles.role import JobContext
from roles.services import Services

PROGRESS_SECONDS = 1.0
"""Progress is written down this often at most: each time is a transaction."""


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
    services: Services
    context: JobContext

    def progress(self, fraction: float, message: str, **extra: Any) -> None:
        """Tell how far this stage is (0–1); raises when the job is cancelled or lost."""
        overall = self.services.call(
            self.services.experiments.stage_progress,
            self.experiment.id,
            self.stage,
            self.run,
            fraction,
            message,
        )
        self.context.progress(fraction, message, stage=self.stage, overall_progress=overall, **extra)

    @contextmanager
    def fresh_folder(self, name: str) -> Any:
        """A folder to fill that takes the place of `name` in one step when the block ends well."""
        making, final = self.folder / f".{name}.making", self.folder / name
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        yield making
        shutil.rmtree(final, ignore_errors=True)
        making.rename(final)


StageFunction = Callable[[StageRun], dict[str, Any]]


class StageRole:
    """Runs a stage and writes down what came of it. Each step may be repeated: a rescued job starts again."""

    name = ""
    stages: ClassVar[dict[str, StageFunction]]

    def start(self, services: Services) -> None:
        self.services = services

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        experiments = self.services.experiments
        experiment_id, stage, run = (
            job.payload["experiment_id"],
            job.payload["stage"],
            int(job.payload["run"]),
        )
        started = self.services.call(experiments.stage_started, experiment_id, stage, run)
        if started.outputs_already is not None:
            self.services.call(experiments.advance, experiment_id)
            return started.outputs_already
        stage_run = StageRun(
            experiment=started.experiment,
            stage=stage,
            run=run,
            config=started.config,
            outputs=started.outputs,
            folder=self.services.storage.folder(f"experiments/{experiment_id}"),
            services=self.services,
            context=context,
        )
        with model_errors():
            outputs = self.stages[stage](stage_run)
        context.check()
        self.services.call(experiments.stage_completed, experiment_id, stage, run, outputs)
        return outputs

    def idle(self) -> None:
        """Nothing to free."""

    def stop(self) -> None:
        """Nothing to close."""
