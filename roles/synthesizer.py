"""The synthesizer: keeps voices loaded and speaks one utterance a job."""

from __future__ import annotations

import random
import time
from typing import Any, Final

from common import storage_keys
from core.jobs.job import Job
from core.jobs.roles import SYNTHESIZER
from core.speech.requests import UtteranceRequest, UtteranceResult
from roles.runtime.errors import model_errors
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.speech.loaded_voices import LoadedVoices

PAUSE_SECONDS: Final = 0.3
"""Silence after an utterance (inference-pipeline §1, fragment_interval)."""


class Synthesizer:
    """Speak an utterance in a voice and store the audio."""

    name = SYNTHESIZER
    stop_grace_seconds = 30.0
    """An utterance cannot be stopped half-way; waiting for its end is cheaper than loading the voices again."""

    def start(self, services: WorkerServices) -> None:
        """Load the library, so that the first job does not wait for it."""
        import torch

        import GPT_SoVITS.pipeline  # noqa: F401

        torch.set_num_threads(services.threads)
        self.services = services
        self.voices = LoadedVoices(services)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Speak the utterance of the payload."""
        return {**self.synthesize(UtteranceRequest.model_validate(job.payload), context)}

    def synthesize(self, request: UtteranceRequest, context: JobContext) -> UtteranceResult:
        """Speak an utterance, store it as one WAV with the pauses around it, and report it where it is watched."""
        import numpy as np

        from GPT_SoVITS.audio import write_wav
        from roles.speech.synthesis_options import synthesis_request

        pipeline, prompt = self.voices.load(request)
        context.check()
        seed = request.seed if request.seed is not None else random.getrandbits(32)
        started = time.perf_counter()
        with model_errors():
            speech = pipeline.speak_batch([synthesis_request(request, prompt, seed)])[0]
        synthesis_seconds = time.perf_counter() - started
        rate = speech.sample_rate
        silence = [round(seconds * rate) for seconds in (request.silence_before, request.silence_after)]
        samples = np.pad(speech.samples, silence)
        interval = request.sampling.fragment_interval
        pause = PAUSE_SECONDS if interval is None else interval
        key = storage_keys.speech_file(request.parent, f"{request.index}.wav")
        with self.services.storage.temporary_file() as temporary:
            write_wav(temporary, samples, rate)
            self.services.storage.publish(temporary, key)
        if request.announced:
            context.event("utterance", {"index": request.index, "text": request.text})
        return {
            "audio": key,
            "sample_rate": rate,
            "seconds": len(samples) / rate,
            "pause_seconds": 0.0 if request.silence_after else pause,
            "text": request.text,
            "seed": seed,
            "real_time_factor": synthesis_seconds * rate / len(speech.samples),
            "skipped": speech.skipped,
        }

    def idle(self) -> None:
        """Keep what is loaded: it makes the next utterance fast."""

    def stop(self) -> None:
        """Drop the voices."""
        self.voices.clear()
