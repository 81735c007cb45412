"""Open the storage that the settings name."""

from __future__ import annotations

from core.errors import MissingPart
from core.settings import Settings
from core.storage.folder_storage import Storage


def open_storage(settings: Settings) -> Storage:
    """Return the storage that STORAGE_URL names; raise MissingPart for a bucket without its optional package."""
    if not settings.storage_is_bucket:
        return Storage(settings.storage_root)
    try:
        from core.storage.bucket_storage import BucketStorage
    except ModuleNotFoundError:
        raise MissingPart(
            "STORAGE_URL names a bucket, and the package that speaks to it is not installed.",
            hint="pip install 'sovitsd[s3]'.",
        ) from None
    return BucketStorage(
        settings.resolved_storage_url,
        settings.storage_root,
        settings.storage_cache_mb << 20,
        make_bucket=settings.makes_bucket,
    )
