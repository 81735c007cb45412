"""Memory of this host and of this process."""

from __future__ import annotations

import mmap
from pathlib import Path

from core.memory import address_space_bytes, available_memory_mb


def test_a_containers_limit_leaves_what_it_has_not_used(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemAvailable: 8192000 kB\n")

    assert available_memory_mb(tmp_path, meminfo) == 8000

    (tmp_path / "memory.max").write_text(str(3 * 2**30))
    (tmp_path / "memory.current").write_text(str(2 * 2**30))

    assert available_memory_mb(tmp_path, meminfo) == 1024


def test_reserved_memory_counts_before_it_is_used():
    before = address_space_bytes()

    with mmap.mmap(-1, 512 << 20):
        assert address_space_bytes() >= before + (512 << 20)
