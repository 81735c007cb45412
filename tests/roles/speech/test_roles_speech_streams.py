"""What a synthesizer publishes and stores of an utterance, with a real voice of random weights."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis
import soundfile
from tiny_voices import write_voice

from common import storage_keys
from core.errors import ConsentMissing
from core.jobs.job import Job, JobStatus, NewJob, StreamPart
from core.jobs.roles import SYNTHESIZER
from core.jobs.verification_counts import VerificationCounts
from core.records import ConsentSource, NewCheckpointRecord, NewConsentRecord, NewVoiceRecord, upgrade
from core.speech.requests import UtteranceRequest
from core.speech.sampling import PAUSE_SECONDS, SamplingOptions
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.configs import load_config
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.synthesizer import Synthesizer

TEXT = "This is how the voice of random weights speaks one sentence."


@pytest.fixture
def synthesizer(services: WorkerServices, tmp_path: Path) -> Iterator[Synthesizer]:
    """Return the role in an installation with the voice ann."""
    upgrade(services.settings.resolved_database_url)
    files = write_voice(tmp_path, "nano", load_config("nano_gpt"), load_config("nano"))
    for kind, path in zip(("gpt", "sovits"), files, strict=True):
        publish(services, path, storage_keys.checkpoint(f"ann-{kind}"))
        record = NewCheckpointRecord(
            id=f"ann-{kind}", kind=kind, version="nano", name="ann", sha256="0" * 64, size_bytes=1
        )
        services.call(services.records.checkpoints.create, record)
    write_wav(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(32_000) / 20).astype(np.float32), 16_000)
    publish(services, tmp_path / "tone.wav", "prompts/low.wav")
    voice = NewVoiceRecord(
        id="voice-ann",
        name="ann",
        version="nano",
        language="en",
        gpt_checkpoint_id="ann-gpt",
        sovits_checkpoint_id="ann-sovits",
        prompts=[{"name": "default", "audio": "prompts/low.wav", "text": "Hello.", "language": "en"}],
    )
    services.call(services.records.voices.create, voice)
    role = Synthesizer()
    role.start(services)
    yield role
    role.stop()


def publish(services: WorkerServices, path: Path, key: str) -> None:
    temporary = services.storage.new_temporary()
    shutil.copyfile(path, temporary)
    services.storage.publish(temporary, key)


def run(role: Synthesizer, job_id: str, worker: str, *, stream: bool, **more: Any) -> dict[str, Any]:
    """Run a job of the role under a worker's name, and return its result, which nobody acknowledges."""
    request = UtteranceRequest(
        parent="speech-1", index=0, text=TEXT, language="en", voice_id="voice-ann", seed=3, **more
    )
    part = StreamPart.OPENING if stream else None
    queue = role.services.queue
    queue.enqueue(NewJob(SYNTHESIZER, request.stored(), job_id=job_id, stream=part))
    lease = queue.claim(SYNTHESIZER, worker)
    assert lease is not None
    assert lease.job.id == job_id
    return role.run(lease.job, JobContext(lease, role.services, threading.Event()))


def streamed(role: Synthesizer, job_id: str) -> list[bytes]:
    """Return the chunks in the stream of a job."""
    with redis.Redis.from_url(role.services.redis_url) as client:
        entries = cast(Any, client.xrange(role.services.queue.key(f"audio:{job_id}")))
    chunks = [fields for _, fields in entries if b"pcm" in fields]
    lengths = [len(fields[b"pcm"]) for fields in chunks]
    assert [int(fields[b"at"]) for fields in chunks] == [sum(lengths[:count]) for count in range(len(lengths))]
    return [fields[b"pcm"] for fields in chunks]


def test_speech_that_is_streamed_is_not_stored(synthesizer: Synthesizer):
    result = run(synthesizer, "a", "worker-1", stream=True)

    chunks = streamed(synthesizer, "a")
    assert len(chunks) > 1
    assert result["audio"] == ""
    assert result["seconds"] * result["sample_rate"] == len(b"".join(chunks)) / 2
    assert not synthesizer.services.storage.exists("speech/speech-1")


def test_a_worker_that_takes_a_stream_over_goes_on_with_the_same_bytes(synthesizer: Synthesizer):
    run(synthesizer, "whole", "worker-1", stream=True)
    whole = b"".join(streamed(synthesizer, "whole"))
    queue = synthesizer.services.queue
    request = UtteranceRequest(parent="speech-1", index=0, text=TEXT, language="en", voice_id="voice-ann", seed=3)
    queue.enqueue(NewJob(SYNTHESIZER, request.stored(), job_id="taken", stream=StreamPart.OPENING))
    lease = queue.claim(SYNTHESIZER, "worker-2")
    assert lease is not None
    cut = len(whole) // 3 // 2 * 2 + 1  # within a sample
    queue.publish_chunk(lease, 0, 16_000, whole[:cut])
    queue.rescue_worker("worker-2")

    run(synthesizer, "taken", "worker-3", stream=True)

    assert b"".join(streamed(synthesizer, "taken")) == whole
    assert cast(Job, queue.job("taken")).status is JobStatus.PROCESSING


def test_pauses_become_silence_around_the_speech(synthesizer: Synthesizer):
    result = run(synthesizer, "a", "worker-1", stream=True, silence_before=0.25, silence_after=0.5)
    stored = run(synthesizer, "b", "worker-2", stream=False, silence_before=0.25, silence_after=0.5)

    rate = result["sample_rate"]
    samples = np.frombuffer(b"".join(streamed(synthesizer, "a")), "<i2")
    file, _ = soundfile.read(synthesizer.services.storage.path(stored["audio"]), dtype="int16")
    for audio in (samples, file):
        assert not audio[: rate // 4].any()
        assert not audio[-rate // 2 :].any()
        assert audio[rate // 4 : rate // 2].any()
    assert (result["pause_seconds"], stored["pause_seconds"]) == (0.0, 0.0)


def test_an_utterance_without_pauses_is_followed_by_the_usual_one_or_the_one_that_was_requested(
    synthesizer: Synthesizer,
):
    usual = run(synthesizer, "a", "worker-1", stream=True)
    requested = run(synthesizer, "b", "worker-2", stream=True, sampling=SamplingOptions(fragment_interval=1.25))

    assert (usual["pause_seconds"], requested["pause_seconds"]) == (PAUSE_SECONDS, 1.25)


def test_what_is_stored_lies_under_the_token_of_the_lease(synthesizer: Synthesizer):
    first = run(synthesizer, "a", "worker-1", stream=False)
    synthesizer.services.queue.rescue_worker("worker-1")

    second = run(synthesizer, "a", "worker-2", stream=False)

    storage = synthesizer.services.storage
    assert first["audio"] != second["audio"]
    assert storage.path(first["audio"]).read_bytes() == storage.path(second["audio"]).read_bytes()


def test_a_result_says_how_the_speech_was_verified_and_all_of_it_is_counted(synthesizer: Synthesizer) -> None:
    services = synthesizer.services
    counts = VerificationCounts(services.queue.transport, services.queue.prefix)

    off = run(synthesizer, "off", "w", stream=False, sampling=SamplingOptions(verify="off"))
    nothing = counts.read()
    fast = run(synthesizer, "fast", "other", stream=False)

    assert (off["verdict"], off["attempts"], off["faults"]) == ("unverified", 1, [])
    assert nothing == {}
    # Random weights say nothing that a text has.
    assert (fast["verdict"], fast["attempts"]) == ("doubtful", 1 + services.settings.speech_retries)
    assert all(0 <= fault["start"] < fault["end"] for fault in fast["faults"])
    after = counts.read()
    assert (after["utterances"], after["doubtful"], after["retries"]) == (1, 1, services.settings.speech_retries)
    assert after[f"fault:{fast['faults'][0]['kind']}"] >= 1


def test_the_voice_is_compared_with_its_prompt_where_that_is_asked_for(synthesizer: Synthesizer) -> None:
    plain = run(synthesizer, "plain", "w", stream=False)
    compared = run(synthesizer, "compared", "other", stream=True, sampling=SamplingOptions(verify_speaker=True))

    assert "speaker_similarity" not in plain
    assert -1 <= compared["speaker_similarity"] <= 1
    assert "speaker" not in compared["unchecked"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_running_job_ends_when_the_speaker_of_its_voice_withdraws_the_consent(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch, stream: bool
):
    services, watch = synthesizer.services, synthesizer.consents.watch
    consents = services.records.consents
    statement = NewConsentRecord(speaker="Ann", statement="I agree.", source=ConsentSource.STATEMENT)
    consent = services.call(consents.create, statement)
    services.call(services.records.voices.update, "voice-ann", consent_id=consent.id)

    @contextmanager
    def withdrawn_meanwhile(voice_id: str, context: JobContext) -> Iterator[None]:
        with watch(voice_id, context):
            stopped = threading.Event()
            context.on_stop(stopped.set)
            services.call(consents.withdraw, consent.id)
            assert stopped.wait(60)
            yield

    monkeypatch.setattr(synthesizer.consents, "watch", withdrawn_meanwhile)
    with pytest.raises(ConsentMissing, match="Ann was withdrawn"):
        run(synthesizer, "a", "worker-1", stream=stream)
