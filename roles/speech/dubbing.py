"""Subtitles that are spoken: every cue at its time, faster where it would not fit, with silence between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from common.audio_formats import FILE_EXTENSIONS, MEDIA_TYPES
from common.limits import MAX_SPEED, MIN_SPEED
from common.storage_keys import inference_folder
from core.errors import NotFound
from core.jobs.job import Job, NewJob
from core.jobs.roles import SYNTHESIZER
from core.marks.speech_label import tags_of
from core.marks.speech_marks import SpeechMarks
from core.media.leveling import FULL_SCALE, SilenceTrimmer, samples_of
from core.media.peak_limiter import PeakLimiter
from core.speech.dubbing_jobs import (
    AssembleDubbingRequest,
    CueReport,
    CueUtterances,
    DubbedCue,
    DubbingAudio,
    DubbingOpening,
    DubbingPlan,
    FitDubbingRequest,
    OpenDubbingRequest,
    fitting_id,
    opening_id,
)
from core.speech.inference_jobs import InferenceLabelling
from core.speech.requests import SpeechRequest, UtteranceRequest, UtteranceResult
from core.speech.utterances import utterance_requests
from core.speech.verification import Verdict, verification_of
from roles.runtime.errors import model_errors
from roles.runtime.file_job import FileJobRun
from roles.speech.joined_speech import JoinedSpeech, UtteranceAudio, voice_gains
from roles.speech.parts import publish_result, record_voices, require_done
from roles.speech.speech_file import SpeechFile

SLACK: Final = 1.02
"""How much faster than exactly a cue is spoken that would be too long: models do not keep a speed to the last bit."""
SMALL_CHANGE: Final = 0.01
"""Of a speed, that is not worth speaking again."""
TOLERANCE_SECONDS: Final = 0.05
"""By which a cue may be longer than its time and still fits."""
BLOCK_SAMPLES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class _CueAudio:
    """The utterances of a cue as they were spoken."""

    utterances: Sequence[UtteranceAudio]
    results: Sequence[UtteranceResult]

    @property
    def pause_seconds(self) -> float:
        """Silence between the utterances."""
        return sum(result.get("pause_seconds", 0.0) for result in self.results[:-1])

    def samples(self, rate: int, gain: Callable[[str], float] = lambda voice: 1.0) -> np.ndarray:
        """Return the samples (N,) within ±1, without the silence at both ends; `gain`: of each voice."""
        trimmer = SilenceTrimmer(rate)
        pieces = [np.zeros(0)]
        pause = 0.0
        for utterance, result in zip(self.utterances, self.results, strict=True):
            pieces.append(trimmer.feed(np.zeros(round(pause * rate))))
            factor = gain(utterance.request.voice_id)
            pieces += [trimmer.feed(samples_of(block)) * factor for block in utterance.blocks(rate)]
            pause = result.get("pause_seconds", 0.0)
        return np.concatenate([*pieces, trimmer.end_utterance()])


def open_dubbing(request: OpenDubbingRequest, run: FileJobRun) -> DubbingOpening:
    """Have the utterances of all cues spoken. Repeating it changes nothing."""
    plan, job_id = request.plan, run.job.id
    cues: list[CueUtterances | None] = []
    utterances: list[UtteranceRequest] = []
    for cue in plan.cues:
        run.context.check()
        speech = plan.voices[cue.voice].model_copy(update={"text": cue.text, "assembly": request.dubbing})
        requests = _utterances(speech, job_id, len(utterances), run.services.settings.spoken_notice)
        cues.append({"jobs": [f"{job_id}.{utterance.index}" for utterance in requests], "speed": 1.0})
        utterances += requests
    _enqueue(run, utterances, request.dubbing, waiting=fitting_id(request.dubbing))
    return {"cues": cues}


def fit_dubbing(request: FitDubbingRequest, run: FileJobRun) -> DubbingOpening:
    """Have those cues spoken again, at another speed, whose length is not that of their time."""
    opening, plan = _opening(request.dubbing, run)
    cues: list[CueUtterances | None] = []
    utterances: list[UtteranceRequest] = []
    for cue, spoken in zip(plan.cues, opening["cues"], strict=True):
        run.context.check()
        assert spoken is not None
        audio = _read(spoken["jobs"], run)
        speed = _fitting_speed(cue, audio, plan) if audio.utterances else 1.0
        if abs(speed - 1) < SMALL_CHANGE:
            cues.append(None)
            continue
        again = [
            utterance.request.model_copy(
                update={
                    "parent": run.job.id,
                    "index": len(utterances) + number,
                    "speed": min(max(utterance.request.speed * speed, MIN_SPEED), MAX_SPEED),
                }
            )
            for number, utterance in enumerate(audio.utterances)
        ]
        cues.append({"jobs": [f"{run.job.id}.{utterance.index}" for utterance in again], "speed": speed})
        utterances += again
    _enqueue(run, utterances, request.dubbing, waiting=request.dubbing)
    return {"cues": cues}


def assemble_dubbing(request: AssembleDubbingRequest, run: FileJobRun) -> DubbingAudio:
    """Put all cues into one file, each at its time, and report how each was spoken."""
    fitting = run.services.queue.job(fitting_id(run.job.id))
    require_done([fitting], run.services.queue)
    opening, plan = _opening(run.job.id, run)
    again = cast(DubbingOpening, fitting.result if fitting else None)["cues"]
    spoken = [second or first for first, second in zip(opening["cues"], again, strict=True)]
    audio = [_read(cue["jobs"] if cue else (), run) for cue in spoken]
    utterances = [utterance for cue in audio for utterance in cue.utterances]
    rates = [result["sample_rate"] for cue in audio for result in cue.results]
    if not rates:
        raise NotFound("The subtitles hold nothing to say.", hint="Send cues with words.")
    rate = max(rates)
    own = plan.voices[0]
    marks = SpeechMarks(run.services.settings)
    marker = marks.begin(next(item.request for item in utterances if not item.request.notice), run.job.id, rate)
    gains = voice_gains(utterances, rate)
    limiter = PeakLimiter(rate, own.true_peak - marks.headroom_db if gains else 0.0)
    storage = run.services.storage
    with storage.temporary_file() as temporary:
        with temporary.open("w+b") as file:
            output = SpeechFile(file, request.format, rate, own.sample_rate or rate, tags_of(marker.label))
            joined = JoinedSpeech(output, marker, rate, None)
            mix = _Mix(joined, limiter, utterances[0].request)
            cues = []
            for cue, item in zip(plan.cues, audio, strict=True):
                run.context.check()
                samples = item.samples(rate, lambda voice: 10 ** (gains.get(voice, 0.0) / 20))
                start = mix.add(cue.start, cue.end, samples)
                cues.append((cue, item, start, start + len(samples) / rate))
            mix.finish(plan.seconds)
            output.finish()
        marks.finish_file(temporary, request.format, marker.label)
        key = f"{inference_folder(run.job.id)}/speech.{run.context.lease.token}.{FILE_EXTENSIONS[request.format]}"
        stored = publish_result(storage, temporary, key)
    text = "\n".join(cue.text for cue in plan.cues)
    record_voices(run, [item.request for item in utterances], marker.mark_id, joined.seconds, text)
    labelled: InferenceLabelling = {} if marker.label is None else {"aigc": marker.label.text}
    speeds = [cue["speed"] if cue else 1.0 for cue in spoken]
    return {
        "audio": key,
        "format": request.format,
        "media_type": MEDIA_TYPES[request.format],
        "sample_rate": own.sample_rate or rate,
        "seconds": joined.seconds,
        "cues": [
            _report(cue, item, plan, start + joined.opening_seconds, end + joined.opening_seconds, speed)
            for (cue, item, start, end), speed in zip(cues, speeds, strict=True)
        ],
        **stored,
        **labelled,
    }


class _Mix:
    """Writes samples at their times, in order, with silence between; those of cues that overlap are added up."""

    def __init__(self, joined: JoinedSpeech, limiter: PeakLimiter, request: UtteranceRequest) -> None:
        self._joined = joined
        self._limiter = limiter
        self._request = request
        self._pending = np.zeros(0)
        """Samples that were not written yet."""
        self._position = 0
        """Of the first of them."""
        self._ends: list[tuple[float, float]] = []
        """When the cues end by their subtitles, and when they were spoken."""

    def add(self, start: float, end: float, samples: np.ndarray) -> float:
        """Add the samples of a cue, and return when they are heard.

        A cue waits for those before it that should be over, so that no word is lost.
        """
        begin = max([start, *(spoken for written, spoken in self._ends if written <= start)])
        self._ends.append((end, begin + len(samples) / self._joined.rate))
        self._write(round(begin * self._joined.rate))
        length = max(len(self._pending), len(samples))
        self._pending = np.pad(self._pending, (0, length - len(self._pending)))
        self._pending[: len(samples)] += samples
        return begin

    def finish(self, seconds: float) -> None:
        """Write what is left, and silence up to a time."""
        self._write(max(round(seconds * self._joined.rate), self._position + len(self._pending)))
        self._put(self._limiter.flush())

    def _write(self, position: int) -> None:
        while self._position < position:
            count = min(position - self._position, BLOCK_SAMPLES)
            block, self._pending = self._pending[:count], self._pending[count:]
            self._put(self._limiter.feed(np.pad(block, (0, count - len(block)))))
            self._position += count

    def _put(self, samples: np.ndarray) -> None:
        pcm = np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype("<i2")
        self._joined.add(pcm.tobytes(), self._request)


def _utterances(speech: SpeechRequest, parent: str, first: int, notice: str) -> list[UtteranceRequest]:
    """Return the utterances of a cue; none where it holds nothing to say."""
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import read_markup, split_script

    with model_errors():
        try:
            script = read_markup(
                speech.text,
                speech.language,
                input_type=speech.input_type,
                pronunciations=speech.pronunciations,
                number_language=speech.number_language,
            )
            split = split_script(script, speech.number_language, speech.text_split_method)
        except ModelError as error:
            if error.code in ("empty_text", "unreadable_text"):
                return []
            raise
    return utterance_requests(speech, parent, split, first, notice=notice)


def _enqueue(run: FileJobRun, utterances: Sequence[UtteranceRequest], dubbing: str, *, waiting: str) -> None:
    """Enqueue utterances, and let a job wait for them."""
    queue = run.services.queue
    jobs = [
        NewJob(
            role=SYNTHESIZER,
            payload=utterance.stored(),
            job_id=f"{run.job.id}.{utterance.index}",
            priority=run.job.priority,
            topic=dubbing,
            owner=run.job.owner,
            affinity=utterance.voice_id,
            part_of=dubbing,
        )
        for utterance in utterances
    ]
    queue.enqueue_many(jobs)
    ids = [job.job_id for job in jobs]
    if ids and not queue.add_dependencies(waiting, ids):  # it was cancelled meanwhile
        for job_id in ids:
            queue.cancel(job_id)


def _opening(dubbing: str, run: FileJobRun) -> tuple[DubbingOpening, DubbingPlan]:
    """Return what was opened; raise the error of a part that failed."""
    job = run.services.queue.job(opening_id(dubbing))
    require_done([job], run.services.queue)
    assert job is not None
    return cast(DubbingOpening, job.result), OpenDubbingRequest.model_validate(job.payload).plan


def _read(job_ids: Sequence[str], run: FileJobRun) -> _CueAudio:
    """Return the utterances of a cue; raise the error of one that failed, after cancelling the others."""
    parts = [run.services.queue.job(job_id) for job_id in job_ids]
    require_done(parts, run.services.queue)
    jobs = [job for job in parts if job is not None]
    results = [cast(UtteranceResult, job.result) for job in jobs]
    return _CueAudio(tuple(_audio_of(jobs, results, run)), results)


def _audio_of(jobs: Sequence[Job], results: Sequence[UtteranceResult], run: FileJobRun) -> Iterator[UtteranceAudio]:
    for job, result in zip(jobs, results, strict=True):
        yield UtteranceAudio(UtteranceRequest.model_validate(job.payload), run.services.storage.path(result["audio"]))


def _fitting_speed(cue: DubbedCue, audio: _CueAudio, plan: DubbingPlan) -> float:
    """Return how much faster a cue is to be spoken than it was, within the bounds of the plan."""
    rate = max(result["sample_rate"] for result in audio.results)
    pauses = audio.pause_seconds
    spoken = len(audio.samples(rate)) / rate - pauses
    room = cue.end - cue.start - pauses
    needed = spoken / room if room > 0 else plan.max_speed
    if needed > 1:
        return min(needed * SLACK, plan.max_speed)
    return max(needed, plan.min_speed) if plan.min_speed < 1 else 1.0


def _report(cue: DubbedCue, audio: _CueAudio, plan: DubbingPlan, start: float, end: float, speed: float) -> CueReport:
    verdicts = {verification_of(result)["verdict"] for result in audio.results}
    worst: Verdict = next(
        (verdict for verdict in ("doubtful", "unverified", "ok") if verdict in verdicts), "unverified"
    )
    return {
        "text": cue.text,
        "voice_id": plan.voices[cue.voice].voice_id,
        "start": cue.start,
        "end": cue.end,
        "spoken_start": round(start, 3),
        "spoken_end": round(end, 3),
        "speed": round(speed, 3),
        "fits": start - cue.start <= TOLERANCE_SECONDS and end - cue.end <= TOLERANCE_SECONDS,
        "verdict": worst,
    }
