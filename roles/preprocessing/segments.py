"""From an upload to transcribed segments: convert, audio_slice, denoise, asr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.datasets.archive import is_zip
from core.errors import BadAudio, InputGone, NoSpeech, RecordingTooShort, SilentRecording
from core.media import check_recording, decode
from roles.preprocessing import from_dataset
from roles.preprocessing.cache_key import segments_folder, upload_of
from roles.preprocessing.from_dataset import Given, begins_from_dataset, given_transcripts
from roles.preprocessing.official import check_parts, recogniser
from roles.preprocessing.process_pool import do_all
from roles.stages.stage_role import StageRun

SHORTEST_RECORDING = 10.0
"""Seconds of sound that a voice can be learnt from at all."""
SPEAKER = "speaker"
"""What a `.list` calls someone whom nobody named."""
PROMPT_SECONDS = (3.0, 10.0)
"""Length of a segment that serves as a prompt (specification inference-pipeline §2)."""


def convert(run: StageRun) -> dict[str, Any]:
    """Decode the upload, in a limited child, to mono PCM at the rate of the model.

    Before anything else: MissingPart, when the task needs weights later that are not there.
    """
    if begins_from_dataset(run):
        return from_dataset.convert(run)
    from GPT_SoVITS.configs import load_config

    check_parts(run)
    source = upload_of(run)
    if is_zip(source):
        raise BadAudio(
            f"The upload {run.experiment.audio_file_id} is a ZIP of recordings.",
            hint="Make a data set of it (POST /api/v1/datasets) and begin from that.",
        )
    rate = int(load_config(run.experiment.version)["data"]["sampling_rate"])
    with run.fresh_folder("source") as folder:
        decode(source, folder / "recording.wav", sample_rate=rate, mono=True, check=run.context.check)
        report = check_recording(folder / "recording.wav")
    if report.silent:
        raise SilentRecording(
            "Nothing is audible in the recording.", hint="Upload a recording in which one person speaks."
        )
    if report.seconds < SHORTEST_RECORDING:
        raise RecordingTooShort(
            f"The recording lasts {report.seconds:.1f} s; a voice needs at least {SHORTEST_RECORDING:.0f} s.",
            hint="One to three minutes of one person speaking work well.",
        )
    run.progress(1.0, f"Converted {report.seconds:.0f} s of sound.")
    return {"seconds": report.seconds, "sample_rate": rate}


def audio_slice(run: StageRun) -> dict[str, Any]:
    """Cut the recording at its silences; a data set is cut already."""
    if begins_from_dataset(run):
        return from_dataset.audio_slice(run)
    recordings = sorted((run.folder / "source").glob("*.wav"))
    with run.fresh_folder("segments") as folder:
        options = {"parameters": run.config, "to": str(folder)}
        answers = do_all(run, "slice", recordings, options, verb="Cut")
        written = sum(len(answer["written"]) for answer in answers)
        left_out = [refused for answer in answers for refused in answer["refused"]]
        if not written:
            raise NoSpeech(
                "The recording is nothing but silence at this threshold.",
                hint="Lower `threshold` of audio_slice (dB).",
            )
    run.progress(1.0, f"Cut into {written} segments.")
    return {"segments": written, "left_out": left_out}


def denoise(run: StageRun) -> dict[str, Any]:
    """Take noise out of every segment, when the task asks for it."""
    if not run.config["enabled"]:
        run.progress(1.0, "Not asked for.")
        return {"skipped": True}
    segments = _segments(run.folder / "segments")
    with run.fresh_folder("denoised") as folder:
        do_all(run, "denoise", segments, {"to": str(folder)}, verb="Denoised")
    return {"skipped": False, "segments": len(segments)}


def asr(run: StageRun) -> dict[str, Any]:
    """Transcribe every segment that has no transcript yet; what nobody speaks in is left out and named."""
    from GPT_SoVITS.dataset.folder import Annotation, write_annotations

    segments = segment_files(run)
    given = given_transcripts(run) if begins_from_dataset(run) else {}
    answers = {path: _as_answer(given[path.name]) for path in segments if path.name in given} | _listen(
        run, segments, given
    )
    heard = {path: answers[path] for path in segments if "text" in answers[path]}
    if not heard:
        raise NoSpeech(
            "Nobody speaks in the recording, as far as speech recognition can hear.",
            hint="Upload a recording of one person speaking, without music; or bring the transcripts along, as a ZIP "
            "with a `.list`.",
        )
    write_annotations(
        run.folder / "transcripts.list",
        [Annotation(path.name, one["speaker"], one["language"], one["text"]) for path, one in heard.items()],
    )
    prompt, said = max(heard.items(), key=_fitness_as_prompt)
    return {
        "segments": len(heard),
        "left_out": [
            {"segment": path.name, "reason": answers[path]["left_out"]}
            for path in segments
            if "left_out" in answers[path]
        ],
        "prompt": {
            "audio": f"experiments/{run.experiment.id}/{prompt.parent.name}/{prompt.name}",
            "text": said["text"],
            "language": said["language"],
        },
    }


def _listen(run: StageRun, segments: list[Path], given: Mapping[str, Given]) -> dict[Path, dict[str, Any]]:
    """What the recogniser hears in the segments whose words nobody wrote down; it is not loaded for none."""
    to_hear = [path for path in segments if path.name not in given or not given[path.name].text]
    if not to_hear:
        run.progress(1.0, "Every segment has a transcript already.")
        return {}
    asked = run.config["language"]
    languages = {path.name: given[path.name].language if path.name in given else asked for path in to_hear}
    options = {
        "model": str(recogniser(run)),
        "precision": run.config["precision"],
        "languages": {name: language for name, language in languages.items() if language != "auto"},
    }
    answers = do_all(run, "transcribe", to_hear, options, verb="Transcribed")
    speakers = (given[path.name].speaker if path.name in given else "" for path in to_hear)
    return {
        path: {**answer, "speaker": speaker or SPEAKER}
        for path, answer, speaker in zip(to_hear, answers, speakers, strict=True)
    }


def _as_answer(one: Given) -> dict[str, Any]:
    """A transcript that somebody wrote, as the recogniser would give it."""
    return {
        "text": one.text,
        "language": one.language,
        "seconds": one.seconds,
        "confidence": 1.0,
        "speaker": one.speaker or SPEAKER,
    }


def segment_files(run: StageRun) -> list[Path]:
    """The segments in order: the denoised ones where denoising ran."""
    return _segments(run.folder / segments_folder(run))


def _segments(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.wav"))
    if not found:
        raise InputGone(f"No segment is left in {folder.name}.", hint="Run audio_slice again.")
    return found


def _fitness_as_prompt(one: tuple[Path, dict[str, Any]]) -> tuple[bool, float]:
    """A segment of 3–10 s comes first; among equals, the one that the recogniser is surest of."""
    _, said = one
    return PROMPT_SECONDS[0] <= said["seconds"] <= PROMPT_SECONDS[1], said["confidence"]
