"""Deal the segments of a data set out to train, val and test: by chance, but by the same chance for the same seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

from core.datasets.options import SplitOptions
from core.records import DatasetContents, SegmentRecord


def split(contents: DatasetContents, options: SplitOptions) -> DatasetContents:
    """Every segment in one part. What sounds the same, and the copies of a segment, stay together.

    A part that was asked for gets at least one group while train keeps one.
    """
    groups = _groups(contents, options)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{options.seed}:{key}".encode()).digest())
    total = sum(len(groups[key]) for key in order)
    parts: dict[str, str] = {}
    for part, share in (("val", options.val), ("test", options.test)):
        taken = 0
        while order and share > 0 and len(order) > 1 and taken < max(1, round(share * total)):
            key = order.pop()
            parts[key] = part
            taken += len(groups[key])
    subsets = {one.number: parts.get(key, "train") for key, group in groups.items() for one in group}
    return replace(contents, segments=[replace(one, subset=subsets[one.number]) for one in contents.segments])


def _groups(contents: DatasetContents, options: SplitOptions) -> dict[str, list[SegmentRecord]]:
    by_number = {one.number: one for one in contents.segments}
    recordings = {one.number: one.sha256 for one in contents.recordings}
    groups: dict[str, list[SegmentRecord]] = defaultdict(list)
    for one in contents.segments:
        origin = by_number.get(one.made_from, one) if one.made_from is not None else one
        key = {
            "segment": origin.sha256,
            "recording": recordings.get(origin.recording, origin.sha256),
            "speaker": origin.speaker or origin.sha256,
        }[options.by]
        groups[key].append(one)
    return groups
