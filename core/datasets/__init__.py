"""Data sets: recordings with transcripts, in immutable versions."""

from core.datasets.service import DatasetJob, DatasetService

__all__ = ["DatasetJob", "DatasetService"]
