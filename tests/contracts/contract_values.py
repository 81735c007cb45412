"""Whether a value is what a contract says."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
"""ISO 8601 with a zone."""
JSON_NAMES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


def faults_of(spec: Any, value: Any, place: str) -> Iterator[str]:
    """Yield the differences; a field that nobody asked for is no fault."""
    if isinstance(spec, dict) and "$type" in spec:
        yield from _faults_of_type(spec, value, place)
    elif isinstance(spec, dict):
        if not isinstance(value, dict):
            yield f"{place or 'response'}: {_kind(value)}, not an object"
            return
        for key, inner in spec.items():
            where = f"{place}.{key}" if place else key
            if key in value:
                yield from faults_of(inner, value[key], where)
            elif not (isinstance(inner, dict) and inner.get("optional")):
                yield f"{where}: missing"
    elif isinstance(spec, list):
        if not isinstance(value, list) or len(value) != len(spec):
            yield f"{place}: {_short(value)}, not {_short(spec)}"
            return
        for index, inner in enumerate(spec):
            yield from faults_of(inner, value[index], f"{place}[{index}]")
    elif spec != value or isinstance(spec, bool) != isinstance(value, bool):
        yield f"{place}: {_short(value)}, not {_short(spec)}"


def _faults_of_type(spec: dict[str, Any], value: Any, place: str) -> Iterator[str]:
    kind = spec["$type"]
    if kind == "any" or (value is None and spec.get("nullable")):
        return
    is_right = {
        "string": isinstance(value, str),
        "time": isinstance(value, str) and TIME.fullmatch(value) is not None,
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
    }[kind]
    if not is_right:
        yield f"{place}: {_kind(value)} {_short(value)}, not {kind}"
        return
    number = value if isinstance(value, int | float) else 0
    if "enum" in spec and value not in spec["enum"]:
        yield f"{place}: {_short(value)}, none of {spec['enum']}"
    if not spec.get("min", -math.inf) <= number <= spec.get("max", math.inf):
        yield f"{place}: {value} is out of {spec.get('min')}..{spec.get('max')}"
    if "pattern" in spec and not re.search(spec["pattern"], value):
        yield f"{place}: {_short(value)} does not look like {spec['pattern']}"
    if "contains" in spec and spec["contains"].lower() not in value.lower():
        yield f"{place}: {_short(value)} lacks {spec['contains']!r}"
    if kind == "array":
        if len(value) < spec.get("min_items", 0):
            yield f"{place}: {len(value)} items, not {spec['min_items']}"
        for index, item in enumerate(value if "items" in spec else []):
            yield from faults_of(spec["items"], item, f"{place}[{index}]")
    if kind == "object" and "values" in spec:
        for key, item in value.items():
            yield from faults_of(spec["values"], item, f"{place}.{key}")


def audio_faults(spec: dict[str, Any], data: bytes) -> Iterator[str]:
    """Yield what is wrong with an audio file; the sizes in a WAV header count only where they are asked for."""
    audio_format = spec.get("format", "any")
    is_right = {
        "wav": data[:4] == b"RIFF" and data[8:12] == b"WAVE",
        "ogg": data[:4] == b"OggS",
        "aac": len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0,
        "mp3": data[:3] == b"ID3" or (len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0),
        "raw": len(data) % 2 == 0 and data[:4] not in (b"RIFF", b"OggS"),
        "any": True,
    }[audio_format]
    if not is_right or len(data) <= 400:
        yield f"{len(data)} bytes beginning {data[:8]!r} are no {audio_format}"
        return
    if spec.get("wav_sizes") == "exact":
        chunk = data.find(b"data")
        riff_size, data_size = struct.unpack("<I", data[4:8])[0], struct.unpack("<I", data[chunk + 4 : chunk + 8])[0]
        if riff_size != len(data) - 8 or data_size > len(data) - chunk - 8:
            yield f"the header says {riff_size} and {data_size} bytes, the file has {len(data)}"
            return
    if "bits" in spec and audio_format == "wav" and data[34] != spec["bits"]:
        yield f"{data[34]} bits per sample, not {spec['bits']}"


def _kind(value: Any) -> str:
    return JSON_NAMES.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 70 else text[:66] + " ..."
