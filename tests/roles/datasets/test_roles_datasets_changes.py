"""Mending, splitting, augmenting and cropping: each makes a version, and the same one for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soundfile
from bundled_speech import PIECES, RATE, piece, speech
from dataset_bench import Bench, wav

from core.datasets.options import (
    AugmentOptions,
    CropOptions,
    DatasetSource,
    ReportOptions,
    SegmentChange,
    SplitOptions,
)
from core.datasets.split import split_contents
from core.datasets.training_selection import select_training_segments
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import DatasetContents, DatasetStatus, RecordingRecord, SegmentRecord
from GPT_SoVITS.dataset.augment import augment

RANGES: dict[str, Any] = AugmentOptions().model_dump(exclude={"kinds", "copies", "seed"})


@pytest.fixture
def dataset(bench: Bench) -> str:
    """Two short recordings with transcripts."""
    return bench.quick("busy.wav", "nogo.wav")


def segments(count: int, **values: Any) -> list[SegmentRecord]:
    result = []
    for n in range(1, count + 1):
        fields = {"recording": 1, "name": f"{n}.wav", "sha256": f"sha{n}", **values}
        result.append(SegmentRecord(number=n, start_seconds=n, seconds=1.0, storage_key="x/y", **fields))
    return result


def subsets(contents: DatasetContents) -> dict[int, str]:
    return {segment.number: segment.subset for segment in contents.segments}


# Mending


def test_mending_makes_a_version_and_the_old_one_stays(bench: Bench, dataset: str) -> None:
    version = bench.call(
        bench.datasets.edit_segments, dataset, [SegmentChange(number=1, transcript="  Other\nwords. ")]
    )

    assert (version.version, version.made_by, version.parent) == (2, "edit", 1)
    assert bench.contents(dataset, 1).segments[0].transcript == PIECES["busy.wav"][2]
    assert bench.contents(dataset, 2).segments[0].transcript == "Other words."
    assert bench.contents(dataset, 2).segments[1] == bench.contents(dataset, 1).segments[1]


def test_a_change_that_changes_nothing_makes_no_version(bench: Bench, dataset: str) -> None:
    version = bench.call(
        bench.datasets.edit_segments, dataset, [SegmentChange(number=1, transcript=PIECES["busy.wav"][2])]
    )

    assert version.version == 1


def test_a_change_of_an_older_version_is_refused(bench: Bench, dataset: str) -> None:
    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=1, left_out=True)], base=1)

    with pytest.raises(Conflict, match="Version 1 is not the newest one, 2 is"):
        bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=2, left_out=True)], base=1)


def test_an_unknown_segment_and_one_named_twice_are_refused_and_change_nothing(bench: Bench, dataset: str) -> None:
    good = SegmentChange(number=1, left_out=True)

    with pytest.raises(NotFound, match="no segment 9"):
        bench.call(bench.datasets.edit_segments, dataset, [good, SegmentChange(number=9)])
    with pytest.raises(InvalidRequest, match="Segment 1 is changed twice"):
        bench.call(bench.datasets.edit_segments, dataset, [good, good])

    assert bench.version(dataset).version == 1


def test_a_segment_comes_back_after_it_was_left_out(bench: Bench, dataset: str) -> None:
    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=1, left_out=True)])
    left = bench.call(select_training_segments, bench.services.records, dataset, None)

    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=1, decide_by_report=True)])

    back = bench.call(select_training_segments, bench.services.records, dataset, None)
    assert [segment.number for segment in left.segments] == [2]
    assert [segment.number for segment in back.segments] == [1, 2]
    assert back.fingerprint == bench.call(select_training_segments, bench.services.records, dataset, 1).fingerprint


# Splitting


def test_a_split_deals_the_same_way_for_the_same_seed() -> None:
    contents = DatasetContents([], segments(100))

    first = split_contents(contents, SplitOptions(val=0.2, test=0.1, seed=7))
    again = split_contents(contents, SplitOptions(val=0.2, test=0.1, seed=7))
    other = split_contents(contents, SplitOptions(val=0.2, test=0.1, seed=8))

    assert first == again
    assert subsets(first) != subsets(other)
    dealt = list(subsets(first).values())
    assert [dealt.count(part) for part in ("train", "val", "test")] == [70, 20, 10]


def test_what_sounds_the_same_and_copies_stay_in_one_part() -> None:
    alike = segments(6, sha256="same")
    others = [
        SegmentRecord(n, 1, "b", 0.0, 1.0, "x/y", f"sha{n}", made_from=n - 1 if n % 2 else None) for n in (8, 9, 10, 11)
    ]

    for seed in range(10):
        dealt = subsets(split_contents(DatasetContents([], alike + others), SplitOptions(val=0.3, seed=seed)))
        assert len({dealt[item.number] for item in alike}) == 1
        assert dealt[8] == dealt[9]
        assert dealt[10] == dealt[11]


def test_a_recording_is_not_divided_when_asked_so() -> None:
    recordings = [RecordingRecord(n, f"{n}.wav", None, f"rec{n}", 9.0, RATE, "x/y") for n in range(1, 6)]
    parts = [
        SegmentRecord(10 * item.number + n, item.number, "s", n, 1.0, "x/y", f"sha{item.number}{n}")
        for item in recordings
        for n in range(4)
    ]

    dealt = split_contents(DatasetContents(recordings, parts), SplitOptions(val=0.2, by="recording")).segments

    for recording in recordings:
        assert len({item.subset for item in dealt if item.recording == recording.number}) == 1
    assert [item.subset for item in dealt].count("val") == 4


def test_a_small_set_keeps_something_to_train_on() -> None:
    assert list(subsets(split_contents(DatasetContents([], segments(1)), SplitOptions(val=0.9))).values()) == ["train"]
    assert sorted(subsets(split_contents(DatasetContents([], segments(2)), SplitOptions(val=0.01))).values()) == [
        "train",
        "val",
    ]


def test_only_the_training_part_is_trained_on(bench: Bench, dataset: str) -> None:
    work = bench.call(bench.datasets.split, DatasetSource(dataset_id=dataset), SplitOptions(val=0.5))
    result = bench.work()

    chosen = bench.call(select_training_segments, bench.services.records, dataset, None)
    assert result is not None
    assert (work.kind, work.version, result["version"]) == ("split", 2, 2)
    assert [segment.subset for segment in chosen.segments] == ["train"]


# Augmenting


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("noise", "noise_snr_db"),
        ("room", "room_seconds"),
        pytest.param("tempo", "tempo_factor", marks=pytest.mark.slow),
        pytest.param("pitch", "pitch_semitones", marks=pytest.mark.slow),
    ],
)
def test_a_copy_is_another_and_the_same_for_the_same_seed(kind: str, key: str) -> None:
    samples = piece(61.9, 2.0)

    first = augment(kind, samples, RATE, RANGES, np.random.default_rng(3))
    again = augment(kind, samples, RATE, RANGES, np.random.default_rng(3))
    other = augment(kind, samples, RATE, RANGES, np.random.default_rng(4))

    assert np.array_equal(first.samples, again.samples)
    assert first.change == again.change != other.change
    assert RANGES[key][0] <= first.change[key] <= RANGES[key][1]
    assert np.abs(first.samples).max() <= 1.0
    assert not np.array_equal(first.samples[: len(samples)], samples)


def test_the_noise_is_as_loud_as_asked() -> None:
    samples = piece(61.9, 4.0)

    noisy = augment("noise", samples, RATE, {**RANGES, "noise_snr_db": (15.0, 15.0)}, np.random.default_rng(0)).samples

    noise = noisy - samples
    assert 10 * np.log10(np.square(samples).mean() / np.square(noise).mean()) == pytest.approx(15.0, abs=0.2)


def test_copies_follow_their_segment(bench: Bench, dataset: str) -> None:
    options = AugmentOptions(kinds=["noise", "room"], seed=5)
    bench.call(bench.datasets.augment, DatasetSource(dataset_id=dataset), options)
    bench.work()

    result = bench.contents(dataset).segments
    copies = [item for item in result if item.made_from is not None]
    assert (len(result), len(copies)) == (6, 4)
    assert [copy.name for copy in copies][:2] == ["busy.wav (noise 1)", "busy.wav (room 1)"]
    assert copies[0].transcript == PIECES["busy.wav"][2]
    assert copies[0].change["kind"] == "noise"
    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=1, left_out=True, transcript="Busy.")])
    copies = [segment for segment in bench.contents(dataset).segments if segment.made_from == 1]
    assert {(item.left_out, item.transcript) for item in copies} == {(True, "Busy.")}


def test_copies_of_copies_are_not_made_and_duplicates_of_originals_are_not_flagged(bench: Bench, dataset: str) -> None:
    for _ in range(2):
        bench.call(bench.datasets.augment, DatasetSource(dataset_id=dataset), AugmentOptions(kinds=["noise"]))
        bench.work()
    bench.call(bench.datasets.report, dataset, None, ReportOptions(listen=False))
    bench.work()

    result = bench.contents(dataset).segments
    assert [item.made_from for item in result] == [None, None, 1, 2, 1, 2]
    assert result[2].sha256 == result[4].sha256, "the same seed makes the same copy"
    report = bench.version(dataset).report
    assert report is not None
    assert report["flags"] == {}


def test_loudness_is_evened_out_without_lifting_the_pauses() -> None:
    quiet_then_loud = np.concatenate([0.05 * tone(1.0), 0.5 * tone(1.0), np.zeros(RATE)]).astype(np.float32)
    ranges = {**RANGES, "loudness_ratio": (4.0, 4.0)}

    evened = augment("loudness", quiet_then_loud, RATE, ranges, np.random.default_rng(0)).samples

    quiet, loud, pause = (rms(evened[first * RATE :][RATE // 4 : RATE * 3 // 4]) for first in range(3))
    assert 20 * np.log10(loud / quiet) == pytest.approx(5.0, abs=0.5), "20 dB at 4 to 1"
    assert pause == 0.0


def test_treble_is_lifted_and_the_rest_stays() -> None:
    low, high = tone(1.0, 500.0), tone(1.0, 6000.0)
    ranges = {**RANGES, "treble_db": (6.0, 6.0)}

    lifted = [augment("treble", 0.2 * sound, RATE, ranges, np.random.default_rng(0)).samples for sound in (low, high)]

    gains = [20 * np.log10(rms(sound) / rms(0.2 * tone(1.0, 500.0))) for sound in lifted]
    assert gains == [pytest.approx(0.0, abs=0.1), pytest.approx(6.0, abs=0.1)]


def tone(seconds: float, frequency: float = 220.0) -> np.ndarray:
    samples: np.ndarray = np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return samples


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))


def test_uploads_are_augmented_into_a_data_set_of_their_own(bench: Bench) -> None:
    source = DatasetSource(file_ids=[bench.upload(wav(speech("busy.wav")), "busy.wav")], name="noisy", language="en")

    work = bench.call(bench.datasets.augment, source, AugmentOptions(kinds=["noise"]))
    bench.work()

    record = bench.call(bench.services.records.datasets.get, work.dataset_id)
    assert (record.name, record.language, record.version) == ("noisy", "en", 1)
    assert [segment.made_from for segment in bench.contents(record.id).segments] == [None, 1]
    assert bench.call(bench.datasets.get_job, work.job_id).status is DatasetStatus.READY


# Cropping


def test_a_crop_keeps_that_time_of_every_recording(bench: Bench, dataset: str) -> None:
    bench.call(bench.datasets.crop, DatasetSource(dataset_id=dataset), CropOptions(start_seconds=1, end_seconds=9))
    bench.work()

    after = bench.contents(dataset)
    assert [round(recording.seconds, 2) for recording in after.recordings] == [7.97, 8.0]
    assert [segment.transcript for segment in after.segments] == ["", ""], "a transcript says more than is left"
    samples, rate = soundfile.read(str(bench.services.storage.path(after.segments[1].storage_key)), dtype="float32")
    assert np.abs(samples - speech("nogo.wav")[rate : 9 * rate]).max() < 1e-4
    assert bench.contents(dataset, 1).segments[0].transcript


def test_a_crop_of_a_long_recording_leaves_whole_segments_as_they_are(bench: Bench) -> None:
    dataset = bench.make({"talk.wav": wav(piece(53.46, 36.0))})
    before = {segment.sha256: segment for segment in bench.contents(dataset.id).segments}

    bench.call(bench.datasets.crop, DatasetSource(dataset_id=dataset.id), CropOptions(start_seconds=5, end_seconds=30))
    bench.work()

    after = bench.contents(dataset.id)
    same = [segment for segment in after.segments if segment.sha256 in before]
    assert after.recordings[0].seconds == pytest.approx(25.0, abs=0.01)
    assert same
    assert all(item.start_seconds == pytest.approx(before[item.sha256].start_seconds - 5) for item in same)
    assert all(
        segment.start_seconds >= 0 and segment.start_seconds + segment.seconds <= 25.01 for segment in after.segments
    )


def test_a_crop_of_named_recordings_leaves_the_others(bench: Bench, dataset: str) -> None:
    options = CropOptions(start_seconds=2, recordings=["nogo.wav"])
    bench.call(bench.datasets.crop, DatasetSource(dataset_id=dataset), options)
    bench.work()

    busy, nogo = bench.contents(dataset).segments
    assert busy == bench.contents(dataset, 1).segments[0]
    assert nogo.seconds == pytest.approx(8.51, abs=0.01)


def test_a_segment_is_cut_and_its_recording_and_the_others_stay(bench: Bench) -> None:
    dataset = bench.make({"talk.wav": wav(piece(53.46, 36.0))}).id
    before = bench.contents(dataset)
    assert len(before.segments) > 1
    cut = before.segments[1]
    options = CropOptions(start_seconds=0.5, end_seconds=1.5, segments=[cut.number])
    bench.call(bench.datasets.crop, DatasetSource(dataset_id=dataset), options)
    bench.work()

    after = bench.contents(dataset)
    remaining = after.segments[1]
    storage = bench.services.storage
    old, rate = soundfile.read(str(storage.path(cut.storage_key)), dtype="float32")
    new, _ = soundfile.read(str(storage.path(remaining.storage_key)), dtype="float32")
    assert after.recordings == before.recordings
    assert after.segments[:1] + after.segments[2:] == before.segments[:1] + before.segments[2:]
    assert remaining.start_seconds == pytest.approx(cut.start_seconds + 0.5)
    assert (remaining.seconds, remaining.transcript) == (pytest.approx(1.0, abs=0.01), "")
    assert np.abs(new - old[rate // 2 : rate // 2 + len(new)]).max() < 1e-4


def test_a_crop_names_recordings_or_segments() -> None:
    with pytest.raises(ValueError, match="recordings or segments"):
        CropOptions(start_seconds=1, recordings=["nogo.wav"], segments=[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CropOptions(start_seconds=1, segments=[999]), "no segment 999"),
        (CropOptions(start_seconds=100, segments=[1, 2]), "No segment lies in that time"),
        (CropOptions(start_seconds=100), "No segment lies in that time"),
        (CropOptions(start_seconds=1, recordings=["other.wav"]), "no recording 'other.wav'"),
    ],
)
def test_a_crop_that_leaves_nothing_fails_with_a_sentence(
    bench: Bench, dataset: str, options: CropOptions, message: str
) -> None:
    work = bench.call(bench.datasets.crop, DatasetSource(dataset_id=dataset), options)
    bench.work()

    failed = bench.call(bench.datasets.get_job, work.job_id)
    assert failed.status is DatasetStatus.FAILED
    assert message in failed.message
    assert bench.version(dataset).version == 1
