"""A host whose GPUs are lost and return while it runs: a real daemon over a simulated driver and a simulated torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_stage import TOYS, Daemon, Stage, until
from job_waiting import wait_for_job

from core.jobs.job import JobStatus, NewJob

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads pids of Linux")]

DRIVER = """
import json, os
from types import SimpleNamespace

class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_NotFound(NVMLError): pass

def gpus(): return json.loads(open(os.environ["SIMULATED_GPUS"]).read())
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return len(gpus())
def nvmlDeviceGetHandleByIndex(index):
    if gpus()[index] is None: raise NVMLError("GPU is lost")
    return index
def nvmlDeviceGetMigMode(handle): raise NVMLError("Not Supported")
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(total=24 << 30, free=23 << 30)
def nvmlDeviceGetUUID(handle): return gpus()[handle]
def nvmlDeviceGetName(handle): return "Simulated"
def nvmlDeviceGetCudaComputeCapability(handle): return 9, 0
def nvmlDeviceGetUtilizationRates(handle): return SimpleNamespace(gpu=0)
def nvmlSystemGetCudaDriverVersion_v2(): return 12040
"""
TORCH = """
import json, os

class Tensor:
    def add_(self, number): return self
    def item(self): return 2.0

def ones(count, device):
    if os.environ["CUDA_VISIBLE_DEVICES"] not in json.loads(open(os.environ["SIMULATED_GPUS"]).read()):
        raise RuntimeError("CUDA error: no CUDA-capable device is detected")
    return Tensor()
"""

UUIDS = ("GPU-a", "GPU-b", "GPU-c")


@pytest.fixture
def set_gpus(tmp_path: Path) -> Callable[..., None]:
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "pynvml.py").write_text(DRIVER)
    (tmp_path / "simulated" / "torch.py").write_text(TORCH)

    def write(*uuids: str | None) -> None:
        temporary = tmp_path / "gpus.new"
        temporary.write_text(json.dumps(uuids))
        temporary.replace(tmp_path / "gpus.json")

    write(*UUIDS)
    return write


def workers(daemon: Daemon) -> dict[str, int]:
    """Return device → pid of the workers that the queue knows."""
    return {worker.device: worker.pid for worker in daemon.queue.workers()}


def test_a_lost_gpu_leaves_the_others_at_work_and_returns_to_it(
    daemon: Daemon, stage: Stage, tmp_path: Path, set_gpus: Callable[..., None]
) -> None:
    daemon.start(
        *("--roles", "synthesizer", "--without-api"),
        ready=False,
        SIMULATED_GPUS=str(tmp_path / "gpus.json"),
        PYTHONPATH=f"{tmp_path / 'simulated'}{os.pathsep}{TOYS}",
        SOVITSD_ROLE_CLASSES="synthesizer=toy_roles:SpeakingToy",
        DEVICE_CHECK_SECONDS="0.2",
        DRAIN_SPEECH_SECONDS="0.2",
        SYNTHESIS_SLOTS="1",
    )
    daemon.wait_for("All 3 processes are ready", seconds=60)
    at_first = workers(daemon)
    assert set(at_first) == {"cuda:0", "cuda:1", "cuda:2"}
    job = daemon.queue.enqueue(NewJob("synthesizer", {"how": "wait"}))
    first = stage.next_run()
    device = next(device for device, pid in at_first.items() if pid == first.pid)
    lost = int(device.removeprefix("cuda:"))

    set_gpus(*(None if number == lost else uuid for number, uuid in enumerate(UUIDS)))

    second = stage.next_run(seconds=60)
    assert second.pid in set(at_first.values()) - {first.pid}
    second.go_on()
    done = wait_for_job(daemon.queue, job.id, timeout=60)
    assert done.status is JobStatus.DONE
    assert (done.attempts, done.rescues) == (0, 0)  # it was handed back, not rescued
    rest = {name: pid for name, pid in at_first.items() if name != device}
    until(lambda: workers(daemon) == rest, seconds=60)
    daemon.wait_for(f"GPU {lost} .* is gone")

    set_gpus(*UUIDS)

    daemon.wait_for(f"GPU {lost} .* is there now", seconds=60)
    until(lambda: set(workers(daemon)) == set(at_first), seconds=60)
    assert {name: pid for name, pid in workers(daemon).items() if name != device} == rest

    set_gpus(None, None, None)

    until(lambda: set(workers(daemon)) == {"cpu"}, seconds=60)
    assert daemon.drain(60) == 0
