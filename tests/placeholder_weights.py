"""Files under the names of official weights, for tests that only look whether they are there."""

from __future__ import annotations

from pathlib import Path

from common.official_weights import needed_parts, part_location


def install_version(models: Path, version: str, *, without: tuple[str, ...] = ()) -> None:
    """Write an empty file for each file that training and speaking with a version needs."""
    for part in needed_parts(version, training=True):
        location = part_location(part, version)
        assert location is not None
        if part in without:
            continue
        names = [f"{location.path}/{name.partition('|')[0]}" for name in location.contents] or [location.path]
        for name in names:
            path = models / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
