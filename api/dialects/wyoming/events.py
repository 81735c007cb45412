"""Events of the Wyoming protocol: a line of JSON, more JSON, and bytes; the lengths of both are in the line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from core.errors import InvalidRequest

MAX_LINE_BYTES: Final = 1 << 16
MAX_DATA_BYTES: Final = 1 << 20
PROTOCOL_VERSION: Final = "1.5.4"


@dataclass(frozen=True, slots=True)
class WyomingEvent:
    """An event without its bytes, which no event that a client sends for speech has."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


async def read_event(reader: asyncio.StreamReader) -> WyomingEvent | None:
    """Return the next event; None at the end. Raises InvalidRequest for what is none, or too long."""
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise InvalidRequest(f"An event's line has at most {MAX_LINE_BYTES} bytes.") from None
    try:
        header = orjson.loads(line)
        data_length, payload_length = (int(header.get(name) or 0) for name in ("data_length", "payload_length"))
        if not isinstance(header["type"], str) or min(data_length, payload_length) < 0:
            raise ValueError
        if max(data_length, payload_length) > MAX_DATA_BYTES:
            raise InvalidRequest(f"The data of an event has at most {MAX_DATA_BYTES:,} bytes.")
        data = dict(header.get("data") or {})
        if data_length:
            data |= orjson.loads(await reader.readexactly(data_length))
        await reader.readexactly(payload_length)
    except asyncio.IncompleteReadError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidRequest("This is no event of the Wyoming protocol.") from None
    return WyomingEvent(header["type"], data)


async def write_event(
    writer: asyncio.StreamWriter, kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b""
) -> None:
    """Send an event, and wait while the client is slower."""
    encoded = orjson.dumps(data) if data else b""
    header: dict[str, Any] = {"type": kind, "version": PROTOCOL_VERSION}
    if encoded:
        header["data_length"] = len(encoded)
    if payload:
        header["payload_length"] = len(payload)
    writer.write(orjson.dumps(header) + b"\n" + encoded + payload)
    await writer.drain()
