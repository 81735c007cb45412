"""What a voice may consist of: names, prompts and two compatible checkpoints. No weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from common.versions import gpt_family
from core.errors import Conflict, InvalidParameter, InvalidRequest
from core.records import CheckpointRecord
from core.storage import Storage

MAX_NAME_LENGTH: Final = 100
MAX_PROMPT_TEXT_LENGTH: Final = 1000
"""Characters of a prompt's transcript; 30 s of fast speech have about 500."""
MAX_DESCRIPTION_LENGTH: Final = 300
"""Characters of what a prompt's manner is like."""
MAX_PROMPTS: Final = 50
MAX_HEADER_BYTES: Final = 64 << 20


def check_name(name: str) -> str:
    """Return the name of a voice or prompt without surrounding whitespace.

    Raises:
        InvalidRequest: it is empty, too long, not printable, or no single part of a path.
    """
    stripped = check_stored_name(name)
    if "/" in stripped or stripped in (".", ".."):
        raise InvalidRequest(
            f"The name {stripped!r} could not be requested by its path.", hint="Names have no slash; write - instead."
        )
    return stripped


def check_stored_name(name: str) -> str:
    """Return a name that an older version may have accepted, without surrounding whitespace.

    Raises:
        InvalidRequest: it is empty, too long or not printable.
    """
    stripped = name.strip()
    if not stripped or not stripped.isprintable():
        raise InvalidRequest("A name needs a visible character, and nothing but such.")
    if len(stripped) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"The name has {len(stripped)} characters; {MAX_NAME_LENGTH} is the most.")
    return stripped


def check_prompt_names(names: Sequence[str]) -> None:
    """Raise unless there are at most `MAX_PROMPTS` names, all different whatever their case.

    Raises:
        InvalidRequest: too many.
        Conflict: two have the same name.
    """
    if len(names) > MAX_PROMPTS:
        raise InvalidRequest(f"A voice has up to {MAX_PROMPTS} prompts; these are {len(names)}.")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise Conflict(f"The voice has two prompts named {name!r}.", hint="Give each a name of its own.")
        seen.add(name.casefold())


def check_pair(gpt: CheckpointRecord, sovits: CheckpointRecord, storage: Storage) -> None:
    """Raise unless two checkpoints can form a voice; only the headers of their files are read. Blocks.

    Raises:
        InvalidParameter: another kind, family or number of semantic tokens than expected.
        Conflict: a file is missing or damaged.
    """
    for record, kind in ((gpt, "gpt"), (sovits, "sovits")):
        if record.kind != kind:
            raise InvalidParameter(f"The checkpoint {record.id} is a {record.kind}; a {kind} was expected.")
    if gpt_family(gpt.version) != gpt_family(sovits.version):
        raise InvalidParameter(
            f"The GPT checkpoint is {gpt.version}, the SoVITS checkpoint {sovits.version}; one family is needed.",
            hint="v1 and nano have GPTs of their own; all other versions share those of v2.",
        )
    gpt_tokens = _gpt_token_count(_read_header(gpt, storage))
    sovits_tokens = _sovits_token_count(_read_header(sovits, storage))
    if gpt_tokens is not None and sovits_tokens is not None and gpt_tokens != sovits_tokens:
        raise InvalidParameter(
            f"The GPT checkpoint speaks {gpt_tokens} semantic tokens, the SoVITS checkpoint knows {sovits_tokens}.",
            hint="Take two checkpoints of one experiment, or of one base.",
        )


def _read_header(record: CheckpointRecord, storage: Storage) -> dict[str, Any]:
    """Return the JSON header of a checkpoint's safetensors file."""
    path = storage.path(record.storage_key)
    if not path.is_file():
        raise Conflict(f"The weights of the checkpoint {record.id} are gone.", hint="Delete it, and train it again.")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        block = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(block)
    except (ValueError, RecursionError):
        raise Conflict(f"The weights of the checkpoint {record.id} are damaged.", hint="Train it again.") from None
    return header if isinstance(header, dict) else {}


def _gpt_token_count(header: dict[str, Any]) -> int | None:
    """Return the number of semantic tokens of a GPT; None when the header does not say."""
    try:
        return int(json.loads(header["__metadata__"]["sovitsd"])["config"]["model"]["EOS"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _sovits_token_count(header: dict[str, Any]) -> int | None:
    """Return the size of a SoVITS model's codebook; None when it has not exactly one."""
    shapes = [entry["shape"] for name, entry in header.items() if name.endswith("_codebook.embed")]
    return int(shapes[0][0]) if len(shapes) == 1 and shapes[0] else None
