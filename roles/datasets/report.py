"""The job that looks at a version of a data set before anyone trains on it, and names each bad file and why."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from core.datasets.options import ReportOptions
from core.datasets.report import describe
from core.errors import InputGone, JobCancelled, NotFound, PermanentError
from core.records.dataset_rows import DatasetContents, DatasetStatus, DatasetVersionRecord, SegmentRow
from GPT_SoVITS.errors import ModelError
from roles.datasets.audio_store import Sounds
from roles.datasets.make_version import as_error
from roles.preprocessing.official import models_folder

if TYPE_CHECKING:
    from GPT_SoVITS.dataset.checks import Checker, Flag, Look
    from roles.preprocessor import WorkRun

logger = logging.getLogger(__name__)

Flags = dict[int, list["Flag"]]

MOSTLY: Final = 0.6
"""Share of a data set in one language from where on it counts as the language of all."""
SURE: Final = 0.8


def make_report(run: WorkRun) -> dict[str, Any]:
    """Look at the version that the payload names; a second time is harmless."""
    payload, records, call = run.job.payload, run.services.records, run.services.call
    dataset_id, number, asked = payload["dataset_id"], int(payload["version"]), int(payload["run"])
    try:
        version = call(records.get_dataset_version, dataset_id, number)
    except NotFound:
        raise JobCancelled(f"The data set {dataset_id} is deleted.") from None
    if version.report_run != asked:
        raise JobCancelled(f"Another report on version {number} of {dataset_id} was asked for since.")
    if version.report_status is DatasetStatus.READY:
        return _result(version, call(records.dataset_contents, dataset_id, number))
    if version.report_status is DatasetStatus.FAILED:
        call(records.restart_dataset_report, dataset_id, number, asked)  # a dead letter was replayed
    try:
        contents = call(records.dataset_contents, dataset_id, number)
        report, measures = _examine(run, version, contents)
        run.context.check()
        call(records.end_dataset_report, dataset_id, number, asked, report, None, measures)
    except (PermanentError, JobCancelled, ModelError) as error:
        call(records.end_dataset_report, dataset_id, number, asked, None, as_error(error))
        raise
    result = _result(call(records.get_dataset_version, dataset_id, number), contents)
    logger.info("Looked at version %d of %s: %s", number, dataset_id, result["message"])
    return result


def _examine(
    run: WorkRun, version: DatasetVersionRecord, contents: DatasetContents
) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The report as it is kept with the version, and what was measured of each segment."""
    from GPT_SoVITS.dataset.compare import duplicates, other_speakers

    options = ReportOptions(**version.report_options)
    dataset = run.services.call(run.services.records.get_dataset, version.dataset_id)
    language = options.language or dataset.language
    originals = [one for one in contents.segments if one.made_from is None]
    looks = _look_at_all(run, version.dataset_id, originals, options, language)
    names = {one.number: one.name for one in originals}
    flags: Flags = {number: list(look.flags) for number, look in looks.items()}
    heard = [one.number for one in originals if not _has(flags[one.number], "silent", "unreadable", "music")]
    hashes = {one.number: one.sha256 for one in originals}
    for number, flag in duplicates(hashes, {key: looks[key].print for key in heard}, names).items():
        flags[number].append(flag)
    voices = {key: voice for key in heard if (voice := looks[key].voice) is not None}
    strangers, alike = other_speakers(voices, options.speaker_similarity)
    for number, flag in strangers.items():
        flags[number].append(flag)
    if language == "auto":
        language = _main_language(looks, originals, flags) or "auto"
    measures = {number: look.measures for number, look in looks.items()}
    for number, value in alike.items():
        measures[number]["speaker_similarity"] = value
    _let_copies_follow(contents, flags)
    report = {
        "version": version.version,
        "language": language,
        "options": options.model_dump(),
        "listened": options.listen,
        "flags": {str(number): [flag.as_dict() for flag in found] for number, found in flags.items() if found},
    }
    return report, measures


def _look_at_all(
    run: WorkRun, dataset_id: str, segments: list[SegmentRow], options: ReportOptions, language: str
) -> dict[int, Look]:
    from GPT_SoVITS.dataset.checks import Look

    checker = _checker(run, options)
    sounds = Sounds(run.services.storage, dataset_id)
    looks: dict[int, Look] = {}
    for done, segment in enumerate(segments, start=1):
        expected = segment.language or language
        try:
            samples, rate = sounds.read(segment.storage_key, segment.name)
        except (InputGone, ModelError) as error:
            look = Look()
            look.add("unreadable", error.message)
        else:
            look = checker.look(samples, rate, segment.transcript, "" if expected == "auto" else expected)
        looks[segment.number] = look
        told = f"Looked at {done} of {len(segments)} segments."
        run.context.progress(done / len(segments), told, dataset_id=dataset_id)
    return looks


def _checker(run: WorkRun, options: ReportOptions) -> Checker:
    import torch

    from GPT_SoVITS.dataset.checks import Checker, Limits
    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.features.resemblyzer import SpeakerEncoder
    from GPT_SoVITS.features.whisper_model import model_folder

    threads = run.services.threads
    torch.set_num_threads(threads)
    recogniser = None
    if options.listen:
        folder = str(model_folder(models_folder(run.services)))
        recogniser = run.models.get(
            ("recogniser", folder, "auto", threads), lambda: Transcriber(folder, threads=threads, precision="auto")
        )
    speakers = run.models.get(("resemblyzer",), SpeakerEncoder.load)
    limits = Limits(
        shortest_seconds=options.shortest_seconds,
        longest_seconds=options.longest_seconds,
        clipped_share=options.clipped_share,
        speech_share=options.speech_share,
        speaker_similarity=options.speaker_similarity,
        word_errors=options.word_errors,
    )
    return Checker(limits, speakers, recogniser)


def _main_language(looks: dict[int, Look], segments: list[SegmentRow], flags: Flags) -> str:
    """What nearly all of a set without a language is in; those that are surely in another are flagged."""
    from GPT_SoVITS.dataset.checks import Flag

    heard = {
        one.number: str(looks[one.number].measures["language"])
        for one in segments
        if "language" in looks[one.number].measures
    }
    if not heard:
        return ""
    [(main, count)] = Counter(heard.values()).most_common(1)
    if count < MOSTLY * len(heard):
        return ""
    for one in segments:
        spoken = heard.get(one.number, main)
        sure = float(looks[one.number].measures.get("language_probability", 0.0))
        if spoken != main and sure >= SURE and not one.language:
            told = f"It is {spoken} by its sound ({sure:.0%} sure); most of the data set is {main}."
            flags[one.number].append(Flag("wrong_language", told, sure))
    return main


def _let_copies_follow(contents: DatasetContents, flags: Flags) -> None:
    """A changed copy of something bad is bad, for the same reasons."""
    for segment in contents.segments:
        if segment.made_from is not None:
            flags[segment.number] = list(flags.get(segment.made_from, ()))


def _has(flags: list[Flag], *codes: str) -> bool:
    return any(flag.code in codes for flag in flags)


def _result(version: DatasetVersionRecord, contents: DatasetContents) -> dict[str, Any]:
    shown = describe(version, contents)
    kept = ("version", "message", "segments", "kept_segments", "kept_seconds", "problems")
    return {"dataset_id": version.dataset_id, **{name: shown[name] for name in kept}}
