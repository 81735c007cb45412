"""A role that runs stages: it records the start of a run, does the stage, and records the outputs."""

from __future__ import annotations

from typing import Any, ClassVar

from common import storage_keys
from core.jobs.job import Job
from core.stages.outputs import StageOutputs
from core.stages.run_payload import StageRunPayload
from roles.runtime.errors import model_errors
from roles.runtime.model_cache import ModelCache
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.storage_errors import storage_faults
from roles.stages.shared_folder import needed_entries, saved_on_failure
from roles.stages.stage_run import StageFunction, StageRun


class StageRole:
    """A role whose jobs are stage runs. Each step may be repeated: a rescued job starts again."""

    name = ""
    stop_grace_seconds = STOP_GRACE_SECONDS
    stages: ClassVar[dict[str, StageFunction]]

    def start(self, services: WorkerServices) -> None:
        """Prepare an empty cache of models."""
        self.services = services
        self.models = ModelCache.from_settings(services.settings)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Run the stage that the payload names and return its outputs."""
        experiments, storage = self.services.experiments, self.services.storage
        payload = StageRunPayload.model_validate(job.payload)
        experiment_id, stage, run = payload.experiment_id, payload.stage, payload.run
        started = self.services.call(experiments.runs.start, experiment_id, stage, run)
        if started.completed_outputs is not None:
            self.services.call(experiments.scheduler.advance, experiment_id)
            return started.completed_outputs
        key = storage_keys.experiment_folder(experiment_id)
        folder, needed = storage.local(key), needed_entries(stage, started.record.work_run)
        with model_errors(), storage_faults(folder), storage.working(key, needed, context.confirm_lease) as shared:
            stage_run = StageRun(
                experiment=started.experiment,
                stage=stage,
                run=run,
                config=started.config,
                outputs=started.outputs,
                folder=folder,
                services=self.services,
                context=context,
                work_run=started.record.work_run,
                models=self.models,
                save_soon=shared.save_soon,
                save_file=shared.save_file,
            )
            with saved_on_failure(shared, context):
                outputs = dict(self.perform(stage_run))
            context.confirm_lease()
            shared.save()
            self.services.call(experiments.runs.complete, experiment_id, stage, run, outputs)
            if self.discard_state(stage_run):
                shared.save()
        return outputs

    def discard_state(self, run: StageRun) -> bool:
        """Delete what only an unfinished run needs, once it is recorded as completed; return whether it had any."""
        return False

    def perform(self, run: StageRun) -> StageOutputs:
        """Do the stage and return its outputs."""
        return self.stages[run.stage](run)

    def idle(self) -> None:
        """Drop models that were not used for a while."""
        self.models.tidy()

    def stop(self) -> None:
        """Drop all models."""
        self.models.clear()
