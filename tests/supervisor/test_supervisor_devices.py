"""What a machine can compute with."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from supervisor.devices import Gpu, count_cores, find_gpus, select_visible

GPUS = tuple(
    Gpu(index=index, uuid=f"GPU-{letter}{letter}", name="Test", total_mb=24_000, free_mb=23_000)
    for index, letter in enumerate("abc")
)


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [(None, [0, 1, 2]), ("", []), ("2,0", [2, 0]), ("GPU-bb", [1]), ("1,9,0", [1]), ("0,0", [0])],
)
def test_the_environment_limits_the_gpus_as_cuda_does(visible: str | None, chosen: list[int]):
    assert [gpu.index for gpu in select_visible(GPUS, visible)] == chosen


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 1), ("20000 100000", 1), ("garbage", None)])
def test_a_containers_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int | None):
    unlimited = count_cores(tmp_path)

    (tmp_path / "cpu.max").write_text(quota)

    assert count_cores(tmp_path) == (cores or unlimited)


class FakeDriver(ModuleType):
    """NVML with two GPUs, or with a fault."""

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):  # the name is NVML's
        pass

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__("pynvml")
        self.fault = fault
        self.open = False

    def nvmlInit(self) -> None:
        if isinstance(self.fault, self.NVMLError_LibraryNotFound):
            raise self.fault
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        if self.fault is not None:
            raise self.fault
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=24 * 2**30, free=(20 - handle) * 2**30)

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return "GPU-aa" if handle == 0 else b"GPU-bb"  # older drivers answer in bytes

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return "Test" if handle == 0 else b"Test"


def test_the_driver_tells_the_gpus_and_is_let_go(monkeypatch: pytest.MonkeyPatch):
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    gpus = find_gpus()

    assert [(gpu.uuid, gpu.name, gpu.total_mb, gpu.free_mb) for gpu in gpus] == [
        ("GPU-aa", "Test", 24_576, 20_480),
        ("GPU-bb", "Test", 24_576, 19_456),
    ]
    assert not driver.open


@pytest.mark.parametrize("fault", [FakeDriver.NVMLError_LibraryNotFound(), FakeDriver.NVMLError("Unknown Error")])
def test_without_a_working_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch, fault: Exception):
    driver = FakeDriver(fault)
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    assert find_gpus() == ()
    assert not driver.open
