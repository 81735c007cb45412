"""What may be asked of a training, and what keeps it from going on."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from GPT_SoVITS.errors import is_out_of_memory
from GPT_SoVITS.training.config import TrainingConfig
from GPT_SoVITS.training.control import TrainingControl, ends_early
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.resume import OTHER_DATA, RunRecorder, differences, fingerprint, settings_of

PLAN = TrainingConfig("nano", Path("/data"), Path("/out"), epochs=2, batch_size=4, save_every_epoch=1)
CONFIG = {"train": {"learning_rate": 0.1}, "model": {"width": 8}}


def journal(folder: Path, plan: TrainingConfig, config: dict, data: str = "these") -> RunRecorder:
    return RunRecorder(
        folder, fingerprint(data, config, plan.batch_size), ProcessGroup(torch.device("cpu")), settings_of(plan, config)
    )


def test_only_a_control_can_ask_for_an_early_end():
    control, plain = TrainingControl(), threading.Event()
    control.after_epoch.set()
    plain.set()

    assert ends_early(control)
    assert not control.is_set()
    assert not ends_early(plain)
    assert not ends_early(TrainingControl())


def test_a_state_of_the_same_plan_is_gone_on_from(tmp_path):
    before = journal(tmp_path, PLAN, CONFIG)
    before.progress.saved.append(1)
    before.save({"weights": 1})

    after = journal(tmp_path, replace(PLAN, epochs=9, save_every_epoch=3), CONFIG)

    assert after.resume() == {"weights": 1}
    assert after.progress.saved == [1]
    assert after.changed is None


@pytest.mark.parametrize(
    ("plan", "config", "data", "changed"),
    [
        (replace(PLAN, batch_size=8), CONFIG, "these", [{"name": "batch_size", "before": 4, "now": 8}]),
        (
            PLAN,
            {"train": {"learning_rate": 0.2}, "model": {"width": 8}},
            "these",
            [{"name": "train.learning_rate", "before": 0.1, "now": 0.2}],
        ),
        (PLAN, CONFIG, "others", [{"name": OTHER_DATA, "before": None, "now": None}]),
    ],
)
def test_a_state_of_another_plan_names_what_is_different(tmp_path, caplog, plan, config, data, changed):
    journal(tmp_path, PLAN, CONFIG).save({})

    after = journal(tmp_path, plan, config, data)

    assert after.resume() is None
    assert after.changed == changed
    assert changed[0]["name"] in caplog.text


def test_where_nothing_was_saved_nothing_has_changed(tmp_path):
    fresh = journal(tmp_path, PLAN, CONFIG)

    assert fresh.resume() is None
    assert fresh.changed is None


def test_a_base_counts_by_its_content_wherever_it_lies(tmp_path):
    here, there, other = (tmp_path / name / "base.safetensors" for name in ("here", "there", "other"))
    for path, content in ((here, b"weights"), (there, b"weights"), (other, b"others")):
        path.parent.mkdir()
        path.write_bytes(content)

    marks = [fingerprint(["v2", str(path)]) for path in (here, there, other)]

    assert marks[0] == marks[1] != marks[2]
    settings = [settings_of(replace(PLAN, base=path), CONFIG) for path in (here, there, other)]
    assert settings[0] == settings[1]
    assert [change["name"] for change in differences(settings[0], settings[2])] == ["base"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_refusal_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
