"""The order of stages: what each of them reads, which can run now, and how far a task is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.stages.stage import ALL_VERSIONS, STAGES, check_version
from core.stages.status import StageStatus


def stage_order(version: str, *, with_test: bool = False) -> tuple[str, ...]:
    """Return the stages of a version, each after what it needs; `with_test` adds test_inference."""
    check_version(version)
    return tuple(
        name for name, stage in STAGES.items() if version in stage.versions and (with_test or name != "test_inference")
    )


def stage_inputs(name: str, version: str) -> tuple[str, ...]:
    """Return the stages whose results a stage uses, the optional ones included."""
    stage = STAGES[name]
    return stage.needs + tuple(other for other in stage.after if version in STAGES[other].versions)


def unmet_needs(name: str, statuses: Mapping[str, StageStatus], version: str = "v2") -> tuple[str, ...]:
    """Return what a stage needs and what is not completed; a stage not in `statuses` is pending.

    An optional stage that never ran is not needed, but one whose result is stale is: it would go unnoticed otherwise.
    """
    unmet = tuple(need for need in STAGES[name].needs if statuses.get(need) is not StageStatus.COMPLETED)
    for optional in STAGES[name].after:
        status = statuses.get(optional)
        # A stage that only some versions have is required by those.
        required = version in STAGES[optional].versions != ALL_VERSIONS and status is not StageStatus.COMPLETED
        if required or status is StageStatus.STALE:
            unmet += (optional,)
    return unmet


def with_prerequisites(stages: Sequence[str], version: str, statuses: Mapping[str, StageStatus]) -> list[str]:
    """Return stages of a version in order, with those among what they read that clients do not know.

    One of these that is completed is left out, unless the recording is cut anew.
    """
    anew = "audio_slice" in stages
    names = set(stages)
    for stage in reversed(STAGES.values()):
        if stage.name in names:
            read = (name for name in stage_inputs(stage.name, version) if not STAGES[name].known_to_clients)
            names |= {name for name in read if anew or name in unmet_needs(stage.name, statuses, version)}
    return [name for name in stage_order(version, with_test=True) if name in names]


def ready_stages(statuses: Mapping[str, StageStatus], version: str) -> tuple[str, ...]:
    """Return the stages that a task can run now: pending or stale, with every stage before them completed."""
    names = stage_order(version)
    return tuple(
        name
        for name in names
        if statuses.get(name, StageStatus.PENDING) in (StageStatus.PENDING, StageStatus.STALE)
        and not unmet_needs(name, statuses)
        and all(statuses.get(other) is StageStatus.COMPLETED for other in STAGES[name].after if other in names)
    )


def dependent_stages(name: str) -> tuple[str, ...]:
    """Return every stage that uses a stage's result, directly or not, in order."""
    reached: set[str] = {name}
    for stage in STAGES.values():  # in order, so one pass reaches all
        if reached.intersection(stage.needs + stage.after):
            reached.add(stage.name)
    return tuple(other for other in STAGES if other in reached and other != name)


def overall_progress(progress: Mapping[str, float], version: str) -> float:
    """Return how far a task is, 0 to 1, from how far its stages are; a stage not named is at 0."""
    names = stage_order(version)
    done = sum(STAGES[name].weight * min(1.0, max(0.0, progress.get(name, 0.0))) for name in names)
    return done / sum(STAGES[name].weight for name in names)
