"""The job that looks for the passages of a voice's recordings that are the best prompts.

All passages are measured by their audio; of the best ones a recognizer hears what they say, which confirms or gives
their transcripts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from common.limits import UPSTREAM_PROMPT_SECONDS
from core.datasets.training_selection import select_training_segments
from core.errors import Conflict, NotFound
from core.media.analysis import analyze
from core.media.decode import decode
from core.voices.prompt_proposals import (
    MAX_RECORDING_SECONDS,
    PromptProposal,
    PromptProposalRequest,
    PromptProposals,
    PromptScores,
    no_passage,
    no_recordings,
    proposal_key,
)
from roles.preprocessing.model_files import bundled_recognizer, speaker_encoder
from roles.runtime.file_job import FileJobRun
from roles.voices.prompt_scores import (
    PassageMeasures,
    TypicalSpeech,
    audio_scores,
    is_complete_sentence,
    total_score,
    transcript_score,
)

MAX_PASSAGES: Final = 80
"""That are measured, evenly spread over all; more take longer than anybody waits."""
RECOGNIZED_PER_PROPOSAL: Final = 2
LEAST_RECOGNIZED: Final = 8
SAMPLE_RATE: Final = 32_000
"""Hz of passages of an uploaded file; no version hears more of a prompt."""
MIN_PAUSE_MS: Final = 200.0
"""Between two passages."""
_HOP_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment in which passages are looked for."""

    key: str
    name: str
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class _Passage:
    """A part of a recording, 3 to 10 s long."""

    start: float
    samples: np.ndarray
    rate: int
    source: str = ""
    """Name of the segment; empty: of an uploaded file."""
    language: str = ""
    text: str = ""
    """What is known of its words; empty: nothing."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def propose_prompts(request: PromptProposalRequest, run: FileJobRun) -> PromptProposals:
    """Store the best passages and return them, best first.

    Raises InputGone where the voice has no recordings any more, RecordingTooShort where no passage is long enough.
    """
    kind, passages = _find_passages(request, run)
    if not passages:
        raise no_passage()
    scored = _by_audio(passages, run)
    count = max(LEAST_RECOGNIZED, RECOGNIZED_PER_PROPOSAL * request.count)
    best = sorted(scored, key=lambda item: -total_score(item[2]))[:count]
    proposals = [proposal for item in best if (proposal := _recognized(*item, run)) is not None]
    ranked = sorted(proposals, key=lambda item: -item[0]["score"])[: request.count]
    for number, (_, passage) in enumerate(ranked):
        _store(passage, proposal_key(run.job.id, request.voice_id, number), run)
    return {"source": kind, "proposals": [proposal for proposal, _ in ranked]}


def _find_passages(
    request: PromptProposalRequest, run: FileJobRun
) -> tuple[Literal["segments", "dataset", "file"], list[_Passage]]:
    """Return passages of the first kind of recordings that is there."""
    storage = run.services.storage
    segments = _segments(request, run)
    if any(storage.exists(segment.key) for segment in segments):
        return "segments", _passages_of_segments(segments, run)
    segments = _dataset_segments(request, run)
    if any(storage.exists(segment.key) for segment in segments):
        return "dataset", _passages_of_segments(segments, run)
    if not (request.recording and storage.exists(request.recording)):
        raise no_recordings(request.voice_name)
    with storage.temporary_folder() as folder:
        path = folder / "recording.wav"
        decode(
            storage.path(request.recording),
            path,
            sample_rate=SAMPLE_RATE,
            mono=True,
            max_seconds=MAX_RECORDING_SECONDS,
            check=run.context.check,
        )
        passages = _passages(path)
    count = min(len(passages), MAX_PASSAGES)
    return "file", [passages[index * len(passages) // count] for index in range(count)]


def _passages_of_segments(segments: Sequence[_Segment], run: FileJobRun) -> list[_Passage]:
    """Return MAX_PASSAGES passages; of many segments no more are read than that takes, from everywhere among them."""
    storage, passages = run.services.storage, list[_Passage]()
    stride = math.ceil(len(segments) / MAX_PASSAGES)
    for segment in (segment for first in range(stride) for segment in segments[first::stride]):
        run.context.check()
        if storage.exists(segment.key):
            passages += _passages(storage.path(segment.key), segment)
        if len(passages) >= MAX_PASSAGES:
            break
    return passages[:MAX_PASSAGES]


def _segments(request: PromptProposalRequest, run: FileJobRun) -> list[_Segment]:
    """Return the segments that the voice was trained on, with their transcripts."""
    from GPT_SoVITS.dataset.folder import read_annotations

    storage = run.services.storage
    if not request.segments or not storage.exists(request.transcripts):
        return []
    return [
        _Segment(f"{request.segments}/{line.path}", line.path, line.text, line.language)
        for line in read_annotations(storage.path(request.transcripts))
    ]


def _dataset_segments(request: PromptProposalRequest, run: FileJobRun) -> list[_Segment]:
    """Return the segments of the data set of which the voice was made."""
    if not request.dataset_id:
        return []
    services = run.services
    try:
        selection = services.call(
            select_training_segments, services.records, request.dataset_id, request.dataset_version
        )
    except (NotFound, Conflict):
        return []
    return [
        _Segment(
            segment.storage_key,
            f"{segment.number:06d}.wav",
            segment.transcript,
            segment.language or selection.language,
        )
        for segment in selection.segments
    ]


def _passages(path: Path, segment: _Segment | None = None) -> list[_Passage]:
    """Return the passages of a recording: itself, or its parts between pauses where it is longer than a prompt.

    Speech without pauses is left out: it would be cut within a word.
    """
    from GPT_SoVITS.audio import read_mono
    from GPT_SoVITS.dataset.slicer import Slicer, SliceSettings

    shortest, longest = UPSTREAM_PROMPT_SECONDS
    samples, rate = read_mono(path)
    source, language, text = (segment.name, segment.language, segment.text) if segment is not None else ("", "", "")
    if len(samples) / rate <= longest:
        passages = [_Passage(0.0, samples, rate, source, language, text)]
    else:
        settings = SliceSettings(min_length=shortest * 1000, min_interval=MIN_PAUSE_MS, max_seconds=None)
        passages = [
            _Passage(part.start / rate, part.samples, rate, source, language)
            for part in Slicer(rate, settings).slice(samples)
        ]
    return [passage for passage in passages if shortest <= passage.seconds <= longest]


def _by_audio(passages: Sequence[_Passage], run: FileJobRun) -> list[tuple[_Passage, PassageMeasures, PromptScores]]:
    """Measure passages and score them among each other."""
    measured = []
    for passage in passages:
        run.context.check()
        measured.append(_measure(passage))
    voices = _embeddings(passages, run)
    if voices is not None:
        mean = np.mean(voices, axis=0)
        likeness = voices @ mean / np.linalg.norm(mean)
        measured = [
            replace(measures, similarity=float(similarity))
            for measures, similarity in zip(measured, likeness, strict=True)
        ]
    typical = TypicalSpeech.of(measured)
    return [
        (passage, measures, audio_scores(measures, typical))
        for passage, measures in zip(passages, measured, strict=True)
    ]


def _measure(passage: _Passage) -> PassageMeasures:
    from GPT_SoVITS.audio import to_int16
    from GPT_SoVITS.features.pitch import pitch

    analysis = analyze(to_int16(passage.samples), passage.rate, original_rate=passage.rate)
    voiced = pitch(passage.samples, passage.rate, round(_HOP_SECONDS * passage.rate))
    voiced = voiced[voiced > 0]
    return PassageMeasures(
        seconds=passage.seconds,
        signal_to_noise_db=analysis.signal_to_noise_db,
        clipped_share=analysis.clipped_share,
        speech_share=analysis.speech_seconds / passage.seconds,
        level_db=analysis.speech_db,
        pitch=float(np.median(voiced)) if len(voiced) else 0.0,
    )


def _embeddings(passages: Sequence[_Passage], run: FileJobRun) -> np.ndarray | None:
    """Return the voice of each passage (N, V), each of length 1; None where the speaker encoder is not installed."""
    from GPT_SoVITS.audio import resample
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.features.resemblyzer import SAMPLE_RATE as ENCODER_RATE

    try:
        encoder = speaker_encoder(run)
    except ModelError:
        return None
    voices = []
    for passage in passages:
        run.context.check()
        embedding = encoder.embed(resample(passage.samples, passage.rate, ENCODER_RATE))
        voices.append(embedding / np.linalg.norm(embedding))
    return np.stack(voices)


def _recognized(
    passage: _Passage, measures: PassageMeasures, scores: PromptScores, run: FileJobRun
) -> tuple[PromptProposal, _Passage] | None:
    """Return the proposal of a passage with what a recognizer hears in it; None where that is nothing."""
    from GPT_SoVITS.audio import resample
    from GPT_SoVITS.dataset.transcribe import SAMPLE_RATE as RECOGNIZER_RATE
    from GPT_SoVITS.dataset.word_errors import error_rate

    run.context.check()
    language = passage.language if passage.language not in ("", "auto") else None
    samples = resample(passage.samples, passage.rate, RECOGNIZER_RATE)
    transcription = bundled_recognizer(run).transcribe(samples, language)
    if not transcription.text:
        return None
    text, confidence = passage.text or transcription.text, transcription.confidence
    if passage.text:
        confidence *= max(0.0, 1.0 - error_rate(passage.text, transcription.text, transcription.language))
    scores = {**scores, "transcript": transcript_score(text, confidence)}
    proposal: PromptProposal = {
        "source": passage.source,
        "start_seconds": round(passage.start, 3),
        "seconds": round(passage.seconds, 3),
        "text": text,
        "language": transcription.language,
        "score": round(total_score(scores), 3),
        "scores": _rounded(scores),
        "signal_to_noise_db": round(measures.signal_to_noise_db, 1),
        "confidence": round(confidence, 3),
        "complete": is_complete_sentence(text),
    }
    return proposal, passage


def _rounded(scores: PromptScores) -> PromptScores:
    speaker = scores["speaker"]
    return {
        "duration": round(scores["duration"], 3),
        "noise": round(scores["noise"], 3),
        "clipping": round(scores["clipping"], 3),
        "speech": round(scores["speech"], 3),
        "transcript": round(scores["transcript"], 3),
        "typical": round(scores["typical"], 3),
        "speaker": None if speaker is None else round(speaker, 3),
    }


def _store(passage: _Passage, key: str, run: FileJobRun) -> None:
    from GPT_SoVITS.audio import write_wav

    with run.services.storage.temporary_file() as temporary:
        write_wav(temporary, passage.samples, passage.rate)
        run.context.check()
        run.services.storage.publish(temporary, key)
