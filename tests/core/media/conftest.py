"""An upload with nothing but its bytes to go by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from media_files import RATE


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """Four seconds that no codec can make small."""
    return (np.random.default_rng(0).standard_normal(4 * RATE) * 3000).astype(np.int16)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def save_bytes(data: bytes) -> Path:
        path = tmp_path / "upload"  # uploads are stored without an extension
        path.write_bytes(data)
        return path

    return save_bytes
