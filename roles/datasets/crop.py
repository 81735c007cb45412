"""Crop of a data set: recordings with the segments in them, or single segments, cut to a span of time."""

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

    Changed copies of a segment that was cut are removed with it. Raises InvalidRequest for an unknown recording or
    segment and when no segment is left.
    """
    if options.segments:
        return _crop_segments(contents, options, store, progress)
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
            span = (options.start_seconds, options.end_seconds)
            remaining = None if cropped[segment.recording] is None else _crop_segment(segment, *span, store)
            if remaining is not None:
                remaining = replace(remaining, start_seconds=remaining.start_seconds - options.start_seconds)
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


def _crop_segments(
    contents: DatasetContents, options: CropOptions, store: AudioStore, progress: Callable[[float, str], None]
) -> DatasetContents:
    """Cut the named segments to the span, counted from the start of each; recordings stay as they are."""
    unknown = set(options.segments) - {segment.number for segment in contents.segments}
    if unknown:
        raise InvalidRequest(
            f"The data set has no segment {min(unknown)}.",
            hint="GET /api/v1/datasets/{dataset_id}/segments lists them.",
        )
    segments: list[SegmentRecord] = []
    changed: set[int] = set()
    for done, segment in enumerate(contents.segments, start=1):
        remaining: SegmentRecord | None = segment
        if segment.number in options.segments:
            end = None if options.end_seconds is None else segment.start_seconds + options.end_seconds
            remaining = _crop_segment(segment, segment.start_seconds + options.start_seconds, end, store)
            if remaining is None or remaining.sha256 != segment.sha256:
                changed.add(segment.number)
        elif segment.made_from in changed:
            remaining = None
        if remaining is not None:
            segments.append(remaining)
        progress(done / len(contents.segments), f"Cropped {done} of {len(contents.segments)} segments.")
    if not segments:
        raise InvalidRequest("No segment lies in that time.", hint="Look at the segments' durations.")
    return DatasetContents(contents.recordings, segments)


def _crop_recording(recording: RecordingRecord, options: CropOptions, store: AudioStore) -> RecordingRecord | None:
    end = min(options.end_seconds or recording.seconds, recording.seconds)
    if options.start_seconds <= 0 and end >= recording.seconds:
        return recording
    if end - options.start_seconds < MIN_SECONDS:
        return None
    samples, rate = store.read(recording.storage_key, recording.name)
    audio = store.add(samples[round(options.start_seconds * rate) : round(end * rate)], rate)
    return replace(recording, sha256=audio.sha256, seconds=audio.seconds, storage_key=audio.key)


def _crop_segment(
    segment: SegmentRecord, span_start: float, span_end: float | None, store: AudioStore
) -> SegmentRecord | None:
    """Return what lies in a span of the recording of a segment; None when nothing does."""
    begin, end = segment.start_seconds, segment.start_seconds + segment.seconds
    start = max(begin, span_start)
    stop = min(end, span_end) if span_end is not None else end
    if start == begin and stop == end:
        return segment
    if stop - start < MIN_SECONDS:
        return None
    samples, rate = store.read(segment.storage_key, segment.name)
    audio = store.add(samples[round((start - begin) * rate) : round((stop - begin) * rate)], rate)
    return replace(
        segment,
        start_seconds=start,
        seconds=audio.seconds,
        storage_key=audio.key,
        sha256=audio.sha256,
        transcript="",  # it says more than is heard now
        measures={},
    )
