"""Checkpoints: found, promoted, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from core.errors import NotFound
from core.records import CheckpointRecord, ExperimentRecord, Records, VoiceRecord
from core.storage import Storage
from core.voices.import_job import import_lock


class CheckpointService:
    """Finds, promotes and deletes checkpoints."""

    def __init__(self, records: Records, storage: Storage, data_path: Path) -> None:
        self.records = records
        self.storage = storage
        self.data_path = data_path

    async def get(self, checkpoint_id: str) -> CheckpointRecord:
        """Return a checkpoint; NotFound for an unknown one."""
        try:
            return await self.records.checkpoints.get(checkpoint_id)
        except NotFound:
            raise NotFound(f"There is no model {checkpoint_id!r}.", hint="GET /api/v1/models lists them.") from None

    async def promote(self, checkpoint_id: str, promoted: bool) -> CheckpointRecord:
        """Mark a checkpoint as promoted, or take that back; a promoted one outlives its experiment."""
        await self.get(checkpoint_id)
        return await self.records.checkpoints.promote(checkpoint_id, promoted)

    async def delete(self, checkpoint_id: str) -> None:
        """Delete a checkpoint and its file; Conflict while a voice uses it."""
        with ExitStack() as stack:
            # An import must not store the same weights again in between.
            await asyncio.to_thread(stack.enter_context, import_lock(self.data_path))
            await self.records.checkpoints.delete_with_file(
                checkpoint_id, lambda key: asyncio.to_thread(self.storage.delete, key)
            )

    async def voices(self, checkpoints: Sequence[CheckpointRecord]) -> dict[str, list[VoiceRecord]]:
        """Return the voices that use each of the checkpoints, by the checkpoint's id."""
        users = await self.records.voices.by_checkpoint([checkpoint.id for checkpoint in checkpoints])
        return {checkpoint.id: users.get(checkpoint.id, []) for checkpoint in checkpoints}

    async def experiments(self, checkpoints: Sequence[CheckpointRecord]) -> dict[str, ExperimentRecord]:
        """Return the experiments that trained the checkpoints, by their ids; without those that were deleted."""
        return await self.records.experiments.of_ids({record.exp_id for record in checkpoints if record.exp_id})
