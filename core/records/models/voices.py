"""Published voices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.errors import NotFound


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
    prompts: list[dict[str, Any]]
    exp_id: str | None = None
    pronunciations: dict[str, str] = field(default_factory=dict)


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
    prompts: list[dict[str, Any]]
    """`{name, audio: storage key, text, language}`; the first one is the default."""
    exp_id: str | None
    created_at: float
    pronunciations: dict[str, str] = field(default_factory=dict)
    """Word → its pronunciation by this voice (docs/text.md)."""

    @property
    def prompt(self) -> dict[str, Any]:
        """The default prompt."""
        return self.prompts[0]

    def prompt_named(self, name: str) -> dict[str, Any]:
        """Return the prompt of that name, ignoring case, or the default for an empty name; raise NotFound."""
        for prompt in self.prompts:
            if not name or str(prompt.get("name", "")).casefold() == name.casefold():
                return prompt
        names = ", ".join(str(prompt.get("name", "")) for prompt in self.prompts)
        raise NotFound(f"The voice {self.name} has no prompt {name!r}.", hint=f"Its prompts: {names}.")
