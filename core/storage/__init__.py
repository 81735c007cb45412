"""Artifacts under keys: in a folder of this host, or in a bucket that many hosts share."""

from core.storage.folder_storage import Storage, Wanted, Work
from core.storage.open import open_storage

__all__ = ["Storage", "Wanted", "Work", "open_storage"]
