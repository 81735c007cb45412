"""The folders of a stage: complete or as they were, whatever a worker does that has lost its lease."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_bench import StageBench

from core.errors import LeaseLost
from core.jobs.roles import PREPROCESSOR
from roles.runtime.role import JobContext
from roles.stages.stage_run import StageRun


@pytest.fixture
def context(stage_bench: StageBench, recording: Path) -> JobContext:
    """Return the context of a stage that a worker has just claimed."""
    return stage_bench.claim(stage_bench.experiment(stage_bench.upload(recording)), "convert")


def stage_run(bench: StageBench, context: JobContext) -> StageRun:
    experiment_id = str(context.job.payload["experiment_id"])
    experiment = bench.services.call(bench.services.records.experiments.get, experiment_id)
    folder = bench.folder(experiment_id)
    folder.mkdir(parents=True, exist_ok=True)
    return StageRun(experiment, "convert", 1, {}, {}, folder, bench.services, context)


def take_over(bench: StageBench, context: JobContext) -> JobContext:
    """Return the context of another worker that got the job because the first one seemed to be dead."""
    bench.services.queue.rescue_worker(context.lease.worker_id)
    lease = bench.services.queue.claim(PREPROCESSOR, "preprocessor-second")
    assert lease is not None
    assert lease.job.id == context.job.id
    return JobContext(lease, bench.services, bench.draining)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_worker_that_slept_past_its_lease_replaces_no_folder(stage_bench: StageBench, context: JobContext):
    first = stage_run(stage_bench, context)

    def finish_late() -> None:
        with first.new_folder("segments") as late:
            (late / "a").write_text("late")
            second = stage_run(stage_bench, take_over(stage_bench, context))
            with second.new_folder("segments") as folder:
                (folder / "a").write_text("in time")

    with pytest.raises(LeaseLost):
        finish_late()

    assert files(first.folder) == {"segments/a": "in time"}


def test_a_worker_that_slept_past_its_lease_does_not_touch_what_the_next_one_is_making(
    stage_bench: StageBench, context: JobContext
):
    first = stage_run(stage_bench, context)
    second = stage_run(stage_bench, take_over(stage_bench, context))

    with second.new_folder("segments") as folder:
        (folder / "a").write_text("in time")
        with pytest.raises(LeaseLost), first.new_folder("segments") as late:
            (late / "a").write_text("late")
        (folder / "b").write_text("in time, too")

    assert files(first.folder) == {"segments/a": "in time", "segments/b": "in time, too"}


def test_what_a_killed_process_left_is_deleted(stage_bench: StageBench, context: JobContext):
    run = stage_run(stage_bench, context)
    for name in (".segments.making", f".segments.{context.lease.token - 1}.making", ".other.0.making"):
        (run.folder / name).mkdir(parents=True)

    with run.new_folder("segments") as folder:
        (folder / "a").write_text("in time")

    assert sorted(path.name for path in run.folder.iterdir()) == [".other.0.making", "segments"]
