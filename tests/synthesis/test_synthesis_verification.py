"""A verifier finds what is wrong in tokens and samples, where it is, and nothing in clean speech."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.plain_sentences import plain_sentences
from benchmarks.token_faults import KINDS, inject
from GPT_SoVITS.audio import read_resampled
from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.pipeline import Pipeline, SynthesisRequest
from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment, TokenEvidence
from GPT_SoVITS.synthesis.verification.confusions import base_confusions
from GPT_SoVITS.synthesis.verification.faults import FaultKind
from GPT_SoVITS.synthesis.verification.patterns import length_faults, loop_faults
from GPT_SoVITS.synthesis.verification.samples import sample_faults
from GPT_SoVITS.synthesis.verification.speaker import compare_speaker, prompt_vector
from GPT_SoVITS.synthesis.verification.verifier import LOOK_AHEAD, TextToVerify, TokenVerifier
from GPT_SoVITS.text.symbols import symbols

RATE = 16_000
ALLISON = Path(__file__).resolve().parents[2] / "prompts" / "allison"
TONE = 0.3 * np.sin(np.arange(2 * RATE) / 20)
DECAY = np.linspace(1.0, 0.0, RATE // 5) ** 4
HABITS = ("The visitors planted a small tree at the library.", "He lost a brown coat, although the driver found it.")
"""Sentences with words that the base says, or its classifier hears, in their own way."""
Sentences = list[tuple[TextToVerify, list[int]]]


@pytest.fixture(scope="module")
def spoken_sentences() -> Sentences:
    """Return sentences of nano's base with their tokens."""
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    spoken = []
    for number, sentence in enumerate((*HABITS, *plain_sentences(18))):
        request = SynthesisRequest(sentence, "en", neutral_prompt(pipeline), number)
        utterance = pipeline.conditioner.condition(request)
        rows = generate_batch(pipeline.gpt, [utterance.gpt_input], [utterance.sampling], [request.noise])
        spoken.append((pipeline.text_to_verify(utterance), rows[0].tolist()))
    return spoken


@pytest.fixture(scope="module")
def sentences(spoken_sentences: Sentences) -> Sentences:
    """Return those without a fault."""
    return [(text, tokens) for text, tokens in spoken_sentences if not faults_of(text, tokens)][:12]


def faults_of(text: TextToVerify, tokens: list[int]) -> list[FaultKind]:
    verifier = TokenVerifier(text, 0)
    verifier.add(tokens, finished=True)
    return [fault.kind for fault in verifier.faults]


def test_usual_speech_has_no_fault(spoken_sentences: Sentences) -> None:
    flagged = [number for number, (text, tokens) in enumerate(spoken_sentences) if faults_of(text, tokens)]

    assert flagged == []


def test_a_way_to_say_a_word_and_a_wrong_vowel_are_no_skipped_words() -> None:
    confusions = base_confusions()
    names = list(symbols("v2"))
    spoken = np.array([names.index(name) for name in ("EH0", "AO2", "T")])
    log_probs = np.full((3, len(names)), -20.0, np.float32)
    log_probs[range(3), [names.index(name) for name in ("IH0", "AO1", "M")]] = 0.0

    fit = confusions.fit(log_probs, spoken).diagonal()

    assert fit[0] > -4  # a vowel without stress
    assert fit[1] > -2  # another stress
    assert fit[2] < -8  # another consonant


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_the_tokens_is_found_in_every_sentence(sentences: Sentences, kind: str) -> None:
    rng = random.Random(5)
    for number, (text, tokens) in enumerate(sentences):
        faulty = inject(kind, tokens, text, sentences[number - 1][1], rng)

        assert faulty is not None
        assert faults_of(text, faulty), number


def test_a_fault_is_found_while_the_tokens_come_before_they_are_released(sentences: Sentences) -> None:
    text, tokens = sentences[0]
    foreign = sentences[1][1][:40]
    verifier = TokenVerifier(text, 10)

    for count in range(1, 21):
        verifier.add(tokens[:count], finished=False)
    released = verifier.released
    for count in range(len(foreign)):
        verifier.add(tokens[:20] + foreign[: count + 1], finished=False)

    assert released == 10
    assert FaultKind.UNEXPECTED in [fault.kind for fault in verifier.faults]
    assert verifier.released < 40


def test_what_is_released_lags_by_the_look_ahead_and_does_not_depend_on_how_tokens_come(sentences: Sentences) -> None:
    text, tokens = sentences[2]
    steps, blocks = TokenVerifier(text, 10), TokenVerifier(text, 10)

    released = []
    for count in range(1, len(tokens) + 1):
        steps.add(tokens[:count], finished=count == len(tokens))
        released.append(steps.released)
    for count in range(8, len(tokens) + 8, 8):
        blocks.add(tokens[:count], finished=count >= len(tokens))
        assert blocks.released == released[min(count, len(tokens)) - 1]

    assert released[10 + LOOK_AHEAD - 2 : 10 + LOOK_AHEAD] == [0, 10]
    assert released[-1] == len(tokens)


def test_an_alignment_that_grows_is_that_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    fit = np.log(rng.dirichlet(np.ones(5), 40)).astype(np.float32)
    evidence = TokenEvidence(fit, fit.max(axis=1), fit.argmax(axis=1))
    whole, grown = (MonotonicAlignment(5) for _ in range(2))

    whole.extend(evidence)
    for start in range(0, 40, 7):
        grown.extend(TokenEvidence(*(part[start : start + 7] for part in evidence)))

    path = whole.path(whole=True)
    assert np.array_equal(path, grown.path(whole=True))
    assert (path[0], path[-1]) == (0, 4)
    assert set(np.diff(path)) <= {0, 1}
    assert np.all(whole.mismatch(path) >= 0)


def test_a_loop_is_where_tokens_come_again() -> None:
    tokens = list(range(20)) + [7, 8, 9, 10] * 5 + list(range(30, 40))

    assert [(fault.kind, fault.start, fault.end) for fault in loop_faults(tokens, 3)] == [(FaultKind.LOOP, 20, 40)]
    assert not loop_faults(list(range(50)) + [3] * 60, 3)


def test_a_length_is_measured_by_the_pace_of_the_prompt() -> None:
    assert length_faults(100, 100.0, 1500) == []
    assert [fault.kind for fault in length_faults(30, 100.0, 1500)] == [FaultKind.TOO_SHORT]
    assert [fault.kind for fault in length_faults(400, 100.0, 1500)] == [FaultKind.TOO_LONG]
    assert [fault.kind for fault in length_faults(1500, 100.0, 1500)] == [FaultKind.NO_END]


@pytest.mark.parametrize(
    ("samples", "kind", "start", "end"),
    [
        (np.concatenate([TONE, np.zeros(2 * RATE), TONE[: RATE // 5] * DECAY]), FaultKind.SILENCE, 2.0, 4.0),
        (np.zeros(RATE // 2), FaultKind.SILENCE, 0.0, 0.5),
        (np.concatenate([np.clip(9 * TONE, -1, 1), np.zeros(RATE // 5)]), FaultKind.CLIPPING, 0.0, 2.0),
        (TONE, FaultKind.CUT_OFF, 1.95, 2.0),
    ],
)
def test_a_fault_of_the_samples_has_its_place(samples: np.ndarray, kind: FaultKind, start: float, end: float) -> None:
    (fault,) = sample_faults(samples, RATE)

    assert fault.kind is kind
    assert (fault.start, fault.end) == pytest.approx((start, end), abs=0.03)


def test_audio_that_decays_has_no_fault() -> None:
    assert sample_faults(np.concatenate([TONE, TONE[: RATE // 5] * DECAY]), RATE) == []


def test_another_speakers_voice_is_told_from_that_of_the_prompt() -> None:
    encoder = SpeakerEncoder.load()
    recording = read_resampled(ALLISON / "recording.flac", RATE)
    prompt = prompt_vector(encoder, read_resampled(ALLISON / "prompt.wav", RATE))
    speech = recording[20 * RATE : 25 * RATE]
    higher = np.interp(np.arange(0, len(speech), 1.6), np.arange(len(speech)), speech).astype(np.float32)

    own, other = (compare_speaker(encoder, prompt, samples, RATE) for samples in (speech, higher))
    short, silent = (compare_speaker(encoder, prompt, samples, RATE) for samples in (speech[:8000], 0 * speech))

    assert own.similarity is not None
    assert other.similarity is not None
    assert own.similarity > 0.75
    assert (own.faults, [fault.kind for fault in other.faults]) == ([], [FaultKind.OTHER_VOICE])
    assert (short.similarity, silent.similarity, short.faults) == (None, None, [])
