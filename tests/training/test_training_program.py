"""One program runs every trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.train import main, trainer_name


@pytest.fixture
def write(tmp_path: Path):
    def write(content: Any) -> Path:
        path = tmp_path / "RUN.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("trainer", ["gpt", "sovits", "flow_matching"])
def test_the_file_names_its_trainer(write, trainer: str) -> None:
    assert trainer_name(write({"trainer": trainer, "version": "v2"})) == trainer


@pytest.mark.parametrize(
    ("content", "trainer"),
    [
        ({"version": "nano", "dpo": False}, "gpt"),
        ({"version": "v4", "dpo": True}, "gpt"),
        ({"version": "nano", "grad_ckpt": False}, "sovits"),
        ({"version": "v2", "base_discriminator": "d.pth"}, "sovits"),
        ({"version": "v3", "lora_rank": 32, "grad_ckpt": False}, "flow_matching"),
    ],
)
def test_a_file_of_the_previous_release_goes_to_the_trainer_that_it_was_written_for(
    write, content: dict[str, Any], trainer: str
) -> None:
    assert trainer_name(write(content)) == trainer


@pytest.mark.parametrize("content", [{"version": "v2"}, {"trainer": "vocoder"}, [], "text"])
def test_a_file_without_a_trainer_is_refused(write, content: Any) -> None:
    with pytest.raises(ModelError) as refused:
        trainer_name(write(content))

    assert refused.value.code == "bad_plan"


def test_a_program_without_a_file_says_how_it_is_used(capsys) -> None:
    assert main([]) == 1
    assert "python -m GPT_SoVITS.train RUN.json" in capsys.readouterr().err
