"""The best passages of recordings are proposed as prompts: from segments with transcripts, or from an uploaded file."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile
from bundled_speech import PIECES, RATE, speech

from core.errors import InputGone, PermanentError, RecordingTooShort
from core.jobs.job import NewJob
from core.jobs.roles import FILES
from core.records import upgrade
from core.settings import Settings, read_settings
from core.voices.prompt_proposals import PromptProposalRequest, PromptProposals, proposal_key
from roles.files import Files
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.voices.prompt_scores import (
    PassageMeasures,
    TypicalSpeech,
    audio_scores,
    is_complete_sentence,
    total_score,
    transcript_score,
)

pytestmark = pytest.mark.slow
ROOM = np.random.default_rng(1)
GOOD = PassageMeasures(6.0, 40.0, 0.0, 0.9, -20.0, 200.0, 0.95)
TYPICAL = TypicalSpeech(200.0, -20.0)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Settings:
    settings = read_settings(
        data_path=tmp_path_factory.mktemp("data"), redis_prefix="proposals:", redis_url=server.url, speech_cache_mb=0
    )
    upgrade(settings.resolved_database_url)
    return settings


@pytest.fixture(scope="module")
def role(settings: Settings, server: Any) -> Iterator[Files]:
    services = WorkerServices(settings, server.url, threads=1)
    role = Files()
    role.start(services)
    yield role
    role.stop()
    services.close()


def run(role: Files, **fields: Any) -> tuple[str, PromptProposals]:
    """Return the job's id and its result."""
    services = role.services
    request = PromptProposalRequest(voice_id="voice-1", voice_name="Anna", **{"count": 3, **fields})
    job = services.queue.enqueue(NewJob(FILES, request.stored()))
    lease = services.queue.claim(FILES, "files-test")
    assert lease is not None
    try:
        result: Any = role.run(lease.job, JobContext(lease, services, threading.Event()))
    except PermanentError as error:
        services.queue.fail(lease, error.as_dict(), permanent=True)
        raise
    assert services.queue.ack(lease, result)
    return job.id, result


def store(role: Files, key: str, samples: np.ndarray, rate: int = RATE) -> str:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    role.services.storage.put_bytes(key, file.getvalue())
    return key


def test_segments_are_ranked_by_their_sound_and_by_what_they_say(role: Files) -> None:
    folder = "experiments/exp-1/segments"
    clean, noisy, clipped, cut = speech("prepend.wav"), speech("busy.wav"), speech("announce.wav"), speech("nogo.wav")
    sounds = {
        "clean.wav": clean,
        "noisy.wav": noisy + ROOM.normal(0, 0.05, len(noisy)),
        "clipped.wav": np.clip(12 * clipped, -1, 1),
        "wrong.wav": cut[: 6 * RATE],
        "short.wav": clean[: 2 * RATE],
    }
    texts = {name: PIECES[name][2] for name in ("prepend.wav", "busy.wav", "announce.wav")}
    words = [texts["prepend.wav"], texts["busy.wav"], texts["announce.wav"], "A different text altogether.", "At the."]
    lines = [f"{name}|anna|EN|{text}" for name, text in zip(sounds, words, strict=True)]
    for name, samples in sounds.items():
        store(role, f"{folder}/{name}", samples)
    role.services.storage.put_bytes("experiments/exp-1/transcripts.list", "\n".join(lines).encode())

    job_id, result = run(role, segments=folder, transcripts="experiments/exp-1/transcripts.list", count=4)
    best, *_others = proposals = result["proposals"]
    by_name = {proposal["source"]: proposal for proposal in proposals}

    assert result["source"] == "segments"
    assert (best["source"], best["text"], best["language"]) == ("clean.wav", texts["prepend.wav"], "en")
    assert best["complete"]
    assert best["confidence"] > 0.5
    assert set(by_name) == {"clean.wav", "noisy.wav", "clipped.wav", "wrong.wav"}  # the short one is no prompt
    assert by_name["noisy.wav"]["signal_to_noise_db"] < best["signal_to_noise_db"]
    assert by_name["clipped.wav"]["scores"]["clipping"] < best["scores"]["clipping"] == 1
    assert by_name["wrong.wav"]["confidence"] < 0.3  # the recognizer hears something else
    assert [proposal["score"] for proposal in proposals] == sorted(
        (proposal["score"] for proposal in proposals), reverse=True
    )
    assert best["scores"]["speaker"] is not None
    samples, rate = soundfile.read(role.services.storage.path(proposal_key(job_id, "voice-1", 0)), dtype="float32")
    assert rate == RATE
    assert np.abs(samples - clean).max() < 1e-3


def test_of_many_segments_only_as_many_are_read_as_are_compared(role: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.voices.propose_prompts.MAX_PASSAGES", 2)
    folder, names = "experiments/exp-2/segments", [f"{number}.wav" for number in range(6)]
    for name in names:
        role.services.storage.put_bytes(f"{folder}/{name}", b"This would be an error.")
    for name in names[::3]:
        store(role, f"{folder}/{name}", speech("prepend.wav")[: 4 * RATE])
    lines = "\n".join(f"{name}|anna|EN|The words." for name in names)
    role.services.storage.put_bytes("experiments/exp-2/transcripts.list", lines.encode())

    _, result = run(role, segments=folder, transcripts="experiments/exp-2/transcripts.list")

    assert {proposal["source"] for proposal in result["proposals"]} == {"0.wav", "3.wav"}


def test_an_uploaded_file_is_cut_at_its_pauses_and_transcribed(role: Files) -> None:
    pause = np.zeros(RATE, np.float32)
    sound = np.concatenate([speech("prepend.wav"), pause, speech("announce.wav")])
    _, result = run(role, recording=store(role, "files/file-1", sound), segments="experiments/exp-none/segments",
                    transcripts="experiments/exp-none/transcripts.list")  # fmt: skip

    assert result["source"] == "file"
    assert all(3 <= proposal["seconds"] <= 10 for proposal in result["proposals"])
    assert any("introduction to the forwarded message" in proposal["text"] for proposal in result["proposals"])
    assert {proposal["language"] for proposal in result["proposals"]} == {"en"}
    ends = [proposal["start_seconds"] + proposal["seconds"] for proposal in result["proposals"]]
    assert max(ends) <= len(sound) / RATE + 0.1


def test_recordings_that_are_gone_or_have_no_passage_are_an_error_that_says_what_would_work(role: Files) -> None:
    for recording, error in (("", InputGone), ("files/file-none", InputGone)):
        with pytest.raises(error, match="The voice Anna has no recordings any more") as raised:
            run(role, recording=recording)
        assert "file_id" in raised.value.hint
    with pytest.raises(RecordingTooShort, match="No passage of these recordings has 3 to 10 s"):
        run(role, recording=store(role, "files/file-2", speech("prepend.wav")[:RATE]))


def test_the_score_falls_with_every_fault() -> None:
    def score(text: str = "A whole sentence.", confidence: float = 0.9, **changes: Any) -> float:
        scores = audio_scores(replace(GOOD, **changes), TYPICAL)
        return total_score({**scores, "transcript": transcript_score(text, confidence)})

    assert score() == pytest.approx(1.0 - 0.25 * 0.1)
    assert 0 < score(pitch=0.0) < score()
    faults: list[dict[str, Any]] = [
        {"seconds": 3.0},
        {"seconds": 10.0},
        {"signal_to_noise_db": 20.0},
        {"clipped_share": 0.001},
        {"speech_share": 0.5},
        {"pitch": 300.0},
        {"level_db": -30.0},
        {"similarity": 0.6},
    ]
    assert all(score(**fault) < score() - 0.02 for fault in faults)
    assert score(text="and so it goes on") < score()
    assert score(confidence=0.3) < score()


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("Good morning.", True),
        ("“Is it late?”", True),
        ("今天天气很好。", True),
        ("good morning.", False),
        ("Good morning", False),
        ("...", False),
    ],
)
def test_a_sentence_has_a_beginning_and_an_end(text: str, complete: bool) -> None:
    assert is_complete_sentence(text) is complete
