"""Reports on versions of data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from common.json_types import JsonObject
from core.errors import Conflict, ErrorData
from core.records.models.datasets import DatasetReport, DatasetStatus, DatasetVersionRecord
from core.records.models.times import iso
from core.records.repositories.dataset_contents import write_measures
from core.records.repositories.dataset_queries import fetch_dataset, fetch_version, write_version
from core.records.repositories.repository import Repository


class DatasetReportRepository(Repository):
    """Records of reports; each is part of the record of its version."""

    async def begin(self, dataset_id: str, version: int, options: JsonObject) -> DatasetVersionRecord:
        """Start a report, or return the one under way; raise Conflict for a version that is not ready."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.status is not DatasetStatus.READY:
                raise Conflict(
                    f"Version {version} of {dataset_id} is {current.status}.", hint="A report needs one that is ready."
                )
            if current.report_status is DatasetStatus.PREPARING:
                return current
            begun = replace(
                current,
                report_status=DatasetStatus.PREPARING,
                report_run=current.report_run + 1,
                report_options=options,
                report_error=None,
            )
            await write_version(connection, begun)
        return begun

    async def restart(self, dataset_id: str, version: int, run: int) -> bool:
        """Restart a failed report whose dead letter was replayed; return False when it is no longer the newest."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.report_run != run or current.report_status is not DatasetStatus.FAILED:
                return False
            await write_version(connection, replace(current, report_status=DatasetStatus.PREPARING, report_error=None))
        return True

    async def end(
        self,
        dataset_id: str,
        version: int,
        run: int,
        report: DatasetReport | None,
        error: ErrorData | None = None,
        measures: Mapping[int, JsonObject] | None = None,
    ) -> bool:
        """Write a finished report, or its error (the last report stays then); return False when it is not under way."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.report_run != run or current.report_status is not DatasetStatus.PREPARING:
                return False
            if report is None:
                ended = replace(current, report_status=DatasetStatus.FAILED, report_error=error)
            else:
                dated: DatasetReport = {**report, "made_at": iso(self._database.now())}
                ended = replace(current, report_status=DatasetStatus.READY, report=dated)
            await write_version(connection, ended)
            await write_measures(connection, dataset_id, version, measures or {})
        return True
