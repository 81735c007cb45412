"""The job that examines a version of a data set before a training: it names each bad segment and the reason."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from core.datasets.jobs import DatasetReportPayload, DatasetReportResult
from core.datasets.options import ReportOptions
from core.datasets.report import summarize_report
from core.errors import InputGone, JobCancelled, NotFound, PermanentError
from core.records import DatasetContents, DatasetReport, DatasetStatus, DatasetVersionRecord, SegmentFlag, SegmentRecord
from GPT_SoVITS.errors import ModelError
from roles.datasets.audio_store import AudioStore
from roles.preprocessing.model_files import bundled_recognizer, speaker_encoder
from roles.runtime.errors import error_document
from roles.runtime.file_job import FileJobRun

if TYPE_CHECKING:
    from GPT_SoVITS.dataset.checks import QualityFlag, RecordingCheck, RecordingChecker

logger = logging.getLogger(__name__)

MAIN_LANGUAGE_SHARE: Final = 0.6
"""Share of the segments in one language from which on it counts as the language of the data set."""
SURE_LANGUAGE_PROBABILITY: Final = 0.8
"""From which on a segment in another language is flagged."""
NOT_COMPARED: Final = ("silent", "unreadable", "music")
"""Checks after which a segment is not compared with others."""


@dataclass(frozen=True, slots=True)
class Examination:
    """A report as it is kept with the version, and the measurements of each segment by number."""

    report: DatasetReport
    measures: dict[int, dict[str, Any]]


def make_report(request: DatasetReportPayload, run: FileJobRun) -> DatasetReportResult:
    """Examine a version and keep the report with it; one that is ready already is left as it is.

    Raises JobCancelled when the data set is gone or a newer report was requested.
    """
    dataset_id, number, report_run = request.dataset_id, request.version, request.run
    records, call = run.services.records, run.services.call
    try:
        version = call(records.dataset_versions.get, dataset_id, number)
    except NotFound:
        raise JobCancelled(f"The data set {dataset_id} is deleted.") from None
    if version.report_run != report_run:
        raise JobCancelled(f"Another report on version {number} of {dataset_id} was asked for since.")
    if version.report_status is DatasetStatus.READY:
        return _result(version, call(records.dataset_versions.contents, dataset_id, number))
    if version.report_status is DatasetStatus.FAILED:
        call(records.dataset_reports.restart, dataset_id, number, report_run)  # a dead letter was replayed
    try:
        contents = call(records.dataset_versions.contents, dataset_id, number)
        examination = _examine(run, version, contents)
        run.context.check()
        call(
            records.dataset_reports.end,
            dataset_id,
            number,
            report_run,
            examination.report,
            None,
            examination.measures,
        )
    except (PermanentError, JobCancelled, ModelError) as error:
        call(records.dataset_reports.end, dataset_id, number, report_run, None, error_document(error))
        raise
    result = _result(call(records.dataset_versions.get, dataset_id, number), contents)
    logger.info("Looked at version %d of %s: %s", number, dataset_id, result["message"])
    return result


def _examine(run: FileJobRun, version: DatasetVersionRecord, contents: DatasetContents) -> Examination:
    """Check every original segment by itself, then all of them against each other."""
    from GPT_SoVITS.dataset.compare import duplicates, other_speakers

    options = ReportOptions.model_validate(version.report_options)
    dataset = run.services.call(run.services.records.datasets.get, version.dataset_id)
    language = options.language or dataset.language
    originals = [segment for segment in contents.segments if segment.made_from is None]
    looks = _check_each(run, version.dataset_id, originals, options, language)
    names = {segment.number: segment.name for segment in originals}
    flags: dict[int, list[QualityFlag]] = {number: list(look.flags) for number, look in looks.items()}
    compared = [
        segment.number for segment in originals if not any(flag.code in NOT_COMPARED for flag in flags[segment.number])
    ]
    checksums = {segment.number: segment.sha256 for segment in originals}
    for number, flag in duplicates(
        checksums, {number: looks[number].fingerprint for number in compared}, names
    ).items():
        flags[number].append(flag)
    voices = {number: voice for number in compared if (voice := looks[number].speaker) is not None}
    outliers, similarities = other_speakers(voices, options.speaker_similarity)
    for number, flag in outliers.items():
        flags[number].append(flag)
    if language == "auto":
        language = _main_language(looks, originals, flags) or "auto"
    measures: dict[int, dict[str, Any]] = {number: look.measures.as_dict() for number, look in looks.items()}
    for number, similarity in similarities.items():
        measures[number]["speaker_similarity"] = similarity
    for segment in contents.segments:
        if segment.made_from is not None:  # a changed copy of a bad segment is bad for the same reasons
            flags[segment.number] = list(flags.get(segment.made_from, ()))
    report: DatasetReport = {
        "version": version.version,
        "language": language,
        "options": options.model_dump(),
        "listened": options.listen,
        "flags": {
            str(number): [cast(SegmentFlag, flag.as_dict()) for flag in of_segment]
            for number, of_segment in flags.items()
            if of_segment
        },
    }
    return Examination(report, measures)


def _check_each(
    run: FileJobRun, dataset_id: str, segments: Sequence[SegmentRecord], options: ReportOptions, language: str
) -> dict[int, RecordingCheck]:
    from GPT_SoVITS.dataset.checks import RecordingCheck

    checker = _load_checker(run, options)
    store = AudioStore(run.services.storage, dataset_id)
    looks: dict[int, RecordingCheck] = {}
    for done, segment in enumerate(segments, start=1):
        expected = segment.language or language
        try:
            samples, rate = store.read(segment.storage_key, segment.name)
        except (InputGone, ModelError) as error:
            look = RecordingCheck()
            look.add("unreadable", error.message)
        else:
            look = checker.check(samples, rate, segment.transcript, "" if expected == "auto" else expected)
        looks[segment.number] = look
        message = f"Looked at {done} of {len(segments)} segments."
        run.context.progress(done / len(segments), message, dataset_id=dataset_id)
    return looks


def _load_checker(run: FileJobRun, options: ReportOptions) -> RecordingChecker:
    import torch

    from GPT_SoVITS.dataset.checks import QualityLimits, RecordingChecker

    torch.set_num_threads(run.services.threads)
    recognizer = None
    if options.listen:
        recognizer = bundled_recognizer(run)
    speakers = speaker_encoder(run)
    limits = QualityLimits(
        shortest_seconds=options.shortest_seconds,
        longest_seconds=options.longest_seconds,
        clipped_share=options.clipped_share,
        speech_share=options.speech_share,
        speaker_similarity=options.speaker_similarity,
        word_errors=options.word_errors,
    )
    return RecordingChecker(limits, speakers, recognizer)


def _main_language(
    looks: dict[int, RecordingCheck], segments: Sequence[SegmentRecord], flags: dict[int, list[QualityFlag]]
) -> str:
    """Return the language of most segments, and flag those that are surely in another; empty when there is none."""
    from GPT_SoVITS.dataset.checks import QualityFlag

    languages = {
        segment.number: language
        for segment in segments
        if (language := looks[segment.number].measures.language) is not None
    }
    if not languages:
        return ""
    [(main, count)] = Counter(languages.values()).most_common(1)
    if count < MAIN_LANGUAGE_SHARE * len(languages):
        return ""
    for segment in segments:
        language = languages.get(segment.number, main)
        probability = looks[segment.number].measures.language_probability or 0.0
        if language != main and probability >= SURE_LANGUAGE_PROBABILITY and not segment.language:
            message = f"It is {language} by its sound ({probability:.0%} sure); most of the data set is {main}."
            flags[segment.number].append(QualityFlag("wrong_language", message, probability))
    return main


def _result(version: DatasetVersionRecord, contents: DatasetContents) -> DatasetReportResult:
    summary = summarize_report(version, contents)
    return {
        "dataset_id": version.dataset_id,
        "version": summary["version"],
        "message": summary["message"],
        "segments": summary["segments"],
        "kept_segments": summary["kept_segments"],
        "kept_seconds": summary["kept_seconds"],
        "problems": summary["problems"],
    }
