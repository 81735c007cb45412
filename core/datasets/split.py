"""Split the segments of a data set into train, val and test: random, but the same for the same seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace

from core.datasets.options import SplitOptions
from core.records import DatasetContents, SegmentRecord


def split_contents(contents: DatasetContents, options: SplitOptions) -> DatasetContents:
    """Return the contents with every segment in one subset; equal audio and augmented copies stay together.

    A subset with a share above 0 gets at least one group while train keeps one.
    """
    groups = _group_segments(contents, options)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{options.seed}:{key}".encode()).digest())
    total = len(contents.segments)
    subset_of_group: dict[str, str] = {}
    for subset, share in (("val", options.val), ("test", options.test)):
        count = 0
        while order and share > 0 and len(order) > 1 and count < max(1, round(share * total)):
            key = order.pop()
            subset_of_group[key] = subset
            count += len(groups[key])
    subsets = {segment.number: subset_of_group.get(key, "train") for key, group in groups.items() for segment in group}
    segments = [replace(segment, subset=subsets[segment.number]) for segment in contents.segments]
    return replace(contents, segments=segments)


def _group_segments(contents: DatasetContents, options: SplitOptions) -> dict[str, list[SegmentRecord]]:
    by_number = {segment.number: segment for segment in contents.segments}
    recordings = {recording.number: recording.sha256 for recording in contents.recordings}
    groups: dict[str, list[SegmentRecord]] = defaultdict(list)
    for segment in contents.segments:
        origin = by_number.get(segment.made_from, segment) if segment.made_from is not None else segment
        key = {
            "segment": origin.sha256,
            "recording": recordings.get(origin.recording, origin.sha256),
            "speaker": origin.speaker or origin.sha256,
        }[options.by]
        groups[key].append(segment)
    return groups
