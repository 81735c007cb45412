"""The label of synthetic speech: the field `AIGC` of GB 45438-2025, appendix E, as files, headers and events carry it.

Its first reserved field is signed with the key of the installation, which so knows its own labels again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Self

FIELD: Final = "AIGC"
"""Name of the field in ID3, Vorbis comments and the list of a WAV."""
SYNTHETIC: Final = "1"
"""The standard's value for what is synthetic for certain."""
TIME_FORMAT: Final = "%Y%m%dT%H%M%SZ"
MAX_CHARACTERS: Final = 10_000
"""Of a label that is read."""
_CODE_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class SpeechLabel:
    """Who made a speech, and in which request."""

    Label: str
    ContentProducer: str
    ProduceID: str
    """Of the request: the id of the speech, the inference or the run."""
    ReservedCode1: str
    """Time and signature."""
    ContentPropagator: str = ""
    PropagateID: str = ""
    ReservedCode2: str = ""

    @classmethod
    def create(cls, key: bytes, producer: str, request_id: str, time: float, propagator: str = "") -> Self:
        """Return the signed label of a request at a time (seconds since the epoch)."""
        stamp = datetime.fromtimestamp(time, UTC).strftime(TIME_FORMAT)
        code = f"{stamp}-{_sign(key, producer, request_id, stamp)}"
        propagate_id = request_id if propagator else ""
        return cls(SYNTHETIC, producer, request_id, code, propagator, propagate_id)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the label that a JSON object says, maybe below the field's name; None for anything else."""
        if len(text) > MAX_CHARACTERS:
            return None
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(fields, dict) and isinstance(fields.get(FIELD), dict):
            fields = fields[FIELD]
        return cls.of_fields(fields) if isinstance(fields, dict) and "Label" in fields else None

    @classmethod
    def of_fields(cls, fields: Mapping[str, object]) -> Self:
        """Return the label with these fields; those that are missing are empty."""
        return cls(**{name: str(fields.get(name) or "") for name in cls.__slots__})

    @property
    def text(self) -> str:
        """The label as a JSON object in one line of ASCII, which headers can carry."""
        return json.dumps(self.fields, separators=(",", ":"))

    @property
    def fields(self) -> dict[str, str]:
        """The fields by the standard's names."""
        return asdict(self)

    @property
    def tags(self) -> Mapping[str, str]:
        """The label as tags of a file."""
        return {FIELD: self.text}

    @property
    def time(self) -> datetime | None:
        """When it was made; None when the code does not say so."""
        try:
            return datetime.strptime(self.ReservedCode1.partition("-")[0], TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return None

    def is_signed_with(self, key: bytes) -> bool:
        """Return whether the installation with this key made it, and nobody changed producer, request or time."""
        stamp, _, signature = self.ReservedCode1.partition("-")
        expected = _sign(key, self.ContentProducer, self.ProduceID, stamp)
        return hmac.compare_digest(signature.encode(), expected.encode())


def tags_of(label: SpeechLabel | None) -> Mapping[str, str]:
    """Return the tags of a file with this label; none without one."""
    return {} if label is None else label.tags


def label_of_tags(tags: Mapping[str, str]) -> SpeechLabel | None:
    """Return the label among the tags of a file; None where there is none."""
    for name, text in tags.items():
        # A library without names of our own writes NAME=TEXT as a comment.
        content = text if name.upper() == FIELD else text.removeprefix(f"{FIELD}=") if text.startswith(FIELD) else ""
        if content and (label := SpeechLabel.parse(content)):
            return label
    return None


def _sign(key: bytes, *parts: str) -> str:
    message = "\0".join(("label", *parts)).encode("utf-8", "surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:_CODE_DIGITS]
