"""What a machine can compute with."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.devices import Gpu, available_memory_mb, choose_visible, count_cores

GPUS = tuple(
    Gpu(index=index, uuid=f"GPU-{letter}{letter}", name="Test", total_mb=24_000, free_mb=23_000)
    for index, letter in enumerate("abc")
)


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [(None, [0, 1, 2]), ("", []), ("2,0", [2, 0]), ("GPU-bb", [1]), ("1,9,0", [1]), ("0,0", [0])],
)
def test_the_environment_limits_the_gpus_as_cuda_does(visible: str | None, chosen: list[int]):
    assert [gpu.index for gpu in choose_visible(GPUS, visible)] == chosen


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 1), ("20000 100000", 1), ("garbage", None)])
def test_a_containers_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int | None):
    unlimited = count_cores(tmp_path)

    (tmp_path / "cpu.max").write_text(quota)

    assert count_cores(tmp_path) == (cores or unlimited)


def test_a_containers_limit_leaves_what_it_has_not_used(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemAvailable: 8192000 kB\n")

    assert available_memory_mb(tmp_path, meminfo) == 8000

    (tmp_path / "memory.max").write_text(str(3 * 2**30))
    (tmp_path / "memory.current").write_text(str(2 * 2**30))

    assert available_memory_mb(tmp_path, meminfo) == 1024
