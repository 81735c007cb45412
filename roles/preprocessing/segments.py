"""From an upload to transcribed segments: convert, audio_slice, denoise, asr."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import storage_keys
from common.limits import UPSTREAM_PROMPT_SECONDS
from common.progress_messages import progress_message
from core.datasets.archive import is_zip
from core.errors import BadAudio, InputGone, NoSpeech, RecordingTooShort, SilentRecording
from core.media.decode import check_recording, decode
from core.stages.outputs import AsrOutputs, ConvertOutputs, LeftOutSegment, SegmentOutputs
from roles.preprocessing.cache_key import segments_folder, uploaded_recording
from roles.preprocessing.dataset_segments import (
    SegmentTranscript,
    begins_from_dataset,
    convert_segments,
    dataset_transcripts,
    keep_segments,
)
from roles.preprocessing.file_operations import Denoise, SliceRecording, Transcribe
from roles.preprocessing.model_files import check_official_parts, recognizer_folder
from roles.preprocessing.process_pool import process_files
from roles.stages.stage_run import StageRun

MIN_SECONDS: Final = 10.0
"""Of a recording, to learn a voice from."""
DEFAULT_SPEAKER: Final = "speaker"
"""Name of a speaker without a name in a `.list`."""


def convert(run: StageRun) -> ConvertOutputs:
    """Decode the upload, in a limited child, to mono PCM at the rate of the model.

    Raises MissingPart, before anything else, when the task needs weights later that are not there.
    """
    if begins_from_dataset(run):
        return convert_segments(run)
    from GPT_SoVITS.configs import load_config

    check_official_parts(run)
    upload = uploaded_recording(run)
    if is_zip(upload):
        raise BadAudio(
            f"The upload {run.experiment.audio_file_id} is a ZIP of recordings.",
            hint="Make a data set of it (POST /api/v1/datasets) and begin from that.",
        )
    rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    with run.new_folder("source") as folder:
        decode(upload, folder / "recording.wav", sample_rate=rate, mono=True, check=run.context.check)
        report = check_recording(folder / "recording.wav")
    if report.silent:
        raise SilentRecording(
            "Nothing is audible in the recording.", hint="Upload a recording in which one person speaks."
        )
    if report.seconds < MIN_SECONDS:
        raise RecordingTooShort(
            f"The recording lasts {report.seconds:.1f} s; a voice needs at least {MIN_SECONDS:.0f} s.",
            hint="One to three minutes of one person speaking work well.",
        )
    run.progress(1.0, progress_message("seconds_converted", seconds=round(report.seconds)))
    return {"seconds": report.seconds, "sample_rate": rate}


def audio_slice(run: StageRun) -> SegmentOutputs:
    """Cut the recording at its silences; a data set is cut already."""
    if begins_from_dataset(run):
        return keep_segments(run)
    recordings = sorted((run.folder / "source").glob("*.wav"))
    with run.new_folder("segments") as folder:
        results = process_files(run, SliceRecording(str(folder), run.config), recordings, verb="Cut")
        count = sum(len(result["segments"]) for result in results)
        if not count:
            raise NoSpeech(
                "The recording is nothing but silence at this threshold.",
                hint="Lower `threshold` of audio_slice (dB).",
            )
    run.progress(1.0, progress_message("cut_into", count=count))
    return {"segments": count, "left_out": [segment for result in results for segment in result["left_out_segments"]]}


def denoise(run: StageRun) -> SegmentOutputs:
    """Remove noise from every segment, when the parameters ask for it."""
    if not run.config["enabled"]:
        run.progress(1.0, progress_message("not_requested"))
        return {"skipped": True}
    segments = _wav_files(run.folder / "segments")
    with run.new_folder("denoised") as folder:
        process_files(run, Denoise(str(folder)), segments, verb="Denoised")
    return {"skipped": False, "segments": len(segments)}


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """What is said in a segment: from the data set, or recognized."""

    text: str
    language: str
    speaker: str
    seconds: float
    confidence: float

    @property
    def fitness_as_prompt(self) -> tuple[bool, float]:
        """Orders segments: one of 3–10 s comes first; among equals, the one that was recognized most surely."""
        return UPSTREAM_PROMPT_SECONDS[0] <= self.seconds <= UPSTREAM_PROMPT_SECONDS[1], self.confidence


def asr(run: StageRun) -> AsrOutputs:
    """Transcribe every segment that has no transcript yet; one without speech is left out.

    Raises NoSpeech when there is speech in none.
    """
    from GPT_SoVITS.dataset.folder import Annotation, write_annotations

    segments = segment_files(run)
    existing = dataset_transcripts(run) if begins_from_dataset(run) else {}
    transcripts = {
        name: SpokenSegment(
            text=transcript.text,
            language=transcript.language,
            speaker=transcript.speaker or DEFAULT_SPEAKER,
            seconds=transcript.seconds,
            confidence=1.0,
        )
        for name, transcript in existing.items()
    }
    left_out: list[LeftOutSegment] = []
    unknown = [path for path in segments if path.name not in existing or not existing[path.name].text]
    if unknown:
        recognized, left_out = _recognize(run, unknown, existing)
        for path in unknown:
            transcripts.pop(path.name, None)
        transcripts |= recognized
    else:
        run.progress(1.0, progress_message("all_transcribed"))
    spoken = [(path, transcripts[path.name]) for path in segments if path.name in transcripts]
    if not spoken:
        raise NoSpeech(
            "Nobody speaks in the recording, as far as speech recognition can hear.",
            hint="Upload a recording of one person speaking, without music; or bring the transcripts along, as a ZIP "
            "with a `.list`.",
        )
    write_annotations(
        run.folder / "transcripts.list",
        [
            Annotation(path.name, transcript.speaker, transcript.language, transcript.text)
            for path, transcript in spoken
        ],
    )
    prompt, transcript = max(spoken, key=lambda segment: segment[1].fitness_as_prompt)
    return {
        "segments": len(spoken),
        "left_out": left_out,
        "prompt": {
            "audio": storage_keys.experiment_file(run.experiment.id, prompt.parent.name, prompt.name),
            "text": transcript.text,
            "language": transcript.language,
        },
    }


def _recognize(
    run: StageRun, segments: list[Path], existing: dict[str, SegmentTranscript]
) -> tuple[dict[str, SpokenSegment], list[LeftOutSegment]]:
    """Return the transcripts that speech recognition finds, by file name, and the segments in which there is none."""
    languages = {}
    for path in segments:
        language = existing[path.name].language if path.name in existing else run.config["language"]
        if language != "auto":
            languages[path.name] = language
    operation = Transcribe(str(recognizer_folder(run)), run.config["precision"], languages)
    results = process_files(run, operation, segments, verb="Transcribed")
    transcripts: dict[str, SpokenSegment] = {}
    left_out: list[LeftOutSegment] = []
    for path, result in zip(segments, results, strict=True):
        if "left_out" in result:
            left_out.append({"segment": path.name, "reason": result["left_out"]})
            continue
        speaker = existing[path.name].speaker if path.name in existing else ""
        transcripts[path.name] = SpokenSegment(
            text=result["text"],
            language=result["language"],
            speaker=speaker or DEFAULT_SPEAKER,
            seconds=result["seconds"],
            confidence=result["confidence"],
        )
    return transcripts, left_out


def segment_files(run: StageRun) -> list[Path]:
    """Return the segments in order: the denoised ones where denoising ran. Raises InputGone when there is none."""
    return _wav_files(run.folder / segments_folder(run))


def _wav_files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.wav"))
    if not paths:
        raise InputGone(f"No segment is left in {folder.name}.", hint="Run audio_slice again.")
    return paths
