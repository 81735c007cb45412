"""From an upload to transcribed segments: convert, audio_slice, denoise, asr."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from core.errors import NoSpeech, RecordingTooShort, SilentRecording
from core.media import check_recording, decode
from roles.preparing.official import check_parts, models_folder
from roles.stage_role import StageRun

logger = logging.getLogger(__name__)

SHORTEST_RECORDING = 10.0
"""Seconds of sound that a voice can be learnt from at all."""
PROMPT_SECONDS = (3.0, 10.0)
"""Length of a segment that serves as a prompt (specification inference-pipeline §2)."""


def convert(run: StageRun) -> dict[str, Any]:
    """Decode the upload, in a limited child, to mono PCM at the rate of the model.

    Before anything else: MissingPart, when the task needs weights later that are not there.
    """
    from GPT_SoVITS.configs import load_config

    check_parts(run)
    source = run.services.storage.path(f"files/{run.experiment.audio_file_id}")
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
    """Cut the recording at its silences."""
    from GPT_SoVITS.audio import read_mono
    from GPT_SoVITS.dataset.slicer import Slicer, write_segments

    samples, rate = read_mono(run.folder / "source" / "recording.wav")
    with run.fresh_folder("segments") as folder:
        written, left_out = write_segments(
            Slicer.from_parameters(run.config, rate).slice(samples),
            folder,
            rate,
            name="recording.wav",
            peak=run.config["_max"],
            mix=run.config["alpha"],
        )
    if not written:
        raise NoSpeech(
            "The recording is nothing but silence at this threshold.",
            hint="Lower `threshold` of audio_slice (dB).",
        )
    run.progress(1.0, f"Cut into {len(written)} segments.")
    return {"segments": len(written), "left_out": left_out}


def denoise(run: StageRun) -> dict[str, Any]:
    """Take noise out of every segment, when the task asks for it."""
    if not run.config["enabled"]:
        run.progress(1.0, "Not asked for.")
        return {"skipped": True}
    from GPT_SoVITS.dataset.denoise import Denoiser

    denoiser = Denoiser()
    segments = _segments(run.folder / "segments")
    with run.fresh_folder("denoised") as folder:
        for done, segment in enumerate(segments, start=1):
            denoiser.denoise(segment, folder / segment.name)
            run.progress(done / len(segments), f"Denoised {done} of {len(segments)} segments.")
    return {"skipped": False, "segments": len(segments)}


def asr(run: StageRun) -> dict[str, Any]:
    """Transcribe every segment; what nobody speaks in is left out and named."""
    from GPT_SoVITS.dataset.folder import Annotation, write_annotations
    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.whisper import model_folder

    language = None if run.config["language"] == "auto" else run.config["language"]
    transcriber = Transcriber(
        run.config["model"] or model_folder(models_folder(run.services)),
        threads=run.services.threads,
    )
    segments = segment_files(run)
    heard, left_out = [], []
    for done, segment in enumerate(segments, start=1):
        transcript = transcriber.transcribe(segment, language)
        if transcript.text:
            heard.append((segment, transcript))
        else:
            left_out.append({"segment": segment.name, "reason": "nobody speaks in it"})
        run.progress(done / len(segments), f"Transcribed {done} of {len(segments)} segments.")
    if not heard:
        raise NoSpeech(
            "Nobody speaks in the recording, as far as speech recognition can hear.",
            hint="Upload a recording of one person speaking, without music.",
        )
    write_annotations(
        run.folder / "transcripts.list",
        [Annotation(segment.name, "speaker", transcript.language, transcript.text) for segment, transcript in heard],
    )
    prompt, transcript = max(heard, key=_fitness_as_prompt)
    return {
        "segments": len(heard),
        "left_out": left_out,
        "prompt": {
            "audio": f"experiments/{run.experiment.id}/{prompt.parent.name}/{prompt.name}",
            "text": transcript.text,
            "language": transcript.language,
        },
    }


def segment_files(run: StageRun) -> list[Path]:
    """The segments in order: the denoised ones where denoising ran."""
    denoised = not run.outputs.get("denoise", {"skipped": True})["skipped"]
    return _segments(run.folder / ("denoised" if denoised else "segments"))


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))


def _fitness_as_prompt(one: tuple[Path, Any]) -> tuple[bool, float]:
    """A segment of 3–10 s comes first; among equals, the one that the recogniser is surest of."""
    _, transcript = one
    return PROMPT_SECONDS[0] <= transcript.seconds <= PROMPT_SECONDS[1], transcript.confidence
