"""Changes of a data set that make new sound: changed copies of segments, and recordings cropped by time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.datasets.options import AugmentOptions, CropOptions
from core.datasets.verdict import is_trained_on
from core.errors import Conflict, InvalidRequest
from core.records.dataset_rows import DatasetContents, RecordingRow, SegmentRow
from roles.datasets.audio_store import Sounds
from roles.datasets.import_files import MAX_SEGMENTS

Progress = Callable[[float, str], None]

SHORTEST_LEFT = 0.1
"""Seconds; a crop that leaves less of a segment leaves nothing."""


def augment_contents(
    contents: DatasetContents,
    report: dict[str, Any] | None,
    options: AugmentOptions,
    sounds: Sounds,
    progress: Progress,
) -> DatasetContents:
    """Changed copies of every segment that is trained on and no copy itself."""
    import numpy as np

    from GPT_SoVITS.dataset.augment import augment

    originals = [one for one in contents.segments if one.made_from is None and is_trained_on(one, report)]
    wanted = len(originals) * len(options.kinds) * options.copies
    if not originals:
        raise Conflict("There is no segment to make copies of.", hint="Take segments back that are left out.")
    if len(contents.segments) + wanted > MAX_SEGMENTS:
        raise InvalidRequest(
            f"That makes {wanted} copies; a data set holds {MAX_SEGMENTS} segments.", hint="Ask for fewer copies."
        )
    ranges = {
        name: getattr(options, name) for name in ("noise_snr_db", "pitch_semitones", "tempo_factor", "room_seconds")
    }
    made = list(contents.segments)
    number = max(one.number for one in made)
    for original in originals:
        samples, rate = sounds.read(original.storage_key, original.name)
        for kind in options.kinds:
            for copy in range(1, options.copies + 1):
                number += 1
                random = np.random.default_rng(_seed(options.seed, original.sha256, kind, copy))
                changed = augment(kind, samples, rate, ranges, random)
                made.append(
                    _copy(original, number, f"{kind} {copy}", changed.change, sounds.keep(changed.samples, rate))
                )
                progress(
                    (len(made) - len(contents.segments)) / wanted,
                    f"Made {len(made) - len(contents.segments)} of {wanted} copies.",
                )
    return replace(contents, segments=made)


def crop_contents(
    contents: DatasetContents, options: CropOptions, sounds: Sounds, progress: Progress
) -> DatasetContents:
    """Recordings from start to end; segments beyond are gone, one that was cut loses the transcript it had.

    Changed copies go with the segment that they were made from.
    """
    names = set(options.recordings)
    unknown = names - {one.name for one in contents.recordings}
    if unknown:
        raise InvalidRequest(
            f"The data set has no recording {sorted(unknown)[0]!r}.", hint="The names are those of the uploads."
        )
    cropped: dict[int, RecordingRow | None] = {}
    for done, recording in enumerate(contents.recordings, start=1):
        if not names or recording.name in names:
            cropped[recording.number] = _crop_recording(recording, options, sounds)
        progress(0.5 * done / len(contents.recordings), f"Cropped {done} of {len(contents.recordings)} recordings.")
    recordings = [cropped.get(one.number, one) for one in contents.recordings]
    segments: list[SegmentRow] = []
    changed: set[int] = set()
    for done, segment in enumerate(contents.segments, start=1):
        if segment.recording not in cropped:
            segments.append(segment)
        elif segment.made_from is None:
            left = _crop_segment(segment, cropped[segment.recording], options, sounds)
            if left is None or left.sha256 != segment.sha256:
                changed.add(segment.number)
            if left is not None:
                segments.append(left)
        elif segment.made_from not in changed:
            segments.append(replace(segment, start_seconds=max(0.0, segment.start_seconds - options.start_seconds)))
        progress(0.5 + 0.5 * done / len(contents.segments), f"Cropped {done} of {len(contents.segments)} segments.")
    if not segments:
        raise InvalidRequest("No segment lies in that time.", hint="Look at the recordings' durations.")
    return DatasetContents([one for one in recordings if one is not None], segments)


def _crop_recording(recording: RecordingRow, options: CropOptions, sounds: Sounds) -> RecordingRow | None:
    end = min(options.end_seconds or recording.seconds, recording.seconds)
    if options.start_seconds <= 0 and end >= recording.seconds:
        return recording
    if end - options.start_seconds < SHORTEST_LEFT:
        return None
    samples, rate = sounds.read(recording.storage_key, recording.name)
    kept = sounds.keep(samples[round(options.start_seconds * rate) : round(end * rate)], rate)
    return replace(recording, sha256=kept.sha256, seconds=kept.seconds, storage_key=kept.key)


def _crop_segment(
    segment: SegmentRow, recording: RecordingRow | None, options: CropOptions, sounds: Sounds
) -> SegmentRow | None:
    """What is left of it, at its new place; None for nothing."""
    if recording is None:
        return None
    begin, end = segment.start_seconds, segment.start_seconds + segment.seconds
    start = max(begin, options.start_seconds)
    stop = min(end, options.end_seconds) if options.end_seconds is not None else end
    place = start - options.start_seconds
    if start == begin and stop == end:
        return replace(segment, start_seconds=place)
    if stop - start < SHORTEST_LEFT:
        return None
    samples, rate = sounds.read(segment.storage_key, segment.name)
    kept = sounds.keep(samples[round((start - begin) * rate) : round((stop - begin) * rate)], rate)
    return replace(
        segment,
        start_seconds=place,
        seconds=kept.seconds,
        storage_key=kept.key,
        sha256=kept.sha256,
        transcript="",  # it says more than is heard now
        measures={},
    )


def _copy(original: SegmentRow, number: int, label: str, change: dict[str, Any], sound: Any) -> SegmentRow:
    return replace(
        original,
        number=number,
        name=f"{original.name} ({label})",
        seconds=sound.seconds,
        storage_key=sound.key,
        sha256=sound.sha256,
        made_from=original.number,
        change=change,
        measures={},
    )


def _seed(seed: int, sha256: str, kind: str, copy: int) -> int:
    """The copy depends on nothing but the sound and what was asked: not on the order, not on what else is there."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{sha256}:{kind}:{copy}".encode()).digest()[:8], "big")
