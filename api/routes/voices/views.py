"""Request and response bodies of voices."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.http.schemas import StrictModel
from api.services.voices import PromptRequest, VoiceRequest
from common.versions import spoken_languages
from core.access import Visibility
from core.names import Name
from core.records import VoicePrompt, VoiceRecord, iso
from core.speech.levels import Loudness
from core.voices.checks import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH, MAX_PROMPT_TEXT_LENGTH, MAX_PROMPTS


class PromptView(TypedDict):
    """A reference recording of a voice."""

    name: str
    text: str
    language: str
    description: NotRequired[str]
    """What its manner is like, where somebody said it."""


class VoiceView(TypedDict):
    """A voice."""

    id: str
    name: str
    version: str
    language: str
    languages: list[str]
    """All that its model was taught; another one is spoken with an accent at best."""
    prompts: list[PromptView]
    pronunciations: dict[str, str]
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    exp_id: str | None
    visibility: Visibility
    consent_id: str | None
    """Of the speaker: when it is withdrawn or expires, nobody speaks with the voice."""
    loudness: float | None
    """LUFS that its speech is brought to; null: as SPEECH_LOUDNESS says."""
    created_at: str | None


class CreatePromptBody(StrictModel):
    """A reference recording with its transcript."""

    name: Name = Field("default", min_length=1, max_length=MAX_NAME_LENGTH, description="Name, such as an emotion.")
    file_id: str = Field(max_length=64, description="A recording from POST /files.")
    text: str = Field(min_length=1, max_length=MAX_PROMPT_TEXT_LENGTH, description="Transcript of the recording.")
    language: str = Field("auto", max_length=40)
    description: str = Field(
        "", max_length=MAX_DESCRIPTION_LENGTH, description="What its manner is like, for OpenAI's `instructions`."
    )

    def request(self) -> PromptRequest:
        """Return the request for the service."""
        return PromptRequest(self.name, self.file_id, self.text, self.language, self.description)


class PromptChange(StrictModel):
    """Fields of a prompt to change. Another recording needs a new prompt."""

    name: Name | None = Field(None, min_length=1, max_length=MAX_NAME_LENGTH)
    text: str | None = Field(None, min_length=1, max_length=MAX_PROMPT_TEXT_LENGTH)
    language: str | None = Field(None, max_length=40)
    description: str | None = Field(None, max_length=MAX_DESCRIPTION_LENGTH)


class CreateVoiceBody(StrictModel):
    """A voice of two checkpoints and its prompts, the first of which is the default."""

    name: Name = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    gpt_checkpoint_id: str = Field(max_length=64, description="From GET /models, type gpt.")
    sovits_checkpoint_id: str = Field(max_length=64, description="From GET /models, type sovits.")
    prompts: list[CreatePromptBody] = Field(min_length=1, max_length=MAX_PROMPTS)
    language: str | None = Field(None, max_length=40, description="Default: the language of the first prompt.")
    pronunciations: dict[str, str] = Field({}, description="Word → pronunciation.")
    consent_id: str | None = Field(None, max_length=64, description="From POST /consents: the speaker's consent.")
    loudness: Loudness | None = Field(None, description="LUFS (EBU R128) that its speech is brought to, such as -16.")

    def request(self) -> VoiceRequest:
        """Return the request for the service."""
        return VoiceRequest(
            name=self.name,
            gpt_checkpoint_id=self.gpt_checkpoint_id,
            sovits_checkpoint_id=self.sovits_checkpoint_id,
            prompts=[prompt.request() for prompt in self.prompts],
            language=self.language,
            pronunciations=self.pronunciations,
            consent_id=self.consent_id,
            loudness=self.loudness,
        )


class VoiceChange(StrictModel):
    """Fields of a voice to change."""

    name: Name | None = Field(None, min_length=1, max_length=MAX_NAME_LENGTH)
    language: str | None = Field(None, max_length=40)
    pronunciations: dict[str, str] | None = Field(
        None, description="Word → pronunciation; replaces all pronunciations of the voice."
    )
    default_prompt: str | None = Field(None, max_length=MAX_NAME_LENGTH, description="Name of the new default prompt.")
    gpt_checkpoint_id: str | None = Field(None, max_length=64, description="Another checkpoint, such as another epoch.")
    sovits_checkpoint_id: str | None = Field(None, max_length=64)
    visibility: Visibility | None = Field(
        None,
        description="private: for its owner; shared: for everybody. Only admins share voices and change shared ones.",
    )
    consent_id: str | None = Field(None, max_length=64, description="Another consent of the speaker.")
    loudness: Loudness | Literal["off"] | None = Field(
        None, description="LUFS (EBU R128) that its speech is brought to, such as -16; off: as SPEECH_LOUDNESS says."
    )


def voice_view(voice: VoiceRecord) -> VoiceView:
    """Return a voice as the API shows it."""
    return {
        "id": voice.id,
        "name": voice.name,
        "version": voice.version,
        "language": voice.language,
        "languages": list(spoken_languages(voice.version)),
        "prompts": [_prompt_view(prompt) for prompt in voice.prompts],
        "pronunciations": voice.pronunciations,
        "gpt_checkpoint_id": voice.gpt_checkpoint_id,
        "sovits_checkpoint_id": voice.sovits_checkpoint_id,
        "exp_id": voice.exp_id,
        "visibility": voice.visibility,
        "consent_id": voice.consent_id,
        "loudness": voice.loudness,
        "created_at": iso(voice.created_at),
    }


def _prompt_view(prompt: VoicePrompt) -> PromptView:
    view: PromptView = {
        "name": str(prompt.get("name", "")),
        "text": str(prompt.get("text", "")),
        "language": str(prompt.get("language", "")),
    }
    if prompt.get("description"):
        view["description"] = prompt["description"]
    return view
