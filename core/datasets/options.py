"""Options of requests for data sets, with defaults, ranges and descriptions; every API validates with these models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.languages import RecordingLanguage
from core.names import Name
from core.seed import Seed

DatasetLanguage = RecordingLanguage
Subset = Literal["train", "val", "test"]
AugmentKind = Literal["noise", "pitch", "tempo", "room", "loudness", "treble"]
FileId = Annotated[str, Field(min_length=1, max_length=64, description="From POST /files: a recording, or a ZIP.")]


class Options(BaseModel):
    """The base of all options; unknown names are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NewRecording(Options):
    """One upload that goes into a data set."""

    file_id: FileId
    transcript: str = Field("", max_length=2000, description="Transcript of a recording; not for a ZIP.")
    language: DatasetLanguage | Literal[""] = Field(
        "", description="Language of the transcript. Default: that of the data set."
    )
    speaker: str = Field("", max_length=100, description="Name of the speaker.")


class SegmentEdit(Options):
    """Changes of a segment; None keeps a value."""

    transcript: str | None = Field(None, max_length=2000, description="New transcript. Empty: it is recognized again.")
    language: DatasetLanguage | None = Field(None, description="Language of the transcript.")
    speaker: str | None = Field(None, max_length=100, description="Name of the speaker.")
    left_out: bool | None = Field(
        None, description="true leaves the segment out of trainings, false keeps it whatever the report says."
    )
    decide_by_report: bool = Field(False, description="Let the report decide again whether the segment is left out.")
    subset: Subset | None = Field(None, description="Part of the data set: train, val or test.")

    @model_validator(mode="after")
    def _one_decision(self) -> Self:
        if self.decide_by_report and self.left_out is not None:
            raise ValueError("give left_out or decide_by_report, not both")
        return self


class SegmentChange(SegmentEdit):
    """Changes of one segment among several."""

    number: int = Field(ge=1, description="Number of the segment.")


class ReportOptions(Options):
    """The thresholds of a report; the defaults suit most recordings."""

    language: DatasetLanguage | Literal[""] = Field("", description="Expected language. Default: that of the data set.")
    shortest_seconds: float = Field(0.6, ge=0.1, le=10, description="Shorter segments are flagged.")
    longest_seconds: float = Field(54.0, ge=1, le=120, description="Longer segments are flagged.")
    clipped_share: float = Field(0.001, gt=0, le=1, description="Share of samples at the limit that counts as clipped.")
    speech_share: float = Field(0.5, ge=0, le=1, description="Minimum share of the audible part that is speech.")
    speaker_similarity: float = Field(0.7, ge=-1, le=1, description="Minimum cosine similarity to the main speaker.")
    word_errors: float = Field(
        0.5, ge=0, le=5, description="Maximum word error rate of the transcript against the recognized text."
    )
    listen: bool = Field(
        True, description="Check languages and transcripts by speech recognition, which takes most of the time."
    )


class SplitOptions(Options):
    """How segments are split into train, val and test."""

    val: float = Field(0.1, ge=0, lt=1, description="Share of segments for validation.")
    test: float = Field(0.0, ge=0, lt=1, description="Share of segments for testing.")
    by: Literal["segment", "recording", "speaker"] = Field(
        "segment", description="Unit that is never divided between the parts. Copies of a segment always stay with it."
    )
    seed: Seed = Field(0, description="The same seed gives the same division.")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError("val and test together must leave something to train on")
        return self


Range = Annotated[tuple[float, float], Field(description="Lower and upper bound.")]


class AugmentOptions(Options):
    """Augmented copies of every segment that is trained on."""

    kinds: list[AugmentKind] = Field(
        default=["noise", "pitch", "tempo", "room"], min_length=1, max_length=6, description="Kinds of augmentation."
    )
    copies: int = Field(1, ge=1, le=10, description="Copies of each kind.")
    noise_snr_db: Range = (10.0, 25.0)
    pitch_semitones: Range = (-2.0, 2.0)
    tempo_factor: Range = (0.9, 1.1)
    room_seconds: Range = (0.1, 0.4)
    loudness_ratio: Range = (2.0, 4.0)
    treble_db: Range = (3.0, 9.0)
    seed: Seed = Field(0, description="The same seed gives the same copies.")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name, lowest, highest in (
            ("noise_snr_db", -5.0, 60.0),
            ("pitch_semitones", -12.0, 12.0),
            ("tempo_factor", 0.5, 2.0),
            ("room_seconds", 0.02, 2.0),
            ("loudness_ratio", 1.0, 20.0),
            ("treble_db", -24.0, 24.0),
        ):
            first, last = getattr(self, name)
            if not lowest <= first <= last <= highest:
                raise ValueError(f"{name} goes from low to high, within {lowest:g} to {highest:g}")
        return self


class CropOptions(Options):
    """The part of every recording, or of some segments, that is kept."""

    start_seconds: float = Field(0.0, ge=0, le=7200, description="Start of the part that is kept.")
    end_seconds: float | None = Field(
        None, gt=0, le=7200, description="End of the part that is kept. Default: the end of the recording."
    )
    recordings: list[str] = Field(
        default=[], max_length=1000, description="Names of the recordings to crop. Default: all recordings."
    )
    segments: list[int] = Field(
        default=[],
        max_length=1000,
        description="Numbers of segments to cut instead of recordings; times count from the start of each.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.recordings and self.segments:
            raise ValueError("give recordings or segments, not both")
        return self

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.end_seconds is not None and self.end_seconds <= self.start_seconds:
            raise ValueError("end_seconds must lie after start_seconds")
        return self


class DatasetSource(Options):
    """The source of an operation: a data set, which gets a new version, or uploads, which become a new data set."""

    dataset_id: str = Field("", description="A data set.")
    file_ids: list[FileId] = Field(
        default=[], max_length=1000, description="Uploads: recordings, or ZIPs of recordings."
    )
    urls: list[str] = Field(
        default=[], max_length=100, description="URLs of recordings or ZIPs, which the job downloads."
    )
    name: Name = Field("", max_length=100, description="Name of the data set that uploads become.")
    language: DatasetLanguage = Field("auto", description="Language of the uploads.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.dataset_id) == bool(self.file_ids or self.urls):
            raise ValueError("give either dataset_id, or file_ids and urls")
        return self
