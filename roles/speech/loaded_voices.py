"""Voices and prompts that a synthesizer keeps in memory; the ones used last stay longest."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import orjson

from common import storage_keys
from core.records import VoiceRecord
from core.speech.requests import PromptRef, UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_PIPELINES: Final = 4
MAX_PROMPTS: Final = 64


class LruCache(Generic[Key, Value]):
    """A cache of a fixed size, least recently used first out."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, load: Callable[[], Value]) -> Value:
        """Return the value under `key`; load it when it is not there."""
        if key not in self._entries:
            self._entries[key] = load()
        self._entries.move_to_end(key)
        while len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)
        return self._entries[key]

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class LoadedVoices:
    """The pipelines of voices and the encoded prompts that are in memory."""

    def __init__(self, services: WorkerServices) -> None:
        self.services = services
        self.pipelines: LruCache[tuple[str, str], Pipeline] = LruCache(MAX_PIPELINES)
        self.prompts: LruCache[tuple[str, ...], EncodedPrompt] = LruCache(MAX_PROMPTS)

    def load(self, request: UtteranceRequest) -> tuple[Pipeline, EncodedPrompt]:
        """Return the pipeline of a request's voice, and its prompt: the given one, else the voice's own of that name.

        Raises VoiceNotFound when the voice was deleted, NotFound when a checkpoint in place of the voice's was.
        """
        voice = self.services.call(self.services.records.voices.get, request.voice_id)
        own_sovits = voice.sovits_checkpoint_id
        voice = self._with_checkpoints(voice, request.gpt_checkpoint_id, request.sovits_checkpoint_id)
        checkpoints = (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        pipeline = self.pipelines.get(checkpoints, lambda: self._load_pipeline(voice))
        prompt, tokens = request.prompt, None
        if prompt is None:
            own = voice.prompt_named(request.prompt_name)
            prompt = PromptRef.model_validate(own)
            if voice.sovits_checkpoint_id == own_sovits:  # tokens depend on the codebook
                tokens = own.get("tokens")
        extra = request.extra_references
        key = (voice.sovits_checkpoint_id, prompt.audio, prompt.text, prompt.language, *extra)
        return pipeline, self.prompts.get(key, lambda: self._encode_prompt(pipeline, voice, prompt, tokens, extra))

    def _with_checkpoints(self, voice: VoiceRecord, gpt_id: str, sovits_id: str) -> VoiceRecord:
        """Return the voice with other checkpoints, where ids of such are given; they must exist."""
        for checkpoint_id in filter(None, (gpt_id, sovits_id)):
            self.services.call(self.services.records.checkpoints.get, checkpoint_id)
        return replace(
            voice,
            gpt_checkpoint_id=gpt_id or voice.gpt_checkpoint_id,
            sovits_checkpoint_id=sovits_id or voice.sovits_checkpoint_id,
        )

    def clear(self) -> None:
        """Drop everything that is loaded."""
        self.pipelines.clear()
        self.prompts.clear()

    @cached_property
    def helpers(self) -> HelperNetworks:
        """The helper networks, shared by all voices."""
        from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

        return HelperNetworks(self.services.settings.models_folder, device=self.services.device)

    def _load_pipeline(self, voice: VoiceRecord) -> Pipeline:
        from GPT_SoVITS.pipeline import Pipeline

        storage = self.services.storage
        started = time.perf_counter()
        with model_errors():
            pipeline = Pipeline.load(
                storage.path(storage_keys.checkpoint(voice.gpt_checkpoint_id)),
                storage.path(storage_keys.checkpoint(voice.sovits_checkpoint_id)),
                models=self.services.settings.models_folder,
                device=self.services.device,
                helpers=self.helpers,
            )
        logger.info("Loaded the voice %s in %.1f s.", voice.name, time.perf_counter() - started)
        return pipeline

    def _encode_prompt(
        self,
        pipeline: Pipeline,
        voice: VoiceRecord,
        prompt: PromptRef,
        tokens: list[int] | None,
        extra_references: tuple[str, ...],
    ) -> EncodedPrompt:
        """Encode a prompt. Tokens that are not known yet are computed once and stored beside the audio."""
        storage = self.services.storage
        tokens_key = f"{prompt.audio}.{voice.sovits_checkpoint_id}.tokens.json"
        if tokens is None and storage.exists(tokens_key):
            tokens = orjson.loads(storage.path(tokens_key).read_bytes())
        with model_errors():
            encoded = pipeline.prepare_prompt(
                storage.path(prompt.audio),
                prompt.text,
                prompt.language,
                others=[storage.path(key) for key in extra_references],
                tokens=tokens,
            )
        if tokens is None:
            storage.put_bytes(tokens_key, orjson.dumps(encoded.tokens.tolist()))
        self.helpers.unload_prompt_encoders()
        return encoded
