"""The synthesizer: keeps voices loaded and speaks one utterance a job."""

from __future__ import annotations

import gc
import logging
import random
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import VoiceNotFound
from core.job import Job
from core.records import VoiceRecord
from core.roles import SYNTHESIZER
from core.speech import PromptRef, UtteranceRequest
from roles.errors import model_errors
from roles.role import JobContext
from roles.services import Services

if TYPE_CHECKING:
    from GPT_SoVITS.pipeline import Pipeline, Prompt

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

    def start(self, services: Services) -> None:
        """Load the library, so that the first job does not wait for it."""
        import torch

        import GPT_SoVITS.pipeline  # noqa: F401

        torch.set_num_threads(services.threads)
        self.services = services
        self.voices = Voices(services)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        request = UtteranceRequest.model_validate(job.payload)
        pipeline, prompt = self.voices.load(request.voice_id, request.prompt)
        context.check()
        seed = request.seed if request.seed is not None else random.getrandbits(32)
        started = time.perf_counter()
        with model_errors():
            speech = pipeline.speak(request.text, request.language, prompt, seed=seed, speed=request.speed)
        seconds = len(speech.samples) / speech.sample_rate
        key = f"speech/{request.parent}/{request.index}.wav"
        self._keep(key, speech.samples, speech.sample_rate)
        return {
            "audio": key,
            "sample_rate": speech.sample_rate,
            "seconds": seconds,
            "pause_seconds": PAUSE_SECONDS,
            "text": request.text,
            "seed": seed,
            "real_time_factor": (time.perf_counter() - started) / seconds,
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


class Voices:
    """The voices and prompts in memory, by id; what was used last stays longest."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.pipelines: OrderedDict[tuple[str, str], Pipeline] = OrderedDict()
        self.prompts: OrderedDict[tuple[str, str, str], Prompt] = OrderedDict()

    def load(self, voice_id: str, other_prompt: PromptRef | None) -> tuple[Pipeline, Prompt]:
        """The models of a voice, and its own prompt or the one that the request brought."""
        voice = self.services.call(self.services.records.get_voice, voice_id)
        if voice is None:
            raise VoiceNotFound(f"The voice {voice_id!r} was deleted before it could speak.")
        pipeline = self._pipeline(voice)
        if other_prompt is not None:
            return pipeline, self._prompt(voice, pipeline, other_prompt, None)
        return pipeline, self._prompt(
            voice, pipeline, PromptRef.model_validate(voice.prompt), voice.prompt.get("tokens")
        )

    def clear(self) -> None:
        self.pipelines.clear()
        self.prompts.clear()

    def _pipeline(self, voice: VoiceRecord) -> Pipeline:
        from GPT_SoVITS.pipeline import Pipeline

        key = (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        if key not in self.pipelines:
            started = time.perf_counter()
            with model_errors():
                self.pipelines[key] = Pipeline.load(self._checkpoint(key[0]), self._checkpoint(key[1]))
            logger.info("Loaded the voice %s in %.1f s.", voice.name, time.perf_counter() - started)
        self.pipelines.move_to_end(key)
        while len(self.pipelines) > LOADED_VOICES:
            self.pipelines.popitem(last=False)
        return self.pipelines[key]

    def _prompt(self, voice: VoiceRecord, pipeline: Pipeline, prompt: PromptRef, tokens: list[int] | None) -> Prompt:
        key = (voice.sovits_checkpoint_id, prompt.audio, prompt.text)
        if key not in self.prompts:
            self.prompts[key] = self._prepare(pipeline, voice, prompt, tokens)
        self.prompts.move_to_end(key)
        while len(self.prompts) > LOADED_PROMPTS:
            self.prompts.popitem(last=False)
        return self.prompts[key]

    def _prepare(self, pipeline: Pipeline, voice: VoiceRecord, prompt: PromptRef, tokens: list[int] | None) -> Prompt:
        """Read a prompt; tokens that nobody knows yet are found by the encoder, once, and kept beside the sound."""
        storage = self.services.storage
        beside = f"{prompt.audio}.{voice.sovits_checkpoint_id}.tokens.json"
        if tokens is None and storage.exists(beside):
            tokens = orjson.loads(storage.path(beside).read_bytes())
        encoder = self._encoder() if tokens is None else None
        with model_errors():
            prepared = pipeline.prepare_prompt(
                storage.path(prompt.audio), prompt.text, prompt.language, encoder=encoder, tokens=tokens
            )
        if encoder is not None:
            storage.put_bytes(beside, orjson.dumps(prepared.tokens.tolist()))
            # The encoder outweighs the voice, and the next prompt may never come.
            del encoder
            gc.collect()
        return prepared

    def _encoder(self) -> Any:
        from GPT_SoVITS.features.content import ContentEncoder
        from GPT_SoVITS.whisper import model_folder

        with model_errors():
            return ContentEncoder(
                model_folder(self.services.settings.data_path / "models"), threads=self.services.threads
            )

    def _checkpoint(self, checkpoint_id: str) -> Path:
        return self.services.storage.path(f"checkpoints/{checkpoint_id}.safetensors")
