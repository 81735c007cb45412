"""Stages of an experiment that begins from a data set: sound, segments and transcripts come from its version.

`convert` brings the chosen segments to the rate of the model, `audio_slice` takes them as they are cut, and `asr`
takes the transcripts that are there; only what has none is listened to. Files are named by the segments' numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from core.datasets.choice import Chosen, choose_segments
from core.errors import InputGone, RecordingTooShort
from core.records import SegmentRecord
from roles.preprocessing.official import check_parts
from roles.stages.stage_role import StageRun

SHORTEST_SECONDS: Final = 10.0
"""Of all segments together; less teaches nobody's voice."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the data set knows of a segment."""

    text: str
    """Empty: nobody said yet."""
    language: str
    """`auto` when nobody said."""
    speaker: str
    seconds: float


def begins_from_dataset(run: StageRun) -> bool:
    return bool(run.experiment.dataset_id)


def chosen_segments(run: StageRun) -> Chosen:
    """The version that the experiment remembers, without what is left out."""
    assert run.experiment.dataset_id is not None
    return run.services.call(
        choose_segments, run.services.records, run.experiment.dataset_id, run.experiment.dataset_version
    )


def convert(run: StageRun) -> dict[str, Any]:
    """Every chosen segment as `source/<number>.wav`, mono at the rate of the model."""
    from GPT_SoVITS.audio import read_mono, resample, write_wav
    from GPT_SoVITS.configs import load_config

    check_parts(run)
    chosen = chosen_segments(run)
    rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    seconds = 0.0
    with run.fresh_folder("source") as folder:
        for done, segment in enumerate(chosen.segments, start=1):
            path = run.services.storage.path(segment.storage_key)
            if not path.is_file():
                raise InputGone(
                    f"The sound of segment {segment.number} of {chosen.dataset_id} is gone.",
                    hint="Make the data set again.",
                )
            samples, found_rate = read_mono(path)
            write_wav(folder / file_name(segment.number), resample(samples, found_rate, rate), rate)
            seconds += len(samples) / found_rate
            run.progress(done / len(chosen.segments), f"Converted {done} of {len(chosen.segments)} segments.")
        if seconds < SHORTEST_SECONDS:
            raise RecordingTooShort(
                f"The data set has {seconds:.1f} s to learn from; a voice needs at least {SHORTEST_SECONDS:.0f} s.",
                hint="Add recordings, or take segments back that are left out.",
            )
    return {
        "seconds": round(seconds, 3),
        "sample_rate": rate,
        "recordings": len(chosen.segments),
        "dataset": {"id": chosen.dataset_id, "version": chosen.version, "fingerprint": chosen.fingerprint},
    }


def audio_slice(run: StageRun) -> dict[str, Any]:
    """The segments as the data set cut them, at the loudness that the parameters ask for."""
    from GPT_SoVITS.audio import read_mono, write_wav
    from GPT_SoVITS.dataset.loudness import mix_loudness

    sources = sorted((run.folder / "source").glob("*.wav"))
    with run.fresh_folder("segments") as folder:
        for done, source in enumerate(sources, start=1):
            samples, rate = read_mono(source)
            write_wav(folder / source.name, mix_loudness(samples, run.config["_max"], run.config["alpha"]), rate)
            run.progress(done / len(sources), f"Took {done} of {len(sources)} segments of the data set.")
    left_out = [
        {"segment": one.name, "reason": "the data set's report or its owner leaves it out"}
        for one in chosen_segments(run).left_out
        if one.subset in ("", "train")
    ]
    return {"segments": len(sources), "left_out": left_out}


def given_transcripts(run: StageRun) -> dict[str, Given]:
    """File name → what is said in it, for every segment of the version; an empty text wants speech recognition."""
    chosen = chosen_segments(run)
    return {
        file_name(one.number): Given(one.transcript, _language(one, chosen), one.speaker, one.seconds)
        for one in chosen.segments
    }


def _language(segment: SegmentRecord, chosen: Chosen) -> str:
    """Of its transcript, else of the data set, else as the report heard it."""
    said = segment.language or chosen.language
    return str(segment.measures.get("language", said)) if said == "auto" else said


def file_name(number: int) -> str:
    """Of a segment, in every folder of the experiment."""
    return f"{number:06d}.wav"
