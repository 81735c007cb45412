"""Records of tasks for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.records import TaskRecord, TaskStatus


def new_task_record(number: int, **values: Any) -> TaskRecord:
    """Return a queued task of the experiment with the same number, but for these values."""
    record = TaskRecord(
        id=f"task-{number}",
        exp_id=f"exp-{number}",
        exp_name="bob",
        audio_file_id=None,
        version="nano",
        language="en",
        quality="fast",
        priority=5,
        status=TaskStatus.QUEUED,
        current_stage="convert",
        progress=0.0,
        overall_progress=0.0,
        message="",
        error=None,
        webhook_url="",
        schedule_at=None,
        idempotency_key=None,
        voice_id=None,
        created_at=900.0,
        started_at=None,
        completed_at=None,
    )
    return replace(record, **values)
