"""Augmentation of a data set: changed copies of its segments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from core.datasets.flags import is_trained_on
from core.datasets.options import AugmentOptions
from core.errors import Conflict, InvalidRequest
from core.records import DatasetContents, DatasetReport
from roles.datasets.audio_store import AudioStore
from roles.datasets.import_files import MAX_SEGMENTS


def augment_contents(
    contents: DatasetContents,
    report: DatasetReport | None,
    options: AugmentOptions,
    store: AudioStore,
    progress: Callable[[float, str], None],
) -> DatasetContents:
    """Add changed copies of every segment that is trained on and is not a copy itself.

    Raises Conflict when there is none, InvalidRequest when that makes too many segments.
    """
    import numpy as np

    from GPT_SoVITS.dataset.augment import augment

    originals = [
        segment for segment in contents.segments if segment.made_from is None and is_trained_on(segment, report)
    ]
    total = len(originals) * len(options.kinds) * options.copies
    if not originals:
        raise Conflict("There is no segment to make copies of.", hint="Take segments back that are left out.")
    if len(contents.segments) + total > MAX_SEGMENTS:
        raise InvalidRequest(
            f"That makes {total} copies; a data set holds {MAX_SEGMENTS} segments.", hint="Ask for fewer copies."
        )
    ranges = {
        name: getattr(options, name)
        for name in ("noise_snr_db", "pitch_semitones", "tempo_factor", "room_seconds", "loudness_ratio", "treble_db")
    }
    segments = list(contents.segments)
    number = max(segment.number for segment in segments)
    for original in originals:
        samples, rate = store.read(original.storage_key, original.name)
        for kind in options.kinds:
            for copy in range(1, options.copies + 1):
                number += 1
                # The copy depends on nothing but the audio and the options: not on the order or other segments.
                identity = f"{options.seed}:{original.sha256}:{kind}:{copy}"
                seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
                changed = augment(kind, samples, rate, ranges, np.random.default_rng(seed))
                audio = store.add(changed.samples, rate)
                segments.append(
                    replace(
                        original,
                        number=number,
                        name=f"{original.name} ({kind} {copy})",
                        seconds=audio.seconds,
                        storage_key=audio.key,
                        sha256=audio.sha256,
                        made_from=original.number,
                        change=changed.change,
                        measures={},
                    )
                )
                done = len(segments) - len(contents.segments)
                progress(done / total, f"Made {done} of {total} copies.")
    return replace(contents, segments=segments)
