"""Upstream's first interface (`api.py`): its fields, its choices, its errors with `code`."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.upstream.audio import file_response
from api.dialects.upstream.errors import BadField, RequestFailed
from api.dialects.upstream.fields import Values, read_list, read_numbers, read_text, read_values, supported_languages
from api.dialects.upstream.routes import SPEECH_ONLY, choose_weights
from api.dialects.upstream.selection import UpstreamText, caller_identity, spoken_version
from api.dialects.upstream.speaking import FAILURE, speech_audio
from api.http.responses import JsonResponse
from api.services.caller_sessions import CallerSession
from common.languages import LanguageCode, find_language
from core.errors import SovitsError

router = APIRouter(tags=["GPT-SoVITS api v1"], dependencies=[SPEECH_ONLY])

SUCCESS: Final = {"code": 0, "message": "Success"}
RENAMED: Final = {"speed": "speed_factor", "if_sr": "super_sampling"}
"""Fields that api_v2 has under another name."""


class CodeView(TypedDict):
    """It was done."""

    code: int
    message: str


@router.get("/change_refer", response_model=CodeView)
@router.post("/change_refer", response_model=CodeView)
async def change_refer(request: Request, api: Api) -> Response:
    """Choose the reference, its transcript and its language for this caller's next requests."""
    values = await read_values(request)
    names = {
        "refer_wav_path": "reference",
        "prompt_text": "reference_text",
        "prompt_language": "reference_language",
    }
    choices = {choice: read_text(values, name).strip() for name, choice in names.items()}
    choices = {choice: value for choice, value in choices.items() if value}
    if not choices:
        raise BadField(f"One of {', '.join(names)} is required")
    if reference := choices.get("reference"):
        try:
            await api.references.find(reference)
        except SovitsError as error:
            raise RequestFailed("The reference was not changed.", error) from None
    await api.sessions.update(caller_identity(request), **choices)
    return JsonResponse(SUCCESS)


@router.get("/set_model", response_model=CodeView)
@router.post("/set_model", response_model=CodeView)
async def set_model(request: Request, api: Api) -> Response:
    """Choose a GPT checkpoint, a SoVITS checkpoint or both for this caller's next requests."""
    values = await read_values(request)
    paths = {kind: read_text(values, f"{kind}_model_path").strip() for kind in ("gpt", "sovits")}
    if not any(paths.values()):
        raise BadField("gpt_model_path or sovits_model_path is required")
    for kind, path in paths.items():
        if path:
            await choose_weights(api, request, kind, path, f"The {kind} model was not changed.")
    return JsonResponse(SUCCESS)


async def v1_response(api: ApiServices, request: Request, values: Values) -> Response:
    """Speak a text of the first interface: a WAV, sent as a stream when it is complete."""
    session = await api.sessions.get(caller_identity(request))
    item = await _read_text(api, session, values)
    audio = await speech_audio(api, session, item)
    try:
        return await file_response(request, audio, "wav", api.speech.marks, as_stream=True)
    except SovitsError as error:
        raise RequestFailed(FAILURE, error) from None


async def _read_text(api: ApiServices, session: CallerSession, values: Values) -> UpstreamText:
    text = read_text(values, "text")
    if not text.strip():
        raise BadField("text is required")
    reference = {
        "reference": read_text(values, "refer_wav_path").strip(),
        "reference_text": read_text(values, "prompt_text").strip(),
        "reference_language": read_text(values, "prompt_language").strip(),
    }
    if not all(reference.values()) and (session.reference or not reference["reference"]):
        reference = {name: getattr(session, name) for name in reference}
    if not reference["reference"]:
        raise BadField("No reference was sent, and none was chosen: refer_wav_path is required")
    version = await spoken_version(api, session, reference["reference"])
    language = _read_language(read_text(values, "text_language"), "text_language", version)
    reference["reference_language"] = _read_language(reference["reference_language"], "prompt_language", version)
    renamed = {RENAMED.get(name, name): value for name, value in values.items()}
    marks = read_text(values, "cut_punc")
    return UpstreamText(
        text=_cut_at(text, marks) if marks.strip() else text,
        language=language,
        **reference,
        extra_references=read_list(values, "inp_refs"),
        split_method="cut0" if marks.strip() else None,
        numbers=read_numbers(renamed),
    )


def _read_language(name: str, field: str, version: str) -> LanguageCode:
    """Return the code of a language, `auto` for none; names are codes, or upstream's Chinese ones."""
    code = find_language(name)
    if code is None or code not in supported_languages(version):
        raise BadField(f"{field}: {name[:40]} is not supported in version {version}")
    return code


def _cut_at(text: str, marks: str) -> str:
    """Return the text with a line for each piece that ends in one of the marks; a decimal is not cut."""
    marks_class = re.escape(marks.replace(" ", ""))
    return re.sub(rf"([{marks_class}]+)(?!(?<=\d[.,])\d)[^\S\n]*", r"\1\n", text)
