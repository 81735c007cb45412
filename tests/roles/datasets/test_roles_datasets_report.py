"""A report before any training: each bad file, why, and what will be left out."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from bundled_speech import PIECES, RATE, piece, speech
from dataset_bench import Bench, transcripts, wav, zipped

from core.datasets.options import ReportOptions, SegmentChange
from core.datasets.report import ReportSummary, summarize_report
from core.datasets.training_selection import select_training_segments
from core.errors import Conflict, MissingPart
from core.records import DatasetStatus
from GPT_SoVITS.audio import resample

DEAF = ReportOptions(listen=False)
"""Without speech recognition, which takes most of the time."""


def bad_set() -> dict[str, bytes]:
    """Good speech, and one of each kind of bad file that can be told without listening to words."""
    busy = speech("busy.wav")
    return {
        **{name: wav(speech(name)) for name in PIECES},
        "silent.wav": wav(np.zeros(2 * RATE)),
        "clipped.wav": wav(np.clip(piece(0.0, 7.0) * 4, -1, 1)),
        "short.wav": wav(piece(54.0, 0.4)),
        "noise.wav": wav(0.1 * np.random.default_rng(0).standard_normal(3 * RATE)),
        "copy.wav": wav(busy),
        "quiet copy.wav": wav(busy[2000:] * 0.4),
        "child.wav": wav(resample(piece(7.2, 6.0), round(RATE * 1.4), RATE)),
    }


EXPECTED = {
    "silent.wav": ["silent"],
    "clipped.wav": ["clipped"],
    "short.wav": ["too_short"],
    "noise.wav": ["music"],
    "copy.wav": ["duplicate"],
    "quiet copy.wav": ["near_duplicate"],
    "child.wav": ["other_speaker"],
}


def report(bench: Bench, dataset_id: str, options: ReportOptions = DEAF) -> ReportSummary:
    bench.call(bench.datasets.report, dataset_id, None, options)
    bench.work()
    version = bench.version(dataset_id)
    assert version.report_status is DatasetStatus.READY, version.report_error
    return summarize_report(version, bench.contents(dataset_id))


@pytest.fixture
def reported(bench: Bench) -> tuple[str, ReportSummary]:
    dataset = bench.make({"set.zip": zipped(bad_set())})
    return dataset.id, report(bench, dataset.id)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_bad_file_is_named_and_good_ones_are_not(reported: tuple[str, dict[str, Any]], bench: Bench) -> None:
    dataset_id, shown = reported

    assert {file["name"]: [flag["code"] for flag in file["problems"]] for file in shown["files"]} == EXPECTED
    assert sorted(shown["left_out"]) == sorted(EXPECTED)
    assert (shown["segments"], shown["kept_segments"]) == (11, 4)
    assert shown["message"].startswith("7 of 11 segments will be left out. Found: ")
    assert all(file["why"].endswith(".") for file in shown["files"])
    chosen = bench.call(select_training_segments, bench.services.records, dataset_id, None)
    assert [segment.name for segment in chosen.segments] == list(PIECES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_someone_decides_counts_more_than_the_report(reported: tuple[str, dict[str, Any]], bench: Bench) -> None:
    dataset_id, _ = reported
    numbers = {segment.name: segment.number for segment in bench.contents(dataset_id).segments}

    bench.call(
        bench.datasets.edit_segments,
        dataset_id,
        [
            SegmentChange(number=numbers["clipped.wav"], left_out=False),
            SegmentChange(number=numbers["busy.wav"], left_out=True),
        ],
    )

    shown = summarize_report(bench.version(dataset_id), bench.contents(dataset_id))
    decided = {file["name"]: (file["left_out"], file["decided_by"]) for file in shown["files"]}
    assert decided["clipped.wav"] == (False, "you")
    assert decided["busy.wav"] == (True, "you")
    assert decided["silent.wav"] == (True, "report")
    assert (shown["version"], shown["made_for"]) == (2, 1)
    chosen = bench.call(select_training_segments, bench.services.records, dataset_id, None)
    assert sorted(segment.name for segment in chosen.segments) == [
        "announce.wav",
        "clipped.wav",
        "nogo.wav",
        "prepend.wav",
    ]
    before = bench.call(select_training_segments, bench.services.records, dataset_id, 1)
    assert [segment.name for segment in before.segments] == list(PIECES), "the old version is as it was"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_words_and_language_are_listened_to(bench: Bench) -> None:
    names = ["announce.wav", "busy.wav", "nogo.wav"]
    wrong = f"wavs/nogo.wav|allison|EN|{PIECES['prepend.wav'][2]}\nwavs/prepend.wav|allison|ZH|你好，世界。\n"
    lines = transcripts(names[:2]) + wrong.encode()
    archive = zipped({**{f"wavs/{name}": wav(speech(name)) for name in PIECES}, "set.list": lines})
    dataset = bench.make({"set.zip": archive}, language="en")

    shown = report(bench, dataset.id, ReportOptions())

    problems = {file["name"]: [flag["code"] for flag in file["problems"]] for file in shown["files"]}
    assert problems == {"wavs/nogo.wav": ["wrong_transcript"], "wavs/prepend.wav": ["wrong_language"]}
    values = {segment.name: segment.measures for segment in bench.contents(dataset.id).segments}
    assert "representatives are currently busy" in str(values["wavs/announce.wav"]["heard"]).lower()
    assert cast(float, values["wavs/announce.wav"]["word_errors"]) < 0.2
    assert cast(float, values["wavs/busy.wav"]["speaker_similarity"]) > 0.9
    mend = SegmentChange(number=3, transcript=PIECES["nogo.wav"][2])
    bench.call(bench.datasets.edit_segments, dataset.id, [mend])
    again = summarize_report(bench.version(dataset.id), bench.contents(dataset.id))
    assert again["left_out"] == ["wavs/prepend.wav"], "what was said of the old transcript is forgotten"


def test_a_sound_that_is_gone_is_a_problem_of_its_segment(bench: Bench) -> None:
    dataset = bench.quick("busy.wav", "nogo.wav")
    [gone] = [segment for segment in bench.contents(dataset).segments if segment.name == "nogo.wav"]
    bench.services.storage.delete(gone.storage_key)

    shown = report(bench, dataset)

    assert [(file["name"], file["problems"][0]["code"]) for file in shown["files"]] == [("nogo.wav", "unreadable")]


def test_a_report_needs_a_version_that_is_ready(bench: Bench) -> None:
    dataset = bench.make({"a.wav": b"no sound"})

    with pytest.raises(Conflict, match="is failed"):
        bench.call(bench.datasets.report, dataset.id)


def test_a_second_request_meets_the_report_under_way(bench: Bench) -> None:
    dataset = bench.quick("busy.wav")

    first = bench.call(bench.datasets.report, dataset, None, DEAF)
    second = bench.call(bench.datasets.report, dataset, None, DEAF)
    bench.work()

    assert first.report_job_id == second.report_job_id == f"{dataset}.1.report.1"
    assert bench.call(bench.datasets.get_job, first.report_job_id).status is DatasetStatus.READY


def test_a_report_whose_job_is_cancelled_can_be_asked_for_again(bench: Bench) -> None:
    dataset = bench.quick("busy.wav")
    begun = bench.call(bench.datasets.report, dataset, None, DEAF)

    bench.services.queue.cancel(begun.report_job_id)
    looked = bench.call(bench.datasets.get_version, dataset)
    again = bench.call(bench.datasets.report, dataset, None, DEAF)

    assert looked.report_status is DatasetStatus.FAILED
    assert again.report_job_id.endswith(".report.2")


def test_a_replayed_dead_letter_makes_the_report_after_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = bench.quick("busy.wav")
    begun = bench.call(bench.datasets.report, dataset, None, DEAF)
    with monkeypatch.context() as missing:
        missing.setattr("roles.datasets.report._load_checker", _no_weights)
        bench.work()
    error = bench.version(dataset).report_error
    assert error is not None
    assert error["code"] == "missing_part"

    assert bench.services.queue.replay(begun.report_job_id)
    bench.work()

    assert bench.version(dataset).report_status is DatasetStatus.READY


def _no_weights(*_: Any) -> None:
    raise MissingPart("The weights that tell speakers apart are not installed.")


def test_nothing_left_to_train_on_is_a_sentence(bench: Bench) -> None:
    dataset = bench.quick("busy.wav")
    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=1, left_out=True)])

    with pytest.raises(Conflict, match="Nothing of version 2"):
        bench.call(select_training_segments, bench.services.records, dataset, None)
