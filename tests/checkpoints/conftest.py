"""Files of voices of random weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_voices import VoiceFiles, write_tiny_voice


@pytest.fixture(scope="session")
def tiny_voice(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VoiceFiles]:
    """Write a tiny voice of an official version."""
    return lambda version: write_tiny_voice(tmp_path_factory.mktemp(version), version)
