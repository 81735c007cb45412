"""Voices and prompts that a synthesizer keeps in memory, within a budget of bytes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import orjson

from common import storage_keys
from core.errors import BadAudio, DamagedArtifact
from core.jobs.loaded_models import LoadedModel, LoadedModelReports
from core.memory import available_memory_mb
from core.records import VoiceRecord
from core.redis import is_connection_error
from core.settings import Settings
from core.speech.requests import PromptRef, UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.model_cache import release_memory
from roles.runtime.services import WorkerServices
from roles.speech.old_base import check_is_english, speaks_english_alone

if TYPE_CHECKING:
    from GPT_SoVITS.engine.resident_models import ResidentModels
    from GPT_SoVITS.engine.speech_engine import SpeechEngine
    from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

logger = logging.getLogger(__name__)

VOICE: Final = "voice"
PROMPT: Final = "prompt"
MIB: Final = 1 << 20
MAX_VOICES_READ: Final = 256


class LoadedVoices:
    """The pipelines of voices and the encoded prompts that are in memory; every method may be called on any thread."""

    def __init__(self, services: WorkerServices) -> None:
        """Begin with nothing. What is loaded is reported under the id of the worker process."""
        self.services = services
        self._reports = LoadedModelReports(services.queue.transport, services.queue.prefix)
        self._voice_ids: dict[Hashable, set[str]] = {}
        """Checkpoints → ids of the voices that spoke with them."""
        self._english_alone: set[Hashable] = set()
        """Checkpoints, loaded at any time, of voices that began from nano's first base."""
        self._voices_read: dict[tuple[str, str], VoiceRecord] = {}
        """Id and stamp → record, of voices that spoke here; the oldest first."""
        self._reading = threading.Lock()
        self._held: frozenset[str] = frozenset()
        self.loads = 0
        """Voices that were loaded so far."""
        """Ids of the voices that jobs of the queue prefer this process for."""
        self._report_lock = threading.Lock()
        """So that no thread reports what another has seen change since."""

    @cached_property
    def resident(self) -> ResidentModels:
        """Everything that is in memory."""
        from GPT_SoVITS.engine.resident_models import ResidentModels

        budget = voice_cache_bytes(self.services.settings, self.services.device)
        return ResidentModels(budget, on_release=release_memory, on_change=self.report)

    def load(
        self, request: UtteranceRequest, engine: SpeechEngine, *, live: bool = False
    ) -> tuple[Pipeline, EncodedPrompt, str]:
        """Return the pipeline of a request's voice, and its prompt: the given one, else the voice's own of that name.

        The prompt's recording is told by its storage key.

        `live`: somebody who asked for the speech a moment ago waits for it, and the voice was there: its record is read
        only if it changed since it spoke here.

        Prompts are encoded by the engine; a voice is loaded on the caller's thread, while others speak.

        Raises VoiceNotFound when the voice was deleted, NotFound when a checkpoint in place of the voice's was,
        DamagedArtifact when the recording of the voice's own prompt is gone or damaged, ConsentMissing when the consent
        of its speaker was withdrawn or has expired, LanguageNotSpoken when it babbles in the language of the text.
        """
        voice = self._voices_read.get((request.voice_id, request.voice_stamp)) if live else None
        if voice is None:
            voice = self._read_voice(request.voice_id)
        own_sovits = voice.sovits_checkpoint_id
        voice = self._with_checkpoints(voice, request.gpt_checkpoint_id, request.sovits_checkpoint_id)
        checkpoints = (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        self._voice_ids.setdefault(checkpoints, set()).add(request.voice_id)
        pipeline = self.resident.get(VOICE, checkpoints, partial(self._load_pipeline, voice, engine), name=voice.name)
        if checkpoints in self._english_alone:
            check_is_english(request, voice.name)
        if request.voice_id not in self._held:
            self.report()
        prompt, tokens, own_name = request.prompt, None, ""
        if prompt is None:
            own = voice.prompt_named(request.prompt_name)
            prompt, own_name = PromptRef.model_validate(own), own.get("name", "default")
            if voice.sovits_checkpoint_id == own_sovits:  # tokens depend on the codebook
                tokens = own.get("tokens")
        extra, timbre = request.extra_references, request.timbre
        key = (*checkpoints, prompt.audio, prompt.text, prompt.language, timbre, *extra)
        encode = partial(self._encode_prompt, engine, pipeline, voice, prompt, tokens, extra, timbre)
        try:
            encoded = self.resident.get(PROMPT, key, encode, name=f"{voice.name}: {prompt.text[:40]}")
        except BadAudio as error:
            if request.prompt is not None or extra or timbre:
                raise
            # The voice was published with it, so its file has been lost or damaged since: no mistake of the caller.
            raise DamagedArtifact(
                f"The recording of the prompt {own_name!r} of the voice {voice.name} cannot be used: {error.message}",
                hint="Restore it from a backup, or delete the prompt and add it again.",
            ) from error
        return pipeline, replace(encoded, key=key), prompt.audio

    def _read_voice(self, voice_id: str) -> VoiceRecord:
        voice = self.services.call(self.services.records.voices.get_to_speak, voice_id)
        with self._reading:
            while len(self._voices_read) >= MAX_VOICES_READ:
                del self._voices_read[next(iter(self._voices_read))]
            self._voices_read[voice_id, voice.stamp] = voice
        return voice

    def tidy(self) -> None:
        """Free what was not used for VOICE_IDLE_SECONDS."""
        if self.services.settings.voice_idle_seconds:
            self.resident.tidy(self.services.settings.voice_idle_seconds)

    def clear(self) -> None:
        """Drop everything that is loaded."""
        self.resident.clear()

    def close(self) -> None:
        """Drop everything, and what was reported."""
        self.clear()
        if self.services.worker_id:
            try:
                self._reports.forget(self.services.worker_id)
            except Exception as error:
                if not is_connection_error(error):
                    raise

    def report(self) -> None:
        """Publish what is loaded, for the API and for jobs that prefer a worker that has their voice."""
        worker_id = self.services.worker_id
        if not worker_id:
            return
        with self._report_lock:
            resident = self.resident.snapshot()
            models = [
                LoadedModel(
                    worker=worker_id,
                    host=self.services.host,
                    device=self.services.device_name,
                    kind=model.kind,
                    name=model.name,
                    megabytes=round(model.bytes / MIB, 1),
                    checkpoints=tuple(map(str, model.key))
                    if model.kind == VOICE and isinstance(model.key, tuple)
                    else (),
                )
                for model in resident
            ]
            loaded = [model.key for model in resident if model.kind == VOICE]
            voices = frozenset(voice_id for key in loaded for voice_id in tuple(self._voice_ids.get(key, ())))
            try:
                self._reports.report(worker_id, models)
                self.services.queue.hold(worker_id, voices - self._held, self._held - voices)
                self._held = voices
            except Exception as error:
                if not is_connection_error(error):
                    raise
                logger.debug("The queue is away; the next change reports what is loaded.")

    def _with_checkpoints(self, voice: VoiceRecord, gpt_id: str, sovits_id: str) -> VoiceRecord:
        """Return the voice with other checkpoints, where ids of such are given; they must exist."""
        for checkpoint_id in filter(None, (gpt_id, sovits_id)):
            self.services.call(self.services.records.checkpoints.get, checkpoint_id)
        return replace(
            voice,
            gpt_checkpoint_id=gpt_id or voice.gpt_checkpoint_id,
            sovits_checkpoint_id=sovits_id or voice.sovits_checkpoint_id,
        )

    @cached_property
    def helpers(self) -> HelperNetworks:
        """The helper networks, shared by all voices."""
        from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

        return HelperNetworks(self.services.settings.models_folder, device=self.services.device, store=self.resident)

    def _load_pipeline(self, voice: VoiceRecord, engine: SpeechEngine) -> Pipeline:
        from GPT_SoVITS.pipeline import Pipeline
        from GPT_SoVITS.synthesis.model_loading import ModelFileCache, suitable_precision

        storage, settings = self.services.storage, self.services.settings
        cache = ModelFileCache(settings.data_path / "cache" / "models", settings.model_cache_mb * MIB)
        sovits = storage.path(storage_keys.checkpoint(voice.sovits_checkpoint_id))
        started = time.perf_counter()

        def load() -> Pipeline:
            pipeline = Pipeline.load(
                storage.path(storage_keys.checkpoint(voice.gpt_checkpoint_id)),
                sovits,
                models=settings.models_folder,
                device=self.services.device,
                precision=suitable_precision(settings.inference_precision, self.services.device),
                helpers=self.helpers,
                store=self.resident,
                cache=cache,
                runtime=settings.vocoder_runtime,
                threads=self.services.threads,
            )
            engine.prepare(pipeline)
            return pipeline

        with model_errors():
            pipeline = engine.load(load)
        pipeline.key = (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        if speaks_english_alone(voice.version, sovits):
            self._english_alone.add(pipeline.key)
        self.loads += 1
        logger.info("Loaded the voice %s in %.1f s.", voice.name, time.perf_counter() - started)
        return pipeline

    def _encode_prompt(
        self,
        engine: SpeechEngine,
        pipeline: Pipeline,
        voice: VoiceRecord,
        prompt: PromptRef,
        tokens: list[int] | None,
        extra_references: tuple[str, ...],
        timbre: str,
    ) -> EncodedPrompt:
        """Encode a prompt. Tokens that are not known yet are computed once and stored beside the audio."""
        storage = self.services.storage
        tokens_key = f"{prompt.audio}.{voice.sovits_checkpoint_id}.tokens.json"
        if tokens is None and storage.exists(tokens_key):
            tokens = orjson.loads(storage.path(tokens_key).read_bytes())
        with model_errors():
            encoded = engine.call(
                partial(
                    pipeline.prepare_prompt,
                    storage.path(prompt.audio),
                    prompt.text,
                    prompt.language,
                    others=[storage.path(key) for key in extra_references],
                    timbre=storage.path(timbre) if timbre else None,
                    tokens=tokens,
                )
            ).result()
        if tokens is None:
            storage.put_bytes(tokens_key, orjson.dumps(encoded.tokens.tolist()))
        self.helpers.unload_prompt_encoders()
        return encoded


def voice_cache_bytes(settings: Settings, device: str) -> int:
    """Return the budget of a synthesizer: VOICE_CACHE_MB, or its share of half of what is free on its device now."""
    if settings.voice_cache_mb:
        return settings.voice_cache_mb * MIB
    processes = max(1, settings.num_models)
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return free // 2 // processes
    return available_memory_mb() * MIB // 2 // processes
