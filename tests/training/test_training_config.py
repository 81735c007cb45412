"""What a RUN.json may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig as GPTPlan
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig as SoVITSPlan
from GPT_SoVITS.training.config import TrainingConfig

LEAST = {"version": "v2", "data": "logs/voice", "output": "out", "epochs": 1, "batch_size": 2, "save_every_epoch": 1}


@pytest.fixture
def write(tmp_path):
    def write(**changes) -> Path:
        path = tmp_path / "RUN.json"
        path.write_text(json.dumps(LEAST | changes))
        return path

    return write


def test_one_file_serves_every_stage(write):
    path = write(dpo=True, base_discriminator="d.pth", source="ssl", accumulate=4, grad_ckpt=True)

    gpt, sovits = GPTPlan.read(path), SoVITSPlan.read(path)

    assert (gpt.dpo, gpt.accumulate, gpt.grad_ckpt) == (True, 4, True)
    assert (sovits.base_discriminator, sovits.source, sovits.base) == (Path("d.pth"), "ssl", None)


def test_official_files_are_named_after_the_data_unless_a_name_is_given(write):
    assert TrainingConfig.read(write()).experiment == "voice"
    assert TrainingConfig.read(write(name="Anna")).experiment == "Anna"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"data": None}, "`data` is missing"),
        ({"accumulate": 0}, "`accumulate` is 0; whole numbers from 1 work"),
        ({"epochs": "three"}, "`epochs` is 'three'"),
        ({"grad_ckpt": "yes"}, "`grad_ckpt` is 'yes'; true and false work"),
        ({"dpo": 1}, "`dpo` is 1; true and false work"),
        ({"precision": "fp8"}, "`precision` is 'fp8'"),
    ],
)
def test_what_no_training_can_follow_is_named(write, changes, fault):
    with pytest.raises(ModelError) as refused:
        GPTPlan.read(write(**changes))

    assert refused.value.code == "bad_plan"
    assert fault in refused.value.message
