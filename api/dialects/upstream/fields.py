"""The fields of upstream's speech requests, read as its clients send them: numbers in strings, blanks, any case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from fastapi import Request
from pydantic import BeforeValidator, Field, ValidationError

from api.dialects.upstream.errors import BadField
from api.services.speech_fields import SampleRate
from common.languages import LANGUAGE_CODES, LANGUAGE_CODES_OF_V1, LanguageCode, find_language
from common.limits import MAX_SPEED, MIN_SPEED
from core.seed import Seed
from core.speech.sampling import SPLIT_METHODS, SamplingOptions, SplitMethod

MEDIA_TYPES: Final = ("wav", "raw", "ogg", "aac")
STREAMING_MODES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("", "0", "false", "no", "off", "f", "n"), 0),
    **dict.fromkeys(("1", "true", "yes", "on", "t", "y"), 1),
    "2": 2,
    "3": 3,
}

Values = Mapping[str, object]
"""The fields of a request by name."""


class UpstreamNumbers(SamplingOptions):
    """The numbers of a request; `batch_size` and what steers batches in upstream change nothing here."""

    sample_rate: SampleRate | None = None
    speed_factor: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    seed: Annotated[Seed | None, BeforeValidator(lambda value: _seed(value))] = None
    batch_size: int = 1
    batch_threshold: float = 0.75
    split_bucket: bool = True
    parallel_infer: bool = True


@dataclass(frozen=True, slots=True)
class TtsRequest:
    """A speech request of upstream's, read and checked."""

    text: str
    language: LanguageCode
    reference: str
    """A path that names a prompt or an upload."""
    reference_text: str
    reference_language: LanguageCode
    extra_references: tuple[str, ...]
    media_type: str
    streaming_mode: int
    """0: one answer; 1: sentence by sentence; 2 and 3: chunk by chunk."""
    split_method: SplitMethod | None
    numbers: UpstreamNumbers


async def read_tts(values: Values, version_of: Callable[[str], Awaitable[str]]) -> TtsRequest:
    """Check the fields of /tts in upstream's order, with its words; `version_of` tells the version of a reference."""
    reference = read_text(values, "ref_audio_path").strip()
    _require(reference, "ref_audio_path is required")
    text = read_text(values, "text")
    _require(text.strip(), "text is required")
    version = await version_of(reference)
    language = _read_language(values, "text_lang", version)
    reference_language = _read_language(values, "prompt_lang", version)
    media_type = read_text(values, "media_type").strip().lower() or "wav"
    if media_type not in MEDIA_TYPES:
        raise BadField(f"media_type: {media_type[:40]} is not supported")
    return TtsRequest(
        text=text,
        language=language,
        reference=reference,
        reference_text=read_text(values, "prompt_text"),
        reference_language=reference_language,
        extra_references=read_list(values, "aux_ref_audio_paths"),
        media_type=media_type,
        split_method=read_split_method(values),
        streaming_mode=read_streaming_mode(values.get("streaming_mode")),
        numbers=read_numbers(values),
    )


async def read_values(request: Request) -> dict[str, object]:
    """Return the fields of a request: those of its query, and of a JSON object in its body, which win."""
    query = request.query_params
    values: dict[str, object] = {
        name: query.getlist(name) if len(query.getlist(name)) > 1 else query[name] for name in query
    }
    body = await request.body()
    if body.strip():
        try:
            document: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise BadField("The body is no JSON object.", hint="Send fields as JSON, or in the query.")
        values |= document
    return values


def read_text(values: Values, name: str) -> str:
    """Return a field as text; a missing one is empty."""
    value = values.get(name)
    if value is None:
        return ""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = value[-1]  # repeated in a query
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadField(f"{name} is no text")
    return str(value)


def read_list(values: Values, name: str) -> tuple[str, ...]:
    """Return a field with one or several texts, without blank ones."""
    value = values.get(name)
    items: list[object] = value if isinstance(value, list) else [value]
    paths = [item for item in items if isinstance(item, str)]
    if len(paths) < sum(item is not None for item in items):
        raise BadField(f"{name} is no list of paths")
    return tuple(path for path in paths if path.strip())


def read_split_method(values: Values) -> SplitMethod | None:
    """Return the way to cut a text, None where the request names none."""
    name = read_text(values, "text_split_method").strip()
    if not name:
        return None
    for method in SPLIT_METHODS:
        if name == method:
            return method
    raise BadField(f"text_split_method:{name[:40]} is not supported")


def read_streaming_mode(value: object) -> int:
    """Return 0 to 3 for what upstream reads as that; BadField for anything else."""
    name = "" if value is None else str(value).strip().lower()
    mode = STREAMING_MODES.get(name) if isinstance(value, str | int | bool | None) else None
    if mode is None:
        raise BadField(f"streaming_mode: {name[:40]} is not supported; the modes are 0, 1, 2, 3, true and false")
    return mode


def read_numbers(values: Values) -> UpstreamNumbers:
    """Return the numbers of a request; BadField names the first one that is none, or out of range."""
    names = UpstreamNumbers.model_fields
    present = {name: value for name, value in values.items() if name in names and value not in (None, "")}
    try:
        return UpstreamNumbers.model_validate(present)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise BadField(f"{field}: {str(problem['input'])[:40]} is not supported: {problem['msg']}") from None


def supported_languages(version: str) -> tuple[LanguageCode, ...]:
    """Return the codes of the languages that a version speaks."""
    return LANGUAGE_CODES_OF_V1 if version == "v1" else LANGUAGE_CODES


def _read_language(values: Values, field: str, version: str) -> LanguageCode:
    name = read_text(values, field).strip()
    _require(name, f"{field} is required")
    code = find_language(name)
    if code is None or code not in supported_languages(version):
        raise BadField(f"{field}: {name[:40]} is not supported in version {version}")
    return code


def _require(value: str, message: str) -> None:
    if not value:
        raise BadField(message)


def _seed(value: object) -> object:
    """Return None for -1, with which upstream's clients ask for a random seed."""
    return None if value in (-1, -1.0, "-1") else value
