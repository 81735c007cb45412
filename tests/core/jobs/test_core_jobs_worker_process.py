"""The names that a worker process gives itself."""

from __future__ import annotations

import pytest

from core.jobs.worker_process import GPUS, name_device


def test_a_gpu_has_the_drivers_number_whatever_its_worker_was_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(GPUS, "0=GPU-a,3=GPU-b")

    assert [name_device(device) for device in ("cpu", "cuda:GPU-b", "cuda:2", "cuda")] == [
        "cpu",
        "cuda:3",
        "cuda:2",
        "cuda:0",
    ]
