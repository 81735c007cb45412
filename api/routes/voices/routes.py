"""Voices: what was published and can speak, with the prompts whose manner they take on."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from api.dependencies import Api, Limit, Offset, Services
from api.http.responses import Json
from api.routes.voices.views import NewPrompt, NewVoice, PromptChange, VoiceChange, VoicePage, VoiceView, voice_view
from core.errors import BadAudio, Conflict, InvalidRequest, NotFound
from core.ids import new_id
from core.records import NewVoiceRecord, VoiceRecord
from core.speech.checks import canonical_language, check_pronunciations
from core.voices.checks import check_name, check_pair, check_prompt_names, prompt_seconds

router = APIRouter(prefix="/voices", tags=["Voices"])


@router.get("", response_model=VoicePage)
async def list_voices(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """The published voices, newest first."""
    page = await api.records.voices.page(limit, offset)
    items = [voice_view(one) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.post("", status_code=201, response_model=VoiceView)
async def create_voice(new: NewVoice, api: Api) -> Response:
    """Make a voice of two checkpoints and its prompts; it can speak at once."""
    name = check_name(new.name)
    check_prompt_names([prompt.name.strip() for prompt in new.prompts])
    check_pronunciations(new.pronunciations)
    language = canonical_language(new.language or new.prompts[0].language)
    if await api.records.voices.has_name(name):
        raise Conflict(f"There is a voice named {name!r} already.", hint="Choose another name.")
    version = await _check_pair(api, new.gpt_checkpoint_id, new.sovits_checkpoint_id)
    voice_id = new_id("voice")
    try:
        prompts = [await _keep_prompt(api, voice_id, version, prompt) for prompt in new.prompts]
        voice = await api.records.voices.create(
            NewVoiceRecord(
                id=voice_id,
                name=name,
                version=version,
                language=language,
                gpt_checkpoint_id=new.gpt_checkpoint_id,
                sovits_checkpoint_id=new.sovits_checkpoint_id,
                prompts=prompts,
                pronunciations=new.pronunciations,
            )
        )
    except BaseException:
        await asyncio.to_thread(api.storage.delete_folder, f"voices/{voice_id}")
        raise
    return Json(voice_view(voice), 201)


@router.get("/{voice}", response_model=VoiceView)
async def get_voice(voice: str, api: Api) -> Response:
    """One voice, by id or by its exact name."""
    return Json(voice_view(await api.records.voices.get(voice)))


@router.patch("/{voice}", response_model=VoiceView)
async def change_voice(voice: str, change: VoiceChange, api: Api) -> Response:
    """Give a voice another name (409 when it is taken), dictionary, default prompt, or other checkpoints."""
    values = change.model_dump(exclude_none=True)
    if not values:
        raise InvalidRequest("Nothing is to be changed.", hint="Send `name`, `pronunciations` or another field.")
    if change.name is not None:
        values["name"] = check_name(change.name)
    if change.language is not None:
        values["language"] = canonical_language(change.language)
    check_pronunciations(change.pronunciations or {})
    first = values.pop("default_prompt", None)
    found = await api.records.voices.get(voice)
    if change.gpt_checkpoint_id is not None or change.sovits_checkpoint_id is not None:
        gpt = change.gpt_checkpoint_id or found.gpt_checkpoint_id
        values["version"] = await _check_pair(api, gpt, change.sovits_checkpoint_id or found.sovits_checkpoint_id)

    def apply(record: VoiceRecord) -> dict[str, Any]:
        prompts = record.prompts
        if first is not None:
            chosen = record.prompt_named(first)
            prompts = [chosen, *(prompt for prompt in prompts if prompt is not chosen)]
        if values.get("sovits_checkpoint_id", record.sovits_checkpoint_id) != record.sovits_checkpoint_id:
            # Another codebook reads the same recordings differently.
            prompts = [{name: value for name, value in prompt.items() if name != "tokens"} for prompt in prompts]
        return {**values, "prompts": prompts}

    return Json(voice_view(await api.records.voices.change(found.id, apply)))


@router.delete("/{voice}", status_code=204)
async def delete_voice(voice: str, api: Api) -> Response:
    """Delete a voice; the checkpoints that it was made of stay."""
    record = await api.records.voices.delete(voice)
    await asyncio.to_thread(api.storage.delete_folder, f"voices/{record.id}")
    return Response(status_code=204)


@router.post("/{voice}/prompts", status_code=201, response_model=VoiceView)
async def add_prompt(voice: str, new: NewPrompt, api: Api) -> Response:
    """Give a voice one more manner to speak in: a speech request picks it by `emotion`."""
    found = await api.records.voices.get(voice)
    check_prompt_names([*_names(found), new.name.strip()])
    prompt = await _keep_prompt(api, found.id, found.version, new)

    def apply(record: VoiceRecord) -> dict[str, Any]:
        check_prompt_names([*_names(record), prompt["name"]])
        return {"prompts": [*record.prompts, prompt]}

    try:
        changed = await api.records.voices.change(found.id, apply)
    except BaseException:
        await asyncio.to_thread(api.storage.delete, prompt["audio"])
        raise
    return Json(voice_view(changed), 201)


@router.patch("/{voice}/prompts/{prompt}", response_model=VoiceView)
async def change_prompt(voice: str, prompt: str, change: PromptChange, api: Api) -> Response:
    """Mend the name, the transcript or the language of a prompt."""
    values = change.model_dump(exclude_none=True)
    if not values:
        raise InvalidRequest("Nothing is to be changed.", hint="Send `name`, `text` or `language`.")
    if change.name is not None:
        values["name"] = check_name(change.name)
    if change.text is not None:
        values["text"] = _check_text(change.text)
    if change.language is not None:
        values["language"] = canonical_language(change.language)

    def apply(record: VoiceRecord) -> dict[str, Any]:
        chosen = record.prompt_named(prompt)
        prompts = [{**one, **values} if one is chosen else one for one in record.prompts]
        check_prompt_names([str(one["name"]) for one in prompts])
        return {"prompts": prompts}

    found = await api.records.voices.get(voice)
    return Json(voice_view(await api.records.voices.change(found.id, apply)))


@router.delete("/{voice}/prompts/{prompt}", status_code=204)
async def delete_prompt(voice: str, prompt: str, api: Api) -> Response:
    """Delete a prompt; a voice keeps its last one (409)."""
    gone: list[dict[str, Any]] = []

    def apply(record: VoiceRecord) -> dict[str, Any]:
        chosen = record.prompt_named(prompt)
        if len(record.prompts) == 1:
            raise Conflict(f"{chosen['name']!r} is the only prompt of {record.name}.", hint="Add another one first.")
        gone[:] = [chosen]
        return {"prompts": [one for one in record.prompts if one is not chosen]}

    found = await api.records.voices.get(voice)
    await api.records.voices.change(found.id, apply)
    if gone[0]["audio"].startswith(f"voices/{found.id}/"):
        await asyncio.to_thread(api.storage.delete, gone[0]["audio"])
    return Response(status_code=204)


@router.get("/{voice}/prompts/{prompt}/audio", response_class=FileResponse)
async def prompt_audio(voice: str, prompt: str, api: Api) -> Response:
    """The recording of a prompt; `Range` is honoured."""
    chosen = (await api.records.voices.get(voice)).prompt_named(prompt)
    path = await asyncio.to_thread(api.storage.path, str(chosen["audio"]))
    if not path.is_file():
        raise NotFound(f"The recording of the prompt {prompt!r} is gone.", hint="Add it again under another name.")
    return FileResponse(path, media_type="audio/wav", headers={"X-Content-Type-Options": "nosniff"})


async def _check_pair(api: Services, gpt_id: str, sovits_id: str) -> str:
    """The version that a voice of the two has."""
    gpt, sovits = await api.records.checkpoints.get(gpt_id), await api.records.checkpoints.get(sovits_id)
    await asyncio.to_thread(check_pair, gpt, sovits, api.storage)
    return sovits.version


async def _keep_prompt(api: Services, voice_id: str, version: str, new: NewPrompt) -> dict[str, Any]:
    """Decode the recording into the voice's folder; what the record says of it."""
    name, text = check_name(new.name), _check_text(new.text)
    canonical_language(new.language)
    file = await api.records.files.get(new.file_id)
    path = await asyncio.to_thread(api.storage.path, file.storage_key)
    key = f"voices/{voice_id}/{new_id('prompt')}.wav"
    try:
        kept = await api.recordings.keep_prompt(path, key, text, new.language, seconds=prompt_seconds(version))
    except BadAudio as error:
        raise type(error)(f"The prompt {name!r}: {error.message}", hint=error.hint, details=error.details) from None
    return {"name": name, **kept.model_dump()}


def _check_text(text: str) -> str:
    if not text.strip() or not all(letter.isprintable() or letter.isspace() for letter in text):
        raise InvalidRequest("What the prompt says is empty or cannot be shown.", hint="Send its words.")
    return text.strip()


def _names(voice: VoiceRecord) -> list[str]:
    return [str(prompt.get("name", "")) for prompt in voice.prompts]
