"""Every kind of bad recording, made of real speech, and that good ones pass."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from bundled_speech import RATE, piece, speech

from GPT_SoVITS.audio import resample
from GPT_SoVITS.dataset.checks import QualityLimits, RecordingChecker, clipped_share
from GPT_SoVITS.dataset.compare import duplicates, other_speakers
from GPT_SoVITS.dataset.fingerprint import fingerprint
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

GOOD = ("announce.wav", "busy.wav", "nogo.wav", "prepend.wav")


@pytest.fixture(scope="module")
def checker() -> RecordingChecker:
    """Nobody listens to words."""
    return RecordingChecker(QualityLimits(), SpeakerEncoder.load())


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)


def melody() -> np.ndarray:
    """Return a scale on a plucked string, four seconds."""
    time = np.arange(RATE // 2) / RATE
    tones = (220, 247, 262, 294, 330, 349, 392, 440)
    return np.concatenate([0.3 * np.sin(2 * np.pi * tone * time) * np.exp(-4 * time) for tone in tones]).astype("f4")


def codes(checker: RecordingChecker, samples: np.ndarray) -> list[str]:
    return [flag.code for flag in checker.check(samples.astype(np.float32), RATE).flags]


@pytest.mark.parametrize("name", GOOD)
def test_good_speech_passes(checker: RecordingChecker, name: str) -> None:
    look = checker.check(speech(name), RATE)

    assert look.flags == []
    assert look.measures.speech_share is not None
    assert look.measures.speech_share > 0.9
    assert look.speaker is not None


@pytest.mark.parametrize("silence", [np.zeros(3 * RATE), noise(3.0, 0.0005), np.full(3 * RATE, 0.3)])
def test_silence_is_silent_also_with_hiss_or_an_offset(checker: RecordingChecker, silence: np.ndarray) -> None:
    assert codes(checker, silence) == ["silent"]


@pytest.mark.parametrize("gain", [2.5, 5.0])
def test_a_recording_whose_peaks_are_cut_off_is_clipped(checker: RecordingChecker, gain: float) -> None:
    cut_off = np.clip(speech("busy.wav") * gain, -1, 1)

    assert codes(checker, cut_off) == ["clipped"]
    assert codes(checker, cut_off * 0.4) == ["clipped"], "also when it was turned down afterwards"


def test_clipping_is_heard_through_mp3() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.clip(speech("busy.wav") * 3, -1, 1), RATE, format="MP3")
    file.seek(0)

    samples, _ = soundfile.read(file, dtype="float32")

    assert clipped_share(samples) > 0.01


def test_a_loud_recording_and_a_pure_tone_are_not_clipped() -> None:
    tone = np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)

    assert clipped_share(speech("busy.wav") / np.abs(speech("busy.wav")).max() * 0.97) == 0.0
    assert clipped_share(0.9 * tone) < 0.001


def test_too_short_and_too_long_say_the_length(checker: RecordingChecker) -> None:
    short = checker.check(piece(54.0, 0.4), RATE).flags
    strict = (
        RecordingChecker(QualityLimits(longest_seconds=5.0), checker.speakers).check(speech("busy.wav"), RATE).flags
    )

    assert [flag.code for flag in short] == ["too_short"]
    assert short[0].message == "It lasts 0.40 s; training takes 0.6 s or more."
    assert [flag.code for flag in strict] == ["too_long"]


@pytest.mark.parametrize("kind", ["noise", "melody", "chord"])
def test_what_is_no_speech_is_music(checker: RecordingChecker, kind: str) -> None:
    time = np.arange(4 * RATE) / RATE
    sound = {
        "noise": noise(4.0),
        "melody": melody(),
        "chord": 0.2 * np.sum([np.sin(2 * np.pi * tone * time) for tone in (220, 277, 330)], axis=0),
    }[kind]

    assert codes(checker, sound) == ["music"]


def test_noise_between_the_words_is_told_and_is_no_reason_to_leave_out(checker: RecordingChecker) -> None:
    loud = np.concatenate([np.zeros(RATE), piece(61.9, 4.0), np.zeros(RATE)]) + noise(6.0, 0.06)

    flags = checker.check(loud.astype(np.float32), RATE).flags

    assert [flag.code for flag in flags] == ["background"]
    assert "dB quieter" in flags[0].message


def test_duplicates_are_found_by_their_samples_and_by_their_sound() -> None:
    names = {1: "one.wav", 2: "two.wav", 3: "three.wav", 4: "four.wav"}
    quieter = resample(resample(speech("busy.wav") * 0.3, RATE, 8000), 8000, RATE)[1700:]
    sounds = {1: speech("busy.wav"), 2: speech("nogo.wav"), 3: speech("busy.wav"), 4: quieter}
    hashes = {1: "a", 2: "b", 3: "a", 4: "c"}

    flags = duplicates(hashes, {key: fingerprint(samples) for key, samples in sounds.items()}, names)

    assert {key: (flag.code, flag.other) for key, flag in flags.items()} == {
        3: ("duplicate", 1),
        4: ("near_duplicate", 1),
    }
    assert "one.wav" in flags[4].message


def test_two_sentences_of_one_speaker_are_no_duplicates() -> None:
    prints = {key: fingerprint(speech(name)) for key, name in enumerate(GOOD)}

    assert duplicates({key: str(key) for key in prints}, prints, {}) == {}


def test_a_voice_unlike_the_others_is_found(checker: RecordingChecker) -> None:
    voices = {key: checker.speakers.embed(speech(name)) for key, name in enumerate(GOOD)}
    child = resample(speech("busy.wav"), round(RATE * 1.4), RATE)  # played faster: another, higher voice
    voices[9] = checker.speakers.embed(child)

    flags, alike = other_speakers(voices, QualityLimits().speaker_similarity)

    assert list(flags) == [9]
    assert flags[9].code == "other_speaker"
    assert all(alike[key] > 0.9 for key in range(len(GOOD)))


def test_of_two_voices_neither_is_the_wrong_one(checker: RecordingChecker) -> None:
    voices = {1: checker.speakers.embed(speech("busy.wav")), 2: np.eye(256)[0]}

    assert other_speakers(voices, 0.7) == ({}, {})
