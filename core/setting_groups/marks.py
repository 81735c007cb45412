"""Settings of what speech says of itself, and of the consent of speakers."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from core.setting_values import OptionalPath

NO_NOTICE: Final = "off"
RHYTHM: Final = "rhythm"
MAX_NOTICE_CHARACTERS: Final = 200
"""Of the text that is spoken before speech."""


class MarkSettings(BaseSettings):
    """Marks, consent and provenance."""

    mark_watermark: bool = True
    """Whether speech carries a watermark that says that it is synthetic."""
    mark_metadata: bool = True
    """Whether speech carries metadata that say so: the field AIGC, and Content Credentials (C2PA) in finished files."""
    mark_audible: str = NO_NOTICE
    """What is heard before speech: `off`, `rhythm` (the signal of GB 45438-2025), or a text that is spoken."""
    mark_producer: str = ""
    """Who makes the speech, as its metadata say; empty: APP_NAME."""
    mark_propagator: str = ""
    """Who passes the speech on to the public, as its metadata say; empty: not said."""
    mark_key: SecretStr = SecretStr("")
    """Secret of the watermark, the same on every host of an installation; empty: `marks.key` under the data folder."""
    mark_certificate: OptionalPath = None
    """PEM file with a private key (P-256) and its chain of certificates that sign Content Credentials; empty:
    `content-credentials.pem` under the data folder, which is made."""
    require_consent: bool = False
    """Whether a voice needs the consent of its speaker before it is published; voices that exist keep working."""
    consent_statement: str = Field("", max_length=10_000)
    """The operator's statement that the speakers of all voices agreed; counts where a voice has no other consent."""
    consent_check_seconds: float = Field(20.0, gt=0, le=60)
    """How often speech and jobs that run look whether the speakers of their voices still agree."""
    provenance_days: float = Field(180.0, ge=0)
    """Days for which records say which request spoke which audio; 0: none are written."""
    provenance_text: Literal["hash", "text"] = "hash"
    """What these records keep of the text: its SHA-256, or the text as well."""

    @field_validator("mark_audible")
    @classmethod
    def _notice(cls, value: str) -> str:
        value = value.strip()
        if value.lower() in ("", NO_NOTICE, "no", "false", "0"):
            return NO_NOTICE
        if value.lower() in (RHYTHM, "on", "yes", "true", "1"):
            return RHYTHM
        if len(value) > MAX_NOTICE_CHARACTERS:
            raise ValueError(f"a notice has at most {MAX_NOTICE_CHARACTERS} characters; this one has {len(value)}")
        return value

    @property
    def spoken_notice(self) -> str:
        """The text that is spoken before speech; empty where none is."""
        return "" if self.mark_audible in (NO_NOTICE, RHYTHM) else self.mark_audible
