"""The service behind tasks and experiments: it moves their stages on, in the records and in the queue.

The records are written first and the queue follows, so the reconciler picks up what a crash leaves in between; every
step is harmless when repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from common import storage_keys
from common.versions import AUTO
from core.errors import Conflict, InvalidRequest
from core.experiments.model_versions import CONTRACT_DEFAULT, ModelVersions
from core.experiments.new_records import new_experiment
from core.experiments.notifier import Notifier
from core.experiments.reconciler import Reconciler
from core.experiments.requests import ExperimentRequest, check_gpu_numbers, check_name, merge_parameters
from core.experiments.retention import Retention
from core.experiments.run_jobs import RunJobs
from core.experiments.runs import StageRuns
from core.experiments.scheduler import StageScheduler
from core.experiments.sources import ExperimentSource, find_source
from core.experiments.stages import ExperimentStages
from core.experiments.tasks import Tasks
from core.experiments.voice_publisher import VoicePublisher
from core.experiments.waiting_limit import WaitingLimit
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.records import STEPWISE_DIALECT, ExperimentChanges, ExperimentRecord, Records
from core.storage import Storage


class ExperimentService:
    """Creates, changes and deletes experiments; its components do the rest.

    | component | for | does |
    |---|---|---|
    | `tasks` | API | create and cancel tasks |
    | `stages` | API | run, cancel and control single stages and presets |
    | `runs` | workers | record start, progress and end of a stage run |
    | `scheduler` | workers | begin the stages that come next |
    | `voices` | API | publish the voice of an experiment |
    | `reconciler` | supervisor | repair records and queue after a crash |
    | `retention` | supervisor | delete what is old |
    | `waiting_limit` | supervisor | end what waits too long |
    | `jobs`, `notifier` | all of these | the jobs of stage runs; events for watchers |

    Without a storage, nothing on disk is copied or deleted.
    """

    def __init__(
        self,
        records: Records,
        queue: AsyncQueue,
        events: Events,
        storage: Storage | None = None,
        *,
        versions: ModelVersions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.records = records
        self.storage = storage
        self.versions = versions
        self.clock = clock
        self.jobs = RunJobs(queue, events, clock)
        self.notifier = Notifier(queue, clock)
        self.voices = VoicePublisher(records, storage, self.notifier)
        self.scheduler = StageScheduler(records, self.jobs, self.notifier, self.voices)
        self.tasks = Tasks(records, self.jobs, self.notifier, versions, clock)
        self.stages = ExperimentStages(records, self.jobs, versions)
        self.runs = StageRuns(records, self.jobs, self.notifier, self.scheduler, self.voices)
        self.reconciler = Reconciler(records, self.jobs, self.notifier, self.scheduler, self.runs, clock)
        self.retention = Retention(records, storage, self.delete, clock)
        self.waiting_limit = WaitingLimit(records, self.jobs, self.runs, clock)

    async def create(self, request: ExperimentRequest) -> ExperimentRecord:
        """Create an experiment; nothing runs until a stage is requested.

        Clients of the tasks service name v2 without having chosen it, so its weights are missed only by the first
        stage that loads them.

        Raises:
            InvalidRequest: a value out of range, or a named version whose weights are missing.
            NotFound: no such file or data set.
            Conflict: the data set is not ready.
        """
        request.check()
        source = await find_source(self.records, request)
        language = request.language or source.language
        version_named = bool(request.version) or self.versions.default != AUTO
        if request.version != CONTRACT_DEFAULT:
            version = await self.versions.choose(request.version, language, request.parameters)
            request = replace(request, version=version)
        defaults = {"asr": {"language": language}}
        parameters = merge_parameters(defaults, request.parameters, request.version)
        if source.audio_file_id:
            await self.records.files.get(source.audio_file_id)
        experiment = new_experiment(request, source, parameters, now=self.clock())
        device = await self.jobs.check_device(request.device)
        experiment = replace(experiment, device=device, version_named=version_named)
        return await self.records.experiments.create(experiment)

    async def create_without_source(self, request: ExperimentRequest, task_name: str = "") -> ExperimentRecord:
        """Create an experiment of the training service, whose recordings `set_source` names later."""
        request.check()
        version = await self.versions.choose(request.version, request.language, request.parameters)
        request = replace(request, version=version)
        parameters = merge_parameters({"asr": {"language": request.language}}, request.parameters, request.version)
        experiment = new_experiment(
            request,
            ExperimentSource(),
            parameters,
            now=self.clock(),
            dialect=STEPWISE_DIALECT,
            stepwise={"task_name": task_name},
        )
        return await self.records.experiments.create(experiment)

    async def set_source(self, exp_id: str, source: ExperimentSource) -> ExperimentRecord:
        """Change what `convert` reads from now on.

        Raises:
            Conflict: `convert` is under way.
        """
        async with self.records.experiments.transaction(exp_id) as transaction:
            if transaction.stage("convert").status.active:
                raise Conflict("convert is reading the recordings", hint="Wait for it, or cancel it.")
            transaction.set_experiment(
                audio_file_id=source.audio_file_id,
                dataset_id=source.dataset_id,
                dataset_version=source.dataset_version,
            )
        return transaction.experiment

    async def update(
        self,
        exp_id: str,
        *,
        exp_name: str | None = None,
        gpu_numbers: str | None = None,
        is_half: bool | None = None,
    ) -> ExperimentRecord:
        """Change the given values; a stage under way keeps the old ones, the next one reads the new ones."""
        changes = ExperimentChanges()
        if exp_name is not None:
            check_name(exp_name)
            changes["exp_name"] = exp_name
        if gpu_numbers is not None:
            check_gpu_numbers(gpu_numbers)
            changes["gpu_numbers"] = gpu_numbers
        if is_half is not None:
            changes["is_half"] = is_half
        if not changes:
            raise InvalidRequest("Nothing is to be changed.", hint="Send exp_name, gpu_numbers or is_half.")
        return await self.records.experiments.update(exp_id, **changes)

    async def delete(self, exp_id: str) -> None:
        """Delete an experiment: records, files, logs, and its checkpoints but for promoted ones and those of a voice.

        Raises:
            Conflict: a stage or its task is under way, or a voice has a prompt in its folder.
        """
        for run in await self.records.stages.of_experiment(exp_id):
            await self.jobs.wait_until_stopped(run)
        weights = await self.records.experiments.delete(exp_id)
        if self.storage is not None:
            for key in weights:
                await asyncio.to_thread(self.storage.delete, key)
            await asyncio.to_thread(self.storage.delete_folder, storage_keys.experiment_folder(exp_id))
            await asyncio.to_thread(self.storage.delete_folder, storage_keys.log_folder(exp_id))
