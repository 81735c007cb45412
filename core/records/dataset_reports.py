"""Records of the reports on versions of data sets, and of what is still to be made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import or_

from core.errors import Conflict
from core.records.base import Part
from core.records.database import fetch_all
from core.records.dataset_contents import write_measures
from core.records.dataset_rows import DatasetStatus, DatasetVersionRecord
from core.records.dataset_tables import find_dataset, find_version, write_version
from core.records.models import dataset_versions
from core.records.rows import iso


class DatasetReportRecords(Part):
    """Begin a report, and keep what came of it with its version."""

    async def begin_dataset_report(
        self, dataset_id: str, version: int, options: dict[str, Any]
    ) -> DatasetVersionRecord:
        """A report to be made; the one under way when there is one. Conflict for a version that is not ready."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.status is not DatasetStatus.READY:
                raise Conflict(
                    f"Version {version} of {dataset_id} is {found.status}.", hint="A report needs one that is ready."
                )
            if found.report_status is DatasetStatus.PREPARING:
                return found
            begun = replace(
                found,
                report_status=DatasetStatus.PREPARING,
                report_run=found.report_run + 1,
                report_options=options,
                report_error=None,
            )
            await write_version(connection, begun)
        return begun

    async def restart_dataset_report(self, dataset_id: str, version: int, run: int) -> bool:
        """Make a failed report after all: its dead letter was replayed. False when it is no longer the newest."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.report_run != run or found.report_status is not DatasetStatus.FAILED:
                return False
            await write_version(connection, replace(found, report_status=DatasetStatus.PREPARING, report_error=None))
        return True

    async def end_dataset_report(
        self,
        dataset_id: str,
        version: int,
        run: int,
        report: dict[str, Any] | None,
        error: dict[str, Any] | None = None,
        measures: dict[int, dict[str, Any]] | None = None,
    ) -> bool:
        """Keep the report, or why there is none (the last one stays then). False for one nobody waits for."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.report_run != run or found.report_status is not DatasetStatus.PREPARING:
                return False
            if report is None:
                ended = replace(found, report_status=DatasetStatus.FAILED, report_error=error)
            else:
                made = {**report, "made_at": iso(self._clock())}
                ended = replace(found, report_status=DatasetStatus.READY, report=made)
            await write_version(connection, ended)
            await write_measures(connection, dataset_id, version, measures or {})
        return True

    async def unfinished_dataset_versions(self, limit: int = 1000) -> list[DatasetVersionRecord]:
        """Versions and reports that should have a job in the queue."""
        table = dataset_versions
        waiting = or_(table.c.status == DatasetStatus.PREPARING, table.c.report_status == DatasetStatus.PREPARING)
        async with self._database.read() as connection:
            return await fetch_all(connection, table, DatasetVersionRecord, waiting, limit=limit)
