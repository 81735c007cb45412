"""What a synthesizer loads for a request: a voice, other checkpoints in its place, recordings beside its prompt."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny_voices import write_voice

from common import storage_keys
from core.errors import BadAudio, DamagedArtifact, LanguageNotSpoken, NotFound, PermanentError, VoiceNotFound
from core.jobs.job import NewJob
from core.jobs.roles import SYNTHESIZER
from core.records import NewCheckpointRecord, NewVoiceRecord, VoicePrompt, upgrade
from core.speech.requests import UtteranceRequest
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.codebook_fingerprint import read_codebook_fingerprint
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.gpt.native.library import load_library
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.synthesizer import Synthesizer

RATE = 16_000
LONG_TEXT = "Rounded weights change what is drawn now and then, so that it takes a long sentence to hear of it."


@pytest.fixture
def synthesizer(services: WorkerServices, tmp_path: Path) -> Iterator[Synthesizer]:
    """Return the role in an installation with the voices ann and bob, of random weights."""
    upgrade(services.settings.resolved_database_url)
    files = write_voice(tmp_path, "nano", load_config("nano_gpt"), load_config("nano"))
    for name in ("ann", "bob"):
        for kind, path in zip(("gpt", "sovits"), files, strict=True):
            if name == "bob":
                weights = open_checkpoint(path)
                torch.manual_seed(2)
                noisy = {key: value + 0.05 * torch.randn(value.shape) for key, value in weights.state.items()}
                save_checkpoint(path, replace(weights, state=noisy))
            publish(services, path, storage_keys.checkpoint(f"{name}-{kind}"))
            record = NewCheckpointRecord(
                id=f"{name}-{kind}", kind=kind, version="nano", name=name, sha256="0" * 64, size_bytes=1
            )
            services.call(services.records.checkpoints.create, record)
        voice = NewVoiceRecord(
            id=f"voice-{name}",
            name=name,
            version="nano",
            language="en",
            gpt_checkpoint_id=f"{name}-gpt",
            sovits_checkpoint_id=f"{name}-sovits",
            prompts=[{"name": "default", "audio": "prompts/low.wav", "text": "Hello.", "language": "en"}],
        )
        services.call(services.records.voices.create, voice)
    for pitch in ("low", "high"):
        tone = 0.3 * np.sin(np.arange(2 * RATE) / (20 if pitch == "low" else 7)).astype(np.float32)
        write_wav(tmp_path / "tone.wav", tone, RATE)
        publish(services, tmp_path / "tone.wav", f"prompts/{pitch}.wav")
    role = Synthesizer()
    role.start(services)
    yield role
    role.stop()


def publish(services: WorkerServices, path: Path, key: str) -> None:
    temporary = services.storage.new_temporary()
    shutil.copyfile(path, temporary)
    services.storage.publish(temporary, key)


def speak(role: Synthesizer, voice: str, text: str = "Hello.", **more: Any) -> np.ndarray:
    options = {"language": "en", **more}
    request = UtteranceRequest(parent="speech-1", index=0, text=text, voice_id=f"voice-{voice}", seed=3, **options)
    role.services.queue.enqueue(NewJob(SYNTHESIZER, request.stored()))
    lease = role.services.queue.claim(SYNTHESIZER, "worker-1")
    assert lease is not None
    try:
        result = role.run(lease.job, JobContext(lease, role.services, threading.Event()))
    finally:
        role.services.queue.ack(lease, {})
    samples, _ = soundfile.read(role.services.storage.path(result["audio"]), dtype="float32")
    return samples


def test_the_checkpoints_of_a_request_take_the_place_of_the_voices_own(synthesizer: Synthesizer):
    ann, bob = speak(synthesizer, "ann"), speak(synthesizer, "bob")

    both = speak(synthesizer, "ann", gpt_checkpoint_id="bob-gpt", sovits_checkpoint_id="bob-sovits")
    acoustic = speak(synthesizer, "ann", sovits_checkpoint_id="bob-sovits")

    np.testing.assert_array_equal(both, bob)
    assert not np.array_equal(acoustic, ann)
    np.testing.assert_array_equal(speak(synthesizer, "ann"), ann)


def test_a_voice_of_the_english_base_is_told_to_be_trained_again_for_mandarin(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
):
    storage = synthesizer.services.storage
    own = read_codebook_fingerprint(storage.path(storage_keys.checkpoint("ann-sovits")))
    monkeypatch.setattr("roles.speech.old_base.ENGLISH_CODEBOOK", own)

    with pytest.raises(LanguageNotSpoken, match="the voice ann was trained from an earlier base"):
        speak(synthesizer, "ann", text="你好。", language="zh")
    assert len(speak(synthesizer, "ann", text="Call 42.", language="zh")) > 0


def test_a_checkpoint_that_does_not_exist_is_an_error_and_not_the_voices_own(synthesizer: Synthesizer):
    with pytest.raises(NotFound, match="none-gpt"):
        speak(synthesizer, "ann", gpt_checkpoint_id="none-gpt")


def test_a_prompt_of_the_voice_whose_recording_is_lost_is_damage_and_no_mistake_of_the_caller(
    synthesizer: Synthesizer, tmp_path: Path
):
    storage = synthesizer.services.storage
    storage.path("prompts/low.wav").unlink()
    with pytest.raises(DamagedArtifact, match=r"prompt 'default' of the voice ann .* low\.wav") as damage:
        speak(synthesizer, "ann")
    (tmp_path / "noise.wav").write_bytes(b"no audio")
    publish(synthesizer.services, tmp_path / "noise.wav", "prompts/noise.wav")
    with pytest.raises(BadAudio, match=r"noise\.wav"):
        speak(synthesizer, "ann", prompt={"audio": "prompts/noise.wav", "text": "Hello.", "language": "en"})

    assert damage.value.status == 500
    assert not isinstance(damage.value, PermanentError), "it is tried again: the storage may come back"


def test_recordings_beside_the_prompt_change_the_style_and_only_for_their_request(synthesizer: Synthesizer):
    alone = speak(synthesizer, "ann")

    with_another = speak(synthesizer, "ann", extra_references=("prompts/high.wav",))

    assert not np.array_equal(with_another, alone)
    np.testing.assert_array_equal(speak(synthesizer, "ann"), alone)


@pytest.mark.skipif(load_library() is None, reason="the native decoder was not built: there is no C++ compiler")
def test_int8_reaches_the_decoder_of_a_voice(synthesizer: Synthesizer):
    services = synthesizer.services
    as_stored = speak(synthesizer, "ann", LONG_TEXT)
    synthesizer.stop()
    services.settings = services.settings.model_copy(update={"inference_precision": "int8"})
    synthesizer.start(services)

    in_bytes = speak(synthesizer, "ann", LONG_TEXT)

    assert not np.array_equal(in_bytes, as_stored)
    np.testing.assert_array_equal(speak(synthesizer, "ann", LONG_TEXT), in_bytes)


def test_live_speech_reads_the_record_of_a_voice_again_only_when_it_changed(synthesizer: Synthesizer):
    voices, call = synthesizer.services.records.voices, synthesizer.services.call
    stamp = call(voices.get, "voice-ann").stamp
    request = UtteranceRequest(
        parent="speech-1", index=0, text="Hello.", language="en", voice_id="voice-ann", voice_stamp=stamp, seed=3
    )
    _, prompt, _ = synthesizer.voices.load(request, synthesizer.engine, live=True)

    changed: VoicePrompt = {"name": "default", "audio": "prompts/high.wav", "text": "Hello.", "language": "en"}
    changed_stamp = call(voices.update, "voice-ann", prompts=[changed]).stamp
    later = request.model_copy(update={"voice_stamp": changed_stamp})
    _, changed_prompt, _ = synthesizer.voices.load(later, synthesizer.engine, live=True)
    call(voices.delete, "voice-ann")
    _, after_deletion, _ = synthesizer.voices.load(later, synthesizer.engine, live=True)

    assert "prompts/low.wav" in str(prompt.key)
    assert "prompts/high.wav" in str(changed_prompt.key)
    assert after_deletion.key == changed_prompt.key  # it was there when the speech was asked for
    with pytest.raises(VoiceNotFound):
        synthesizer.voices.load(later, synthesizer.engine)
    with pytest.raises(VoiceNotFound):
        synthesizer.voices.load(later.model_copy(update={"voice_stamp": ""}), synthesizer.engine, live=True)
