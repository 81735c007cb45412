"""What the settings let run at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.jobs.job import WorkerLocation
from core.jobs.placement import cap_cpu_training, locate_worker
from core.settings import Settings, read_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(data_path=tmp_path, max_training_concurrent_cpu=1, max_inference_concurrent_gpu=3)


def test_only_training_and_speech_are_limited(settings: Settings):
    assert locate_worker(settings, "trainer", "host", "cpu") == WorkerLocation("host", "cpu", "training", 1)
    assert locate_worker(settings, "synthesizer", "host", "cuda:0") == WorkerLocation("host", "cuda:0", "inference", 3)
    assert locate_worker(settings, "preprocessor", "host", "cpu").kind == ""


def test_a_training_on_a_cpu_leaves_room_for_speech(settings: Settings):
    small, large = cap_cpu_training(settings, 8, 4), cap_cpu_training(settings, 1, 32)

    assert (small.batch_size, small.threads, small.note) == (4, 4, "")
    assert (large.batch_size, large.threads) == (8, 1)
    assert "32 is above CPU_TRAINING_MAX_BATCH_SIZE" in large.note
