"""What a voice may be made of: names, prompts, two checkpoints that understand each other. No weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from core.errors import Conflict, InvalidParameter, InvalidRequest
from core.records import CheckpointRecord
from core.storage import Storage

LONGEST_NAME: Final = 100
LONGEST_TEXT: Final = 1000
"""Characters of what a prompt says; 30 s of fast speech have about 500."""
MAX_PROMPTS: Final = 50
MAX_HEADER_BYTES: Final = 64 << 20
PROMPT_SECONDS: Final = {"nano": (1.0, 30.0)}
OFFICIAL_PROMPT_SECONDS: Final = (3.0, 10.0)
"""Shortest and longest prompt of the other versions, which were trained on such."""


def check_name(name: str) -> str:
    """A voice's or a prompt's name, without spaces around it; InvalidRequest for one that cannot be shown."""
    stripped = name.strip()
    if not stripped or not stripped.isprintable():
        raise InvalidRequest("A name needs a visible character, and nothing but such.")
    if len(stripped) > LONGEST_NAME:
        raise InvalidRequest(f"The name has {len(stripped)} characters; {LONGEST_NAME} is the most.")
    return stripped


def prompt_seconds(version: str) -> tuple[float, float]:
    """Shortest and longest prompt of a version."""
    return PROMPT_SECONDS.get(version, OFFICIAL_PROMPT_SECONDS)


def family(version: str) -> str:
    """Which GPTs a version understands: v1 and nano have their own, all others share those of v2."""
    return version if version in ("v1", "nano") else "v2"


def check_prompt_names(names: Sequence[str]) -> None:
    """Refuse two of the same name, in any case of letters, and more than a voice may have."""
    if len(names) > MAX_PROMPTS:
        raise InvalidRequest(f"A voice has up to {MAX_PROMPTS} prompts; these are {len(names)}.")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise Conflict(f"The voice has two prompts named {name!r}.", hint="Give each a name of its own.")
        seen.add(name.casefold())


def check_pair(gpt: CheckpointRecord, sovits: CheckpointRecord, storage: Storage) -> None:
    """Refuse two checkpoints that cannot be one voice. Blocks; only the headers of the files are read."""
    for record, kind in ((gpt, "gpt"), (sovits, "sovits")):
        if record.kind != kind:
            raise InvalidParameter(f"The checkpoint {record.id} is a {record.kind}; a {kind} was expected.")
    if family(gpt.version) != family(sovits.version):
        raise InvalidParameter(
            f"The GPT checkpoint is {gpt.version}, the SoVITS checkpoint {sovits.version}; one family is needed.",
            hint="v1 and nano have GPTs of their own; all other versions share those of v2.",
        )
    spoken = _spoken_tokens(_header(gpt, storage))
    known = _known_tokens(_header(sovits, storage))
    if spoken is not None and known is not None and spoken != known:
        raise InvalidParameter(
            f"The GPT checkpoint speaks {spoken} semantic tokens, the SoVITS checkpoint knows {known}.",
            hint="Take two checkpoints of one experiment, or of one base.",
        )


def _header(record: CheckpointRecord, storage: Storage) -> dict[str, Any]:
    """The JSON that a safetensors file begins with."""
    path = storage.path(record.storage_key)
    if not path.is_file():
        raise Conflict(f"The weights of the checkpoint {record.id} are gone.", hint="Delete it, and train it again.")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        block = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(block)
    except ValueError:
        raise Conflict(f"The weights of the checkpoint {record.id} are damaged.", hint="Train it again.") from None
    return header if isinstance(header, dict) else {}


def _spoken_tokens(header: dict[str, Any]) -> int | None:
    try:
        return int(json.loads(header["__metadata__"]["sovitsd"])["config"]["model"]["EOS"])
    except (KeyError, TypeError, ValueError):
        return None


def _known_tokens(header: dict[str, Any]) -> int | None:
    shapes = [entry["shape"] for name, entry in header.items() if name.endswith("_codebook.embed")]
    return int(shapes[0][0]) if len(shapes) == 1 and shapes[0] else None
