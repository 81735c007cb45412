"""The names that a worker process gives itself."""

from __future__ import annotations

import pytest

from core.jobs.worker_process import GPUS, name_device, torch_device, visible_devices


def test_a_gpu_has_the_drivers_number_whatever_its_worker_was_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(GPUS, "0=GPU-a,3=GPU-b")

    assert [name_device(device) for device in ("cpu", "cuda:GPU-b", "cuda:2", "cuda")] == [
        "cpu",
        "cuda:3",
        "cuda:2",
        "cuda:0",
    ]


def test_amd_gpus_have_numbers_as_nvidias_have_and_apples_has_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(GPUS, "0=GPU-0123456789abcdef,1=GPU-fedcba9876543210")

    devices = ("rocm:GPU-fedcba9876543210", "mps")
    assert [name_device(device) for device in devices] == ["cuda:1", "mps"]
    assert [torch_device(device) for device in ("cpu", "cuda:GPU-a", *devices)] == ["cpu", "cuda", "cuda", "mps"]


def test_a_process_sees_its_device_alone():
    assert visible_devices("cpu") == {"CUDA_VISIBLE_DEVICES": ""}
    assert visible_devices("cuda:GPU-a") == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
    assert visible_devices("mps") == {}
    # ROCr hides the other GPUs; HIP then counts the one that is left, whatever the environment said before.
    assert visible_devices("rocm:GPU-0123456789abcdef") == {
        "ROCR_VISIBLE_DEVICES": "GPU-0123456789abcdef",
        "HIP_VISIBLE_DEVICES": "0",
        "CUDA_VISIBLE_DEVICES": "0",
    }
