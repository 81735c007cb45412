"""Crop of a data set: recordings, and the segments in them, cut to a span of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from core.datasets.options import CropOptions
from core.errors import InvalidRequest
from core.records import DatasetContents, RecordingRecord, SegmentRecord
from roles.datasets.audio_store import AudioStore

MIN_SECONDS: Final = 0.1
"""A crop that leaves less of a recording or segment removes it."""


def crop_contents(
    contents: DatasetContents, options: CropOptions, store: AudioStore, progress: Callable[[float, str], None]
) -> DatasetContents:
    """Cut recordings to the span; segments outside are removed, one that was cut loses its transcript.

    Changed copies of a segment that was cut are removed with it. Raises InvalidRequest for an unknown recording and
    when no segment is left.
    """
    names = set(options.recordings)
    unknown = names - {recording.name for recording in contents.recordings}
    if unknown:
        raise InvalidRequest(
            f"The data set has no recording {sorted(unknown)[0]!r}.", hint="The names are those of the uploads."
        )
    cropped: dict[int, RecordingRecord | None] = {}
    for done, recording in enumerate(contents.recordings, start=1):
        if not names or recording.name in names:
            cropped[recording.number] = _crop_recording(recording, options, store)
        progress(0.5 * done / len(contents.recordings), f"Cropped {done} of {len(contents.recordings)} recordings.")
    recordings = [cropped.get(recording.number, recording) for recording in contents.recordings]
    segments: list[SegmentRecord] = []
    changed: set[int] = set()
    for done, segment in enumerate(contents.segments, start=1):
        if segment.recording not in cropped:
            segments.append(segment)
        elif segment.made_from is None:
            remaining = None if cropped[segment.recording] is None else _crop_segment(segment, options, store)
            if remaining is None or remaining.sha256 != segment.sha256:
                changed.add(segment.number)
            if remaining is not None:
                segments.append(remaining)
        elif segment.made_from not in changed:
            segments.append(replace(segment, start_seconds=max(0.0, segment.start_seconds - options.start_seconds)))
        progress(0.5 + 0.5 * done / len(contents.segments), f"Cropped {done} of {len(contents.segments)} segments.")
    if not segments:
        raise InvalidRequest("No segment lies in that time.", hint="Look at the recordings' durations.")
    return DatasetContents([recording for recording in recordings if recording is not None], segments)


def _crop_recording(recording: RecordingRecord, options: CropOptions, store: AudioStore) -> RecordingRecord | None:
    end = min(options.end_seconds or recording.seconds, recording.seconds)
    if options.start_seconds <= 0 and end >= recording.seconds:
        return recording
    if end - options.start_seconds < MIN_SECONDS:
        return None
    samples, rate = store.read(recording.storage_key, recording.name)
    audio = store.add(samples[round(options.start_seconds * rate) : round(end * rate)], rate)
    return replace(recording, sha256=audio.sha256, seconds=audio.seconds, storage_key=audio.key)


def _crop_segment(segment: SegmentRecord, options: CropOptions, store: AudioStore) -> SegmentRecord | None:
    """Return what is left of a segment, at its place in the cropped recording; None when nothing is."""
    begin, end = segment.start_seconds, segment.start_seconds + segment.seconds
    start = max(begin, options.start_seconds)
    stop = min(end, options.end_seconds) if options.end_seconds is not None else end
    new_start = start - options.start_seconds
    if start == begin and stop == end:
        return replace(segment, start_seconds=new_start)
    if stop - start < MIN_SECONDS:
        return None
    samples, rate = store.read(segment.storage_key, segment.name)
    audio = store.add(samples[round((start - begin) * rate) : round((stop - begin) * rate)], rate)
    return replace(
        segment,
        start_seconds=new_start,
        seconds=audio.seconds,
        storage_key=audio.key,
        sha256=audio.sha256,
        transcript="",  # it says more than is heard now
        measures={},
    )
