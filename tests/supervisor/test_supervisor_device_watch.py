"""GPUs that are lost or return while a host runs: a change counts when two readings agree."""

from __future__ import annotations

from supervisor.device_watch import DeviceWatch
from supervisor.gpu import Gpu

GPUS = tuple(Gpu(index, f"GPU-{index}", "Test", total_mb=24_000, free_mb=23_000) for index in range(8))


def readings(*answers: tuple[Gpu, ...]) -> DeviceWatch:
    following = iter(answers)
    return DeviceWatch(lambda: next(following), GPUS)


async def test_one_lost_gpu_of_eight_leaves_seven() -> None:
    rest = (*GPUS[:3], *GPUS[4:])
    watch = readings(GPUS, rest, rest, rest)

    assert [await watch.changed() for _ in range(4)] == [False, False, True, False]
    assert (watch.gpus, watch.lost, watch.added) == (rest, (GPUS[3],), ())


async def test_a_driver_that_is_silent_once_changes_nothing() -> None:
    watch = readings((), GPUS, (), GPUS)

    assert [await watch.changed() for _ in range(4)] == [False] * 4
    assert watch.gpus == GPUS


async def test_a_gpu_that_returns_is_planned_with_its_free_memory_now_and_the_others_with_theirs_at_first() -> None:
    busy = tuple(Gpu(gpu.index, gpu.uuid, gpu.name, gpu.total_mb, free_mb=500) for gpu in GPUS)
    watch = readings(busy[1:], busy[1:], busy, busy)

    assert [await watch.changed() for _ in range(4)] == [False, True, False, True]
    assert (watch.gpus, watch.added) == ((busy[0], *GPUS[1:]), (busy[0],))
