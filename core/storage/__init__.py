"""Artifacts under storage keys: in a folder of this host, or in a bucket that many hosts share."""

from core.storage.folder_storage import EntryFilter, Storage, WorkingFolder
from core.storage.open import open_storage

__all__ = ["EntryFilter", "Storage", "WorkingFolder", "open_storage"]
