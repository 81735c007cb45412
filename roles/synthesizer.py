"""The synthesizer: keeps voices loaded and speaks one utterance a job."""

from __future__ import annotations

import logging
import random
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import VoiceNotFound
from core.jobs.job import Job
from core.jobs.roles import SYNTHESIZER
from core.records import VoiceRecord
from core.speech.requests import PromptRef, UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

logger = logging.getLogger(__name__)

LOADED_VOICES = 4
"""Voices kept in memory; the one unused for longest makes room."""
LOADED_PROMPTS = 64
PAUSE_SECONDS = 0.3
"""Silence after an utterance (inference-pipeline §1, fragment_interval)."""


class Synthesizer:
    """Speak an utterance in a voice and keep the recording."""

    name = SYNTHESIZER
    stop_grace_seconds = 30.0
    """An utterance cannot be stopped half-way; waiting for its end is cheaper than loading the voices again."""

    def start(self, services: WorkerServices) -> None:
        """Load the library, so that the first job does not wait for it."""
        import torch

        import GPT_SoVITS.pipeline  # noqa: F401

        torch.set_num_threads(services.threads)
        self.services = services
        self.voices = Voices(services)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        from GPT_SoVITS.text import InlinePronunciation

        request = UtteranceRequest.model_validate(job.payload)
        pipeline, prompt = self.voices.load(request.voice_id, request.prompt, request.prompt_name)
        context.check()
        seed = request.seed if request.seed is not None else random.getrandbits(32)
        started = time.perf_counter()
        with model_errors():
            speech = pipeline.speak(
                request.text,
                request.language,
                prompt,
                seed=seed,
                speed=request.speed,
                readings=[InlinePronunciation(**one.model_dump()) for one in request.readings],
            )
        took = time.perf_counter() - started
        samples = _with_silence(request, speech.samples, speech.sample_rate)
        key = f"speech/{request.parent}/{request.index}.wav"
        self._keep(key, samples, speech.sample_rate)
        if request.announced:
            context.event("utterance", {"index": request.index, "text": request.text})
        return {
            "audio": key,
            "sample_rate": speech.sample_rate,
            "seconds": len(samples) / speech.sample_rate,
            "pause_seconds": 0.0 if request.silence_after else PAUSE_SECONDS,
            "text": request.text,
            "seed": seed,
            "real_time_factor": took * speech.sample_rate / len(speech.samples),
            "skipped": speech.skipped,
        }

    def idle(self) -> None:
        """Nothing to free: what is loaded is what makes the next utterance fast."""

    def stop(self) -> None:
        self.voices.clear()

    def _keep(self, key: str, samples: Any, sample_rate: int) -> None:
        from GPT_SoVITS.audio import write_wav

        temporary = self.services.storage.new_temporary()
        write_wav(temporary, samples, sample_rate)
        self.services.storage.publish(temporary, key)


def _with_silence(request: UtteranceRequest, samples: Any, sample_rate: int) -> Any:
    """The samples with the pauses that the text asks for around them."""
    import numpy as np

    return np.pad(
        samples, [round(seconds * sample_rate) for seconds in (request.silence_before, request.silence_after)]
    )


class Voices:
    """The voices and prompts in memory, by id; what was used last stays longest."""

    def __init__(self, services: WorkerServices) -> None:
        self.services = services
        self.pipelines: OrderedDict[tuple[str, str], Pipeline] = OrderedDict()
        self.prompts: OrderedDict[tuple[str, ...], EncodedPrompt] = OrderedDict()
        self._helpers: HelperNetworks | None = None

    def load(
        self, voice_id: str, other_prompt: PromptRef | None, prompt_name: str = ""
    ) -> tuple[Pipeline, EncodedPrompt]:
        """The models of a voice, and the prompt that the request brought or names, or else the voice's first."""
        voice = self.services.call(self.services.records.voices.get, voice_id)
        if voice is None:
            raise VoiceNotFound(f"The voice {voice_id!r} was deleted before it could speak.")
        pipeline = self._pipeline(voice)
        if other_prompt is not None:
            return pipeline, self._prompt(voice, pipeline, other_prompt, None)
        own = voice.prompt_named(prompt_name)
        return pipeline, self._prompt(voice, pipeline, PromptRef.model_validate(own), own.get("tokens"))

    def clear(self) -> None:
        self.pipelines.clear()
        self.prompts.clear()

    def _pipeline(self, voice: VoiceRecord) -> Pipeline:
        from GPT_SoVITS.pipeline import Pipeline

        key = (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        if key not in self.pipelines:
            started = time.perf_counter()
            with model_errors():
                self.pipelines[key] = Pipeline.load(
                    self._checkpoint(key[0]),
                    self._checkpoint(key[1]),
                    models=self.services.settings.data_path / "models",
                    device=self.services.device,
                    helpers=self.helpers,
                )
            logger.info("Loaded the voice %s in %.1f s.", voice.name, time.perf_counter() - started)
        self.pipelines.move_to_end(key)
        while len(self.pipelines) > LOADED_VOICES:
            self.pipelines.popitem(last=False)
        return self.pipelines[key]

    def _prompt(
        self, voice: VoiceRecord, pipeline: Pipeline, prompt: PromptRef, tokens: list[int] | None
    ) -> EncodedPrompt:
        key = (voice.sovits_checkpoint_id, prompt.audio, prompt.text, prompt.language)
        if key not in self.prompts:
            self.prompts[key] = self._prepare(pipeline, voice, prompt, tokens)
        self.prompts.move_to_end(key)
        while len(self.prompts) > LOADED_PROMPTS:
            self.prompts.popitem(last=False)
        return self.prompts[key]

    def _prepare(
        self, pipeline: Pipeline, voice: VoiceRecord, prompt: PromptRef, tokens: list[int] | None
    ) -> EncodedPrompt:
        """Read a prompt; tokens that nobody knows yet are found by the encoder, once, and kept beside the sound."""
        storage = self.services.storage
        beside = f"{prompt.audio}.{voice.sovits_checkpoint_id}.tokens.json"
        if tokens is None and storage.exists(beside):
            tokens = orjson.loads(storage.path(beside).read_bytes())
        with model_errors():
            prepared = pipeline.prepare_prompt(storage.path(prompt.audio), prompt.text, prompt.language, tokens=tokens)
        if tokens is None:
            storage.put_bytes(beside, orjson.dumps(prepared.tokens.tolist()))
        self.helpers.unload_prompt_encoders()
        return prepared

    @property
    def helpers(self) -> HelperNetworks:
        """The helper networks, shared by all voices."""
        from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

        if self._helpers is None:
            self._helpers = HelperNetworks(self.services.settings.data_path / "models", device=self.services.device)
        return self._helpers

    def _checkpoint(self, checkpoint_id: str) -> Path:
        return self.services.storage.path(f"checkpoints/{checkpoint_id}.safetensors")
