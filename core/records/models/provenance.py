"""Where audio came from: one record for each speech."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProvenance:
    """A speech that has ended."""

    request_id: str
    mark_id: int | None
    voice_id: str
    """Empty for checkpoints that are no voice."""
    gpt_checkpoint_id: str
    """In place of the voice's; empty: its own."""
    sovits_checkpoint_id: str
    time: float
    """When it began, in seconds since the epoch."""
    seconds: float
    text: str
    owner: str | None
    key_id: str


@dataclass(frozen=True, slots=True)
class ProvenanceRecord:
    """The record of a speech."""

    id: str
    request_id: str
    """Of the speech, the inference or the run."""
    mark_id: int | None
    """Payload of its watermark."""
    time: float
    seconds: float
    voice_id: str
    voice_name: str
    gpt_sha256: str
    sovits_sha256: str
    """Of the checkpoints that spoke; empty for those that are gone."""
    key_id: str
    """The API key that was used; empty without one."""
    text_sha256: str
    text: str
    """Empty unless PROVENANCE_TEXT says that it is kept."""
    owner: str | None = None
