"""Voices as the API shows them, and what may be said of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from core.records import VoiceRecord, iso
from core.voices.checks import MAX_NAME_LENGTH, MAX_PROMPT_TEXT_LENGTH, MAX_PROMPTS


class PromptView(TypedDict):
    """A reference recording of a voice."""

    name: str
    text: str
    language: str


class VoiceView(TypedDict):
    """A voice."""

    id: str
    name: str
    version: str
    language: str
    prompts: list[PromptView]
    pronunciations: dict[str, str]
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    exp_id: str | None
    created_at: str | None


class VoicePage(TypedDict):
    items: list[VoiceView]
    total: int
    limit: int
    offset: int


class Body(BaseModel):
    """What is not named is refused."""

    model_config = ConfigDict(extra="forbid")


class NewPrompt(Body):
    """A reference recording and what it says."""

    name: str = Field("default", min_length=1, max_length=MAX_NAME_LENGTH, description="An emotion, for example.")
    file_id: str = Field(max_length=64, description="A recording from POST /files.")
    text: str = Field(min_length=1, max_length=MAX_PROMPT_TEXT_LENGTH, description="What is said in it.")
    language: str = Field("auto", max_length=40)


class PromptChange(Body):
    """What can be changed of a prompt; another recording is another prompt."""

    name: str | None = Field(None, min_length=1, max_length=MAX_NAME_LENGTH)
    text: str | None = Field(None, min_length=1, max_length=MAX_PROMPT_TEXT_LENGTH)
    language: str | None = Field(None, max_length=40)


class NewVoice(Body):
    """A voice of two checkpoints and its prompts, the first of which is the default."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    gpt_checkpoint_id: str = Field(max_length=64, description="From GET /models, type gpt.")
    sovits_checkpoint_id: str = Field(max_length=64, description="From GET /models, type sovits.")
    prompts: list[NewPrompt] = Field(min_length=1, max_length=MAX_PROMPTS)
    language: str | None = Field(None, max_length=40, description="Without one, that of the first prompt.")
    pronunciations: dict[str, str] = Field({}, description="Word → reading.")


class VoiceChange(Body):
    """What can be changed of a voice."""

    name: str | None = Field(None, min_length=1, max_length=MAX_NAME_LENGTH)
    language: str | None = Field(None, max_length=40)
    pronunciations: dict[str, str] | None = Field(None, description="Word → reading; in place of all that it had.")
    default_prompt: str | None = Field(None, max_length=MAX_NAME_LENGTH, description="The prompt that speaks unasked.")
    gpt_checkpoint_id: str | None = Field(None, max_length=64, description="Another epoch, for example.")
    sovits_checkpoint_id: str | None = Field(None, max_length=64)


def voice_view(voice: VoiceRecord) -> VoiceView:
    return {
        "id": voice.id,
        "name": voice.name,
        "version": voice.version,
        "language": voice.language,
        "prompts": [
            {
                "name": str(prompt.get("name", "")),
                "text": str(prompt.get("text", "")),
                "language": str(prompt.get("language", "")),
            }
            for prompt in voice.prompts
        ],
        "pronunciations": voice.pronunciations,
        "gpt_checkpoint_id": voice.gpt_checkpoint_id,
        "sovits_checkpoint_id": voice.sovits_checkpoint_id,
        "exp_id": voice.exp_id,
        "created_at": iso(voice.created_at),
    }
