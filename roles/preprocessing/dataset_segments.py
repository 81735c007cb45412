"""Stages of an experiment that begins from a data set: audio, segments and transcripts come from its version.

`convert` brings the segments to the rate of the model, `audio_slice` keeps them as they are cut, and `asr` uses the
transcripts that are there; only a segment without one is recognized. Files are named by the segments' numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.progress_messages import progress_message
from core.datasets.training_selection import TrainingSelection, select_training_segments
from core.errors import InputGone, RecordingTooShort
from core.stages.outputs import ConvertOutputs, SegmentOutputs
from roles.preprocessing.model_files import check_official_parts
from roles.stages.stage_run import StageRun

MIN_SECONDS: Final = 10.0
"""Of all segments together, to learn a voice from."""


@dataclass(frozen=True, slots=True)
class SegmentTranscript:
    """What the data set knows of a segment."""

    text: str
    """Empty when it has no transcript."""
    language: str
    """`auto` when it is not known."""
    speaker: str
    seconds: float


def begins_from_dataset(run: StageRun) -> bool:
    """Return whether the experiment begins from a data set, not from a recording."""
    return bool(run.experiment.dataset_id)


def chosen_segments(run: StageRun) -> TrainingSelection:
    """Return the version that the experiment remembers, without the segments that are left out."""
    assert run.experiment.dataset_id is not None
    return run.services.call(
        select_training_segments, run.services.records, run.experiment.dataset_id, run.experiment.dataset_version
    )


def convert_segments(run: StageRun) -> ConvertOutputs:
    """Write every segment as `source/<number>.wav`, mono at the rate of the model."""
    from GPT_SoVITS.audio import read_mono, resample, write_wav
    from GPT_SoVITS.configs import load_config

    check_official_parts(run)
    dataset = chosen_segments(run)
    count = len(dataset.segments)
    target_rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    seconds = 0.0
    with run.new_folder("source") as folder:
        for done, segment in enumerate(dataset.segments, start=1):
            path = run.services.storage.path(segment.storage_key)
            if not path.is_file():
                raise InputGone(
                    f"The sound of segment {segment.number} of {dataset.dataset_id} is gone.",
                    hint="Make the data set again.",
                )
            samples, rate = read_mono(path)
            write_wav(folder / file_name(segment.number), resample(samples, rate, target_rate), target_rate)
            seconds += len(samples) / rate
            run.progress(done / count, progress_message("segments_converted", done=done, count=count))
        if seconds < MIN_SECONDS:
            raise RecordingTooShort(
                f"The data set has {seconds:.1f} s to learn from; a voice needs at least {MIN_SECONDS:.0f} s.",
                hint="Add recordings, or take segments back that are left out.",
            )
    return {
        "seconds": round(seconds, 3),
        "sample_rate": target_rate,
        "recordings": count,
        "dataset": {"id": dataset.dataset_id, "version": dataset.version, "fingerprint": dataset.fingerprint},
    }


def keep_segments(run: StageRun) -> SegmentOutputs:
    """Write the segments as the data set cut them, at the loudness that the parameters ask for."""
    from GPT_SoVITS.audio import read_mono, write_wav
    from GPT_SoVITS.dataset.loudness import mix_loudness

    sources = sorted((run.folder / "source").glob("*.wav"))
    with run.new_folder("segments") as folder:
        for done, source in enumerate(sources, start=1):
            samples, rate = read_mono(source)
            write_wav(folder / source.name, mix_loudness(samples, run.config["_max"], run.config["alpha"]), rate)
            run.progress(done / len(sources), progress_message("segments_taken", done=done, count=len(sources)))
    return {
        "segments": len(sources),
        "left_out": [
            {"segment": segment.name, "reason": "the data set's report or its owner leaves it out"}
            for segment in chosen_segments(run).left_out
            if segment.subset in ("", "train")
        ],
    }


def dataset_transcripts(run: StageRun) -> dict[str, SegmentTranscript]:
    """Return file name → transcript of every segment of the version.

    The language is that of the transcript, else of the data set, else the one that the report recognized.
    """
    dataset = chosen_segments(run)
    transcripts = {}
    for segment in dataset.segments:
        language = segment.language or dataset.language
        if language == "auto":
            language = str(segment.measures.get("language", language))
        transcripts[file_name(segment.number)] = SegmentTranscript(
            segment.transcript, language, segment.speaker, segment.seconds
        )
    return transcripts


def file_name(number: int) -> str:
    """Return the name of a segment's file, in every folder of the experiment."""
    return f"{number:06d}.wav"
