"""Spoken consents and voices of samples by OpenAI's own client, with the workers that listen and speak."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
import soxr
from api_support import Api, eventually, running
from bundled_speech import ALLISON, RATE, speech

from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES, SYNTHESIZER
from core.records import Records
from core.settings import Settings
from core.storage import Storage
from core.voices.consent_jobs import phrase_to_say
from GPT_SoVITS.pipeline import Pipeline
from roles.files import Files
from roles.runtime.role import Role
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker
from roles.synthesizer import Synthesizer
from supervisor.bundled_voices import publish_bundled_voices

pytestmark = pytest.mark.slow
BASE = Path(__file__).resolve().parents[3] / "GPT_SoVITS" / "base"


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="wav", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def say() -> Any:
    """Return a function that makes a recording of the bundled speaker who says something."""
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    prompt = pipeline.prepare_prompt(ALLISON / "prompt.wav", "", "en")
    return lambda text: wav(pipeline.speak(text, "en", prompt, seed=2).samples)


@pytest.fixture(scope="module")
def consent_recording(say: Any) -> bytes:
    recording: bytes = say(phrase_to_say("en", "OpenAI"))
    return recording


SAMPLE = (ALLISON / "prompt.wav").read_bytes()
OTHER_SPEAKER = wav(soxr.resample(speech("announce.wav"), RATE, round(0.8 * RATE)))
"""As a recording that is played too fast sounds."""


@pytest.fixture
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Whose recognizer is put together once."""
    models = tmp_path_factory.getbasetemp() / "consent-models"
    return settings.model_copy(update={"models_dir": str(models)})


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings) as api:
        yield api


def _working(role: Role, settings: Settings) -> Iterator[None]:
    services = WorkerServices(settings, settings.redis_url)
    worker = Worker(role, services, f"{role.name}-test-1-consent")
    role.start(services)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield
    worker.drain()
    thread.join(60)
    services.close()
    assert not thread.is_alive()


@pytest.fixture
async def files_worker(settings: Settings, queue: AsyncQueue) -> AsyncIterator[None]:
    for _ in _working(Files(), settings):
        await eventually(lambda: _has(queue, FILES), 60)
        yield


@pytest.fixture
async def synthesizer(settings: Settings, queue: AsyncQueue) -> AsyncIterator[None]:
    for _ in _working(Synthesizer(), settings):
        await eventually(lambda: _has(queue, SYNTHESIZER), 120)
        yield


async def _has(queue: AsyncQueue, role: str) -> bool:
    return any(worker.role == role for worker in await queue.workers())


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_a_consent_and_a_sample_become_a_voice_that_speaks_until_it_is_withdrawn(
    sdk: openai.AsyncOpenAI,
    api: Api,
    records: Records,
    files_worker: None,
    synthesizer: None,
    consent_recording: bytes,
    settings: Settings,
) -> None:
    storage = Storage(settings.storage_root)
    await publish_bundled_voices(settings, records, storage)

    consent = await sdk.audio.voice_consents.create(
        name="Allison's", language="en-US", recording=("consent.wav", consent_recording)
    )
    voice = await sdk.audio.voices.create(name="Ally", consent=consent.id, audio_sample=("sample.wav", SAMPLE))
    record = await records.voices.get("Ally")
    audio = await sdk.audio.speech.create(model="nano", voice=voice.id, input="Hello.", response_format="wav")
    samples, _ = soundfile.read(io.BytesIO(audio.content))
    listed = [item.id async for item in sdk.audio.voice_consents.list(limit=1)]
    renamed = await sdk.audio.voice_consents.update(consent.id, name="Hers")
    stored = (await api.client.get(f"/api/v1/consents/{consent.id}")).json()
    recording = await api.client.get(f"/api/v1/consents/{consent.id}/recording")
    deleted = await sdk.audio.voice_consents.delete(consent.id)

    assert (consent.object, consent.language, consent.name) == ("audio.voice_consent", "en-US", "Allison's")
    assert (voice.object, voice.id, record.version, record.consent_id) == ("audio.voice", record.id, "nano", consent.id)
    assert "not in service" in record.prompts[0]["text"]
    assert np.abs(samples).max() > 0.1
    assert len(samples) > RATE // 4
    assert (listed, renamed.name, deleted.deleted) == ([consent.id], "Hers", True)
    assert "consent to" in stored["statement"]
    assert (stored["source"], stored["spoken"], recording.content[:4]) == ("recording", True, b"RIFF")
    with pytest.raises(openai.PermissionDeniedError, match="was withdrawn"):
        await sdk.audio.speech.create(model="nano", voice=voice.id, input="Hello.")
    with pytest.raises(openai.NotFoundError, match="no spoken consent"):
        await sdk.audio.voice_consents.retrieve(consent.id)
    assert (await api.client.get(f"/api/v1/consents/{consent.id}/recording")).status_code == 404
    assert [item.id async for item in sdk.audio.voice_consents.list()] == []


async def test_what_is_no_consent_leaves_nothing_behind(
    sdk: openai.AsyncOpenAI, files_worker: None, say: Any, settings: Settings, records: Records
) -> None:
    refusal = say(phrase_to_say("en", "OpenAI").replace("I consent", "I do not consent"))
    for recording, message in (
        (SAMPLE, "not the phrase of a consent.*Say: I am the owner of this voice"),
        (refusal, "not the phrase of a consent"),
        (wav(np.zeros(2 * RATE)), "Nothing can be heard"),
        (b"no audio at all" * 100, "no sound file that can be read"),
    ):
        with pytest.raises(openai.BadRequestError, match=message):
            await sdk.audio.voice_consents.create(name="A", language="en-US", recording=("a.wav", recording))
    with pytest.raises(openai.BadRequestError, match="no phrase of a consent in the language 'xx'"):
        await sdk.audio.voice_consents.create(name="A", language="xx", recording=("a.wav", SAMPLE))

    assert (await records.consents.page()).total == 0
    assert not [path for path in (settings.storage_root / "consents").rglob("*") if path.is_file()]


async def test_another_speaker_gets_no_voice_and_no_voice_gets_another_speakers_consent(
    sdk: openai.AsyncOpenAI,
    api: Api,
    records: Records,
    files_worker: None,
    consent_recording: bytes,
    settings: Settings,
) -> None:
    storage = Storage(settings.storage_root)
    await publish_bundled_voices(settings, records, storage)
    bundled = await records.voices.get("allison")
    consent = await sdk.audio.voice_consents.create(name="A", language="en", recording=("a.wav", consent_recording))

    with pytest.raises(openai.BadRequestError, match="not that of the consent: their similarity is 0"):
        await sdk.audio.voices.create(name="B", consent=consent.id, audio_sample=("b.wav", OTHER_SPEAKER))
    with pytest.raises(openai.NotFoundError, match="no consent 'cons-none'"):
        await sdk.audio.voices.create(name="B", consent="cons-none", audio_sample=("b.wav", SAMPLE))
    with pytest.raises(openai.BadRequestError, match="cannot be made of 'prompt'"):
        await sdk.audio.voices.create(name="B", type="prompt", prompt="A deep voice.", extra_body={})
    own = await api.client.patch(f"/api/v1/voices/{bundled.id}", json={"consent_id": consent.id})
    storage.put_bytes(bundled.prompts[0]["audio"], OTHER_SPEAKER)
    others = await api.client.patch(f"/api/v1/voices/{bundled.id}", json={"consent_id": consent.id})

    assert own.status_code == 200
    assert (others.status_code, "similarity" in others.text) == (400, True)
    assert [voice.name for voice in (await records.voices.page()).items] == ["allison", "xiaoyi", "yunjian"]


async def test_a_repeated_request_with_its_key_gives_the_same_consent(
    api: Api, files_worker: None, consent_recording: bytes, records: Records
) -> None:
    form: Any = {
        "data": {"name": "A", "language": "en", "uses": "news, books", "expires_at": "2100-01-01T00:00:00Z"},
        "files": {"recording": ("a.wav", consent_recording)},
        "headers": {"Idempotency-Key": "once"},
    }
    first, again = [await api.client.post("/v1/audio/voice_consents", **form) for _ in range(2)]
    stored = (await api.client.get(f"/api/v1/consents/{first.json()['id']}")).json()

    assert (first.status_code, again.json()) == (200, first.json())
    assert (await records.consents.page()).total == 1
    assert (stored["uses"], stored["expires_at"][:4]) == (["news", "books"], "2100")


async def test_without_a_worker_that_listens_nothing_is_stored(
    client: httpx.AsyncClient, consent_recording: bytes, records: Records
) -> None:
    response = await client.post(
        "/v1/audio/voice_consents",
        data={"name": "A", "language": "en"},
        files={"recording": ("a.wav", consent_recording)},
    )

    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    assert (await records.consents.page()).total == 0
