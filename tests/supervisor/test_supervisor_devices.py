"""What a machine can compute with."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from core.settings import read_settings
from supervisor.devices import count_cores, find_cuda_version, find_gpus, select_visible
from supervisor.gpu import Gpu
from supervisor.hardware_box import hardware_box
from supervisor.other_gpus import find_amd_gpus, find_apple_gpus, torch_backends

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

    class NVMLError_NotFound(NVMLError):  # the name is NVML's
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

    lost: int | None = None
    split: int | None = None

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == self.lost:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:
        if self.split is None:
            raise self.NVMLError("Not Supported")
        return int(handle == self.split), 0

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, number: int) -> str:
        if number not in (0, 2):
            raise self.NVMLError_NotFound("Not Found")
        return f"{handle}/{number}"

    def nvmlDeviceGetMemoryInfo(self, handle: int | str) -> SimpleNamespace:
        if isinstance(handle, str):
            return SimpleNamespace(total=10 * 2**30, free=9 * 2**30)
        return SimpleNamespace(total=24 * 2**30, free=(20 - handle) * 2**30)

    def nvmlDeviceGetUUID(self, handle: int | str) -> str | bytes:
        if isinstance(handle, str):
            return f"MIG-{handle}"
        return "GPU-aa" if handle == 0 else b"GPU-bb"  # older drivers answer in bytes

    def nvmlDeviceGetName(self, handle: int | str) -> str | bytes:
        return "Test" if handle == 0 else b"Test"

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return (8, 6)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        if handle == 1:
            raise self.NVMLError("Not Supported")  # as in a MIG slice
        return SimpleNamespace(gpu=37)

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 12040


def test_the_driver_tells_the_gpus_and_is_let_go(monkeypatch: pytest.MonkeyPatch):
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    gpus = find_gpus()

    assert [(gpu.uuid, gpu.name, gpu.total_mb, gpu.free_mb) for gpu in gpus] == [
        ("GPU-aa", "Test", 24_576, 20_480),
        ("GPU-bb", "Test", 24_576, 19_456),
    ]
    assert [(gpu.compute_capability, gpu.utilization) for gpu in gpus] == [("8.6", 37.0), ("8.6", 0.0)]
    assert find_cuda_version() == "12.4"
    assert not driver.open


def test_a_gpu_that_does_not_answer_leaves_the_others(monkeypatch: pytest.MonkeyPatch):
    driver = FakeDriver()
    driver.lost = 0
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    assert [gpu.uuid for gpu in find_gpus()] == ["GPU-bb"]


def test_a_split_gpu_counts_as_its_instances(monkeypatch: pytest.MonkeyPatch):
    driver = FakeDriver()
    driver.split = 1
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    assert [(gpu.label, gpu.uuid, gpu.free_mb) for gpu in find_gpus()] == [
        ("0", "GPU-aa", 20_480),
        ("1.0", "MIG-1/0", 9_216),
        ("1.2", "MIG-1/2", 9_216),
    ]


@pytest.mark.parametrize("fault", [FakeDriver.NVMLError_LibraryNotFound(), FakeDriver.NVMLError("Unknown Error")])
def test_without_a_working_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch, fault: Exception):
    driver = FakeDriver(fault)
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    assert find_gpus() == ()
    assert find_cuda_version() in ("", "12.4")
    assert not driver.open


def test_a_box_shows_the_gpus_at_the_start(tmp_path: Path):
    gpu = Gpu(0, "GPU-aa", "RTX 3090", total_mb=24_576, free_mb=18_432, compute_capability="8.6")
    settings = read_settings(data_path=tmp_path)

    with_gpu = hardware_box([gpu], "12.4", settings)
    without = hardware_box([], "", settings)

    assert len({len(line) for line in with_gpu}) == 1
    assert [line.strip("| ") for line in with_gpu[1:-1] if "PyTorch" not in line] == [
        "GPU usable: yes",
        "cuda:0  RTX 3090, compute capability 8.6",
        "memory: 24.0 GiB, 6.0 GiB used (25 %), 18.0 GiB free",
        "tasks: training 0 of 1, inference 0 of 3",
    ]
    assert "CUDA: 12.4   PyTorch: " in with_gpu[2]
    assert "GPU usable: no, everything runs on the CPU" in without[1]
    assert "tasks: training 0 of 2, inference 0 of 4" in without[3]


def make_amd_node(sysfs: Path, number: int, *, unique_id: int = 0, simd_count: int = 432, minor: int = 0) -> None:
    node = sysfs / "class/kfd/kfd/topology/nodes" / str(number)
    node.mkdir(parents=True)
    properties = {"cpu_cores_count": 0, "simd_count": simd_count, "drm_render_minor": minor, "unique_id": unique_id}
    (node / "properties").write_text("".join(f"{name} {value}\n" for name, value in properties.items()))
    with (node / "properties").open("a") as file:
        file.write("gfx_target_version 90010\n")
    (node / "name").write_text("aldebaran\n")
    if minor:
        card = sysfs / f"class/drm/renderD{minor}/device"
        card.mkdir(parents=True)
        (card / "mem_info_vram_total").write_text(str(64 << 30))
        (card / "mem_info_vram_used").write_text(str(4 << 30))
        (card / "gpu_busy_percent").write_text("12\n")


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the backends that the installed torch claims to have, to add to."""
    names: set[str] = set()
    monkeypatch.setattr("supervisor.devices.torch_backends", lambda: frozenset(names))
    return names


def test_the_kernel_tells_of_amds_gpus_in_rocms_order(tmp_path: Path):
    make_amd_node(tmp_path, 0, simd_count=0)  # the CPU
    make_amd_node(tmp_path, 10, unique_id=0xFEDCBA9876543210, minor=129)
    make_amd_node(tmp_path, 2, unique_id=0x123456789ABCDEF, minor=128)
    make_amd_node(tmp_path, 11, unique_id=7)  # of another container: its card is not there

    gpus = find_amd_gpus(tmp_path)

    assert [(gpu.index, gpu.device, gpu.name_for_jobs) for gpu in gpus] == [
        (0, "rocm:GPU-0123456789abcdef", "cuda:0"),
        (1, "rocm:GPU-fedcba9876543210", "cuda:1"),
    ]
    assert (gpus[0].total_mb, gpus[0].free_mb, gpus[0].utilization) == (65_536, 61_440, 12.0)
    assert (gpus[0].name, gpus[0].compute_capability) == ("aldebaran", "9.0")
    assert find_amd_gpus(tmp_path / "nothing") == ()


@pytest.mark.parametrize("visible", [None, "1"])
def test_amds_gpus_are_used_where_torch_has_rocm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backends: set[str], visible: str | None
):
    make_amd_node(tmp_path, 1, unique_id=1, minor=128)
    make_amd_node(tmp_path, 2, unique_id=2, minor=129)
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver(FakeDriver.NVMLError_LibraryNotFound("no library")))
    monkeypatch.setattr("supervisor.devices.find_amd_gpus", lambda: find_amd_gpus(tmp_path))
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("HIP_VISIBLE_DEVICES", visible)

    assert find_gpus() == ()  # a torch for CPUs
    backends.add("rocm")
    assert [gpu.index for gpu in find_gpus()] == ([0, 1] if visible is None else [1])


@pytest.mark.parametrize(
    ("system", "machine", "names"), [("Darwin", "arm64", ["mps"]), ("Darwin", "x86_64", []), ("Linux", "arm64", [])]
)
def test_a_macs_gpu_is_used_where_torch_has_mps(
    monkeypatch: pytest.MonkeyPatch, backends: set[str], system: str, machine: str, names: list[str]
):
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver(FakeDriver.NVMLError_LibraryNotFound("no library")))
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)

    assert find_gpus() == ()
    backends.add("mps")
    assert [gpu.device for gpu in find_gpus()] == names
    assert all(0 < gpu.free_mb <= gpu.total_mb for gpu in find_apple_gpus())


def test_a_fault_of_the_driver_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("supervisor.devices._warnings", set())
    driver = FakeDriver()
    driver.lost = 0
    monkeypatch.setitem(sys.modules, "pynvml", driver)

    for _ in range(3):
        find_gpus()

    assert caplog.text.count("GPU 0 is not used") == 1


@pytest.mark.slow
def test_torch_itself_says_which_gpus_it_can_use():
    torch_backends.cache_clear()

    assert torch_backends() <= {"rocm", "mps"}
