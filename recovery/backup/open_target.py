"""Open the target that BACKUP_URL or `--from` names."""

from __future__ import annotations

from pathlib import Path

from core.errors import InvalidRequest, MissingPart
from core.setting_values import BUCKETS
from recovery.backup.target import BackupTarget, FolderTarget


def open_target(url: str, *, retry_seconds: float | None = None) -> BackupTarget:
    """Return the target of an address: a folder, `file:///…`, or a bucket.

    Raises InvalidRequest for an empty address, MissingPart for a bucket without its optional package.
    """
    if not url:
        raise InvalidRequest(
            "BACKUP_URL is not set, so there is no place for backups.",
            hint="Set it to a folder on another disk or host (file:///mnt/backup), or to a bucket (s3://…).",
        )
    if not url.startswith(BUCKETS):
        return FolderTarget(Path(url.removeprefix("file://")).expanduser())
    try:
        from recovery.backup.bucket_target import BucketTarget
    except ModuleNotFoundError:
        raise MissingPart(
            "BACKUP_URL names a bucket, and the package that speaks to it is not installed.",
            hint="pip install 'sovitsd[s3]'.",
        ) from None
    return BucketTarget(url) if retry_seconds is None else BucketTarget(url, retry_seconds=retry_seconds)
