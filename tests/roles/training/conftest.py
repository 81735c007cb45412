"""The run of a GPT training whose evaluation program is `toy_evaluation`."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluated_run import evaluated_run

from roles.stages.stage_run import StageRun


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageRun:
    return evaluated_run(tmp_path, monkeypatch, "gpt_train")
