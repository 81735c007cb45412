"""Data sets: recordings with transcripts, in versions, looked at before anyone trains on them."""

from core.datasets.service import DatasetService, Work

__all__ = ["DatasetService", "Work"]
