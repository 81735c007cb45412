"""Which voice, checkpoints and prompt speak a request of upstream's: what it names, else what the caller has chosen."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from api.dependencies import ApiServices
from api.dialects.upstream.fields import UpstreamNumbers
from api.http.request_context import current_context
from api.services.caller_sessions import CallerSession
from api.services.references import VoiceReference
from api.services.speech import SpeechOptions
from common.languages import LanguageCode, single_language
from common.limits import UPSTREAM_PROMPT_SECONDS
from common.versions import FLOW_MATCHING_VERSIONS
from core.access import Caller
from core.errors import InvalidRequest, NotFound, VoiceNotFound
from core.records import CheckpointRecord, VoiceRecord
from core.speech.requests import PromptRef, SpeechRequest
from core.speech.sampling import SplitMethod
from core.voices.checks import check_pair

logger = logging.getLogger(__name__)

WEIGHT_ENDINGS: Final = {"gpt": ".ckpt", "sovits": ".pth"}
"""Of the names under which checkpoints are listed."""
_WEIGHT_ENDING: Final = re.compile(r"\.(ckpt|pth|pt|safetensors)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UpstreamText:
    """A text, and how upstream's client wants it spoken."""

    text: str
    language: LanguageCode
    reference: str
    reference_text: str
    reference_language: str
    extra_references: tuple[str, ...]
    split_method: SplitMethod | None
    numbers: UpstreamNumbers


def caller_identity(request: Request) -> str:
    """Return whose choices count: those of the API key, else of the address."""
    caller: Caller = request.state.caller
    context = current_context.get()
    return f"key {caller.key_id}" if caller.key_id else f"address {context.address if context else ''}"


async def find_checkpoint(api: ApiServices, kind: str, path: str) -> CheckpointRecord | None:
    """Return the checkpoint whose id or file name is the last part of a path; None where there is none."""
    name = re.split(r"[/\\]+", path.strip())[-1]
    for candidate in dict.fromkeys((name, _WEIGHT_ENDING.sub("", name))):
        record = await api.records.checkpoints.find_named(kind, candidate) if candidate else None
        if record is not None:
            return record
    return None


async def find_voice(api: ApiServices, path: str) -> VoiceRecord | None:
    """Return the voice whose name is the last part of a path, with or without an ending."""
    name = re.split(r"[/\\]+", path.strip())[-1]
    for candidate in dict.fromkeys((name, _WEIGHT_ENDING.sub("", name))):
        try:
            return await api.records.voices.get(candidate)
        except VoiceNotFound:
            continue
    return None


async def spoken_version(api: ApiServices, session: CallerSession, reference: str) -> str:
    """Return the version of the model that a reference would be spoken with; never an error."""
    try:
        if session.sovits_checkpoint_id:
            return (await api.records.checkpoints.get(session.sovits_checkpoint_id)).version
        voice = await _voice_of(api, reference)
    except NotFound:
        voice = None
    try:
        return (voice or await api.speech.voices.newest()).version
    except VoiceNotFound:
        return "nano"


async def speech_request(api: ApiServices, session: CallerSession, item: UpstreamText) -> SpeechRequest:
    """Return the request for our own service.

    Raises:
        NotFound: the reference or a chosen checkpoint does not exist.
        InvalidRequest: the checkpoints, the reference or the text cannot be used.
    """
    reference = await api.references.find(item.reference)
    prompt: PromptRef | None = None
    prompt_name = ""
    if isinstance(reference, VoiceReference):
        voice, prompt_name = reference.voice, str(reference.prompt.get("name", ""))
    else:
        voice = await api.speech.voices.newest(item.text, item.language)
        prompt = await api.references.prompt(
            reference, item.reference_text.strip(), item.reference_language, UPSTREAM_PROMPT_SECONDS
        )
    version = await _checked_version(api, session, voice)
    flows = version in FLOW_MATCHING_VERSIONS
    if flows and prompt is not None and not prompt.text:
        raise InvalidRequest(f"{version} needs the transcript of its reference recording.", hint="Send prompt_text.")
    if flows and item.extra_references:
        logger.warning(
            "%s continues one reference recording; %d more are ignored.", version, len(item.extra_references)
        )
    _note_language(voice, item.language)
    return await api.speech.request(
        item.text,
        voice,
        SpeechOptions(
            language=item.language,
            speed=item.numbers.speed_factor,
            seed=item.numbers.seed,
            prompt=prompt,
            prompt_name=prompt_name,
            input_type="text",
            extra_references=() if flows else item.extra_references,
            gpt_checkpoint_id=session.gpt_checkpoint_id,
            sovits_checkpoint_id=session.sovits_checkpoint_id,
            sampling=item.numbers.sampling_options(),
            text_split_method=item.split_method,
            sample_rate=item.numbers.sample_rate or 0,
        ),
    )


async def _voice_of(api: ApiServices, path: str) -> VoiceRecord | None:
    reference = await api.references.find(path)
    return reference.voice if isinstance(reference, VoiceReference) else None


async def _checked_version(api: ApiServices, session: CallerSession, voice: VoiceRecord) -> str:
    """Return the version that speaks; raise unless the chosen checkpoints and the voice's own belong together."""
    if not session.gpt_checkpoint_id and not session.sovits_checkpoint_id:
        return voice.version
    gpt = await api.records.checkpoints.get(session.gpt_checkpoint_id or voice.gpt_checkpoint_id)
    sovits = await api.records.checkpoints.get(session.sovits_checkpoint_id or voice.sovits_checkpoint_id)
    await asyncio.to_thread(check_pair, gpt, sovits, api.storage)
    return sovits.version


def _note_language(voice: VoiceRecord, language: LanguageCode) -> None:
    own, spoken = single_language(voice.language), single_language(language)
    if own and spoken and own != spoken:
        logger.warning("The voice %s is of the language %s and speaks %s.", voice.name, own, spoken)
