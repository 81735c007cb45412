"""Published voices."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NotRequired

import orjson
from typing_extensions import TypedDict

from core.access import Visibility
from core.errors import NotFound


class VoicePrompt(TypedDict):
    """A reference recording with its transcript."""

    name: NotRequired[str]
    audio: str
    """Storage key."""
    text: str
    language: str
    description: NotRequired[str]
    """What its manner is like, for those who choose it by instructions."""
    tokens: NotRequired[list[int] | None]
    """Semantic tokens; without them the synthesizer needs a content encoder."""


class VoiceChanges(TypedDict, total=False):
    """New values of a voice's fields."""

    name: str
    version: str
    language: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    prompts: list[VoicePrompt]
    pronunciations: dict[str, str]
    visibility: Visibility
    consent_id: str | None
    loudness: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVoiceRecord:
    """A voice to publish."""

    id: str = ""
    """Empty: a new id."""
    name: str
    version: str
    language: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    prompts: list[VoicePrompt]
    exp_id: str | None = None
    pronunciations: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    """None: the owner of the request or the job that publishes it."""
    consent_id: str | None = None
    """Of the speaker; None: that of the owner's keys or the operator's, where there is one."""
    loudness: float | None = None
    """LUFS that its speech is brought to; None: as the settings say."""


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """A published voice."""

    id: str
    name: str
    """Unique."""
    version: str
    language: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    prompts: list[VoicePrompt]
    """The first one is the default."""
    exp_id: str | None
    created_at: float
    pronunciations: dict[str, str] = field(default_factory=dict)
    """Word → its pronunciation by this voice (docs/text.md)."""
    owner: str | None = None
    """Whose it is; None: nobody's in particular."""
    visibility: Visibility = "shared"
    consent_id: str | None = None
    """Of the speaker: when it is withdrawn or expires, nobody speaks with the voice any more."""
    loudness: float | None = None
    """LUFS that its speech is brought to where a request says none; None: as the settings say."""

    @property
    def stamp(self) -> str:
        """What changes whenever the voice changes: whoever has read a voice of this stamp need not read it again."""
        content = orjson.dumps(
            (self.gpt_checkpoint_id, self.sovits_checkpoint_id, self.version, self.name, self.prompts)
        )
        return hashlib.blake2s(content, digest_size=8).hexdigest()

    @property
    def prompt(self) -> VoicePrompt:
        """The default prompt."""
        return self.prompts[0]

    def prompt_named(self, name: str) -> VoicePrompt:
        """Return the prompt of that name, ignoring case, or the default for an empty name; raise NotFound."""
        for prompt in self.prompts:
            if not name or str(prompt.get("name", "")).casefold() == name.casefold():
                return prompt
        names = ", ".join(str(prompt.get("name", "")) for prompt in self.prompts)
        raise NotFound(f"The voice {self.name} has no prompt {name!r}.", hint=f"Its prompts: {names}.")
