"""Spoken consents: what is said, and the jobs that check it and compare its voice with that of a recording."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload

PHRASES: Final = {
    "de": "Ich bin der Eigentümer dieser Stimme und bin damit einverstanden, dass {service} diese Stimme zur "
    "Erstellung eines synthetischen Stimmmodells verwendet.",
    "en": "I am the owner of this voice and I consent to {service} using this voice to create a synthetic voice model.",
    "es": "Soy el propietario de esta voz y doy mi consentimiento para que {service} la utilice para crear un modelo "
    "de voz sintética.",
    "fr": "Je suis le propriétaire de cette voix et j'autorise {service} à utiliser cette voix pour créer un modèle de "
    "voix synthétique.",
    "ja": "私はこの音声の所有者であり、{service}がこの音声を使用して音声合成モデルを作成することを承認します。",
    "ko": "나는 이 음성의 소유자이며 {service}가 이 음성을 사용하여 음성 합성 모델을 생성할 것을 허용합니다.",
    "zh": "我是此声音的拥有者并授权{service}使用此声音创建语音合成模型。",
}
"""What the speaker says, by language; `{service}` is the name of any service."""
NEGATIONS: Final[dict[str, frozenset[str]]] = {
    "de": frozenset({"nicht", "kein", "keine", "keinem", "nie", "niemals"}),
    "en": frozenset({"not", "don't", "doesn't", "never", "no", "cannot", "can't", "won't", "refuse"}),
    "es": frozenset({"no", "nunca", "ni"}),
    "fr": frozenset({"ne", "pas", "n'autorise", "jamais"}),
    "ja": frozenset({"ない", "ません", "せん"}),
    "ko": frozenset({"않", "안합", "못"}),
    "zh": frozenset({"不", "没", "未", "拒"}),
}
"""Words, or parts of them where words are not separated, that turn a phrase into its opposite."""
OTHER_SERVICES: Final = ("OpenAI", "")
"""Names that may be said in place of this service's: what OpenAI's clients show their users, and none."""
MAX_ERROR_RATE: Final = 0.3
"""Words (of Chinese, characters) that may be heard otherwise: recognizers err, and names are heard in many ways."""
MIN_SIMILARITY: Final = 0.7
"""Of a voice to that of the consent: one speaker has about 0.8, two have about 0.6."""
CHECK_SECONDS: Final = 120.0
"""How long a request waits for such a job."""


class ConsentCheckRequest(FileJobPayload):
    """The payload of a job that checks what is said in a recording."""

    kind: Literal[FileJobKind.CHECK_CONSENT] = Field(FileJobKind.CHECK_CONSENT, alias=KIND_FIELD)
    recording: str
    """Storage key of a mono WAV."""
    language: str
    service: str
    """Name of this service, in place of which another one may be said."""


class ConsentCheck(TypedDict):
    """The result of such a job."""

    transcript: str
    error_rate: float


class SpeakerComparisonRequest(FileJobPayload):
    """The payload of a job that compares the voice of a recording with that of a spoken consent."""

    kind: Literal[FileJobKind.COMPARE_SPEAKER] = Field(FileJobKind.COMPARE_SPEAKER, alias=KIND_FIELD)
    recording: str
    consent: str
    """Storage keys of mono WAVs."""
    transcribe: bool = False
    """Whether the words of the recording are needed."""


class SpeakerComparison(TypedDict):
    """The result of such a job."""

    similarity: float
    text: str
    """What the recording says; empty where nobody asked."""
    language: str


def phrase_to_say(language: str, service: str) -> str:
    """Return what the speaker says."""
    return PHRASES[language].format(service=service)
