"""Versions without a classifier are verified by attention where it shows what is spoken, else they say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_voices import VoiceFiles

from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, SynthesisRequest
from GPT_SoVITS.sovits.encoder import MRTE, TextEncoder
from GPT_SoVITS.synthesis.verification.attention import shows_speech
from GPT_SoVITS.synthesis.verification.faults import FaultKind
from GPT_SoVITS.synthesis.verification.verifier import TextToVerify, TokenVerifier
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

TOKENS = 3
"""Of each phoneme."""
GAIN = 4.5
"""Of queries and keys: attention is sharp."""
TRANSCRIPT = "A quick brown fox jumps over."
TEXT = "Good morning, how are you?"


def attend_to_equal_numbers(pipeline: Pipeline) -> None:
    """Set the weights so that a token attends to the phonemes of its own number: its vector is theirs."""
    assert isinstance(pipeline.decoder, WaveformDecoder)
    sovits = pipeline.decoder.sovits
    encoder: TextEncoder = sovits.enc_p
    assert isinstance(encoder.mrte, MRTE)
    width, count = encoder.text_embedding.weight.shape[1], encoder.text_embedding.weight.shape[0]
    rng = np.random.default_rng(1)
    signs = np.stack([rng.permutation(np.repeat([-1.0, 1.0], width // 2)) for _ in range(count)])
    vectors = torch.from_numpy(signs.astype(np.float32))  # of mean 0 and variance 1, as a norm leaves it
    with torch.no_grad():
        for stack in (encoder.encoder_ssl, encoder.encoder_text):
            for name, parameter in stack.named_parameters():
                if "conv_o" in name or "conv_2" in name:
                    parameter.zero_()
        encoder.text_embedding.weight.copy_(vectors)
        sovits.quantizer.codebook.embed[:count] = vectors
        attention = encoder.mrte.cross_attention
        head = attention.conv_q.weight.shape[0] // attention.heads
        both = torch.eye(head, attention.conv_q.weight.shape[0]).repeat(attention.heads, 1)  # every head reads the same
        for layer, weight in (
            (encoder.ssl_proj, torch.eye(width)),
            (encoder.mrte.c_pre, torch.eye(encoder.mrte.c_pre.weight.shape[0], width)),
            (encoder.mrte.text_pre, torch.eye(encoder.mrte.c_pre.weight.shape[0], width)),
            (attention.conv_q, GAIN * both),
            (attention.conv_k, GAIN * both),
        ):
            layer.weight.copy_(weight[:, :, None])
            assert layer.bias is not None
            layer.bias.zero_()


def spoken(pipeline: Pipeline, text: str) -> list[int]:
    """Return tokens that speak a text to the network of `attend_to_equal_numbers`."""
    phones, _, _ = pipeline.conditioner.encode_text(text, "en")
    return phones.repeat_interleave(TOKENS).tolist()


def text_of(pipeline: Pipeline, prompt: EncodedPrompt) -> TextToVerify:
    return pipeline.text_to_verify(pipeline.conditioner.condition(SynthesisRequest(TEXT, "en", prompt, 1)))


def faults_of(text: TextToVerify, tokens: list[int], first: int = 0) -> list[FaultKind]:
    verifier = TokenVerifier(text, first)
    verifier.add(tokens, finished=True)
    return [fault.kind for fault in verifier.faults]


@pytest.fixture(scope="module")
def attentive(tiny_voice: Callable[[str], VoiceFiles]) -> Pipeline:
    pipeline = Pipeline.load(*tiny_voice("v2"))
    attend_to_equal_numbers(pipeline)
    return pipeline


@pytest.fixture(scope="module")
def clear_prompt(attentive: Pipeline, recording: Path) -> EncodedPrompt:
    return attentive.prepare_prompt(recording, TRANSCRIPT, "en", tokens=spoken(attentive, TRANSCRIPT))


def test_attention_finds_what_is_skipped_and_what_is_not_in_the_text(
    attentive: Pipeline, clear_prompt: EncodedPrompt
) -> None:
    text, tokens = text_of(attentive, clear_prompt), spoken(attentive, TEXT)

    assert clear_prompt.shows_speech
    assert text.unchecked == ()
    assert faults_of(text, tokens) == []
    assert faults_of(text, tokens, first=20) == []
    assert FaultKind.SKIPPED in faults_of(text, tokens[:6] + tokens[6 + 4 * TOKENS :])
    assert FaultKind.UNEXPECTED in faults_of(text, tokens[:12] + spoken(attentive, "jumps") + tokens[12:])
    assert faults_of(text, tokens[: -6 * TOKENS]) != []


def test_a_prompt_that_attention_does_not_show_leaves_coverage_unchecked(
    attentive: Pipeline, tiny: Pipeline, tiny_prompt: EncodedPrompt, recording: Path
) -> None:
    other = attentive.prepare_prompt(recording, TRANSCRIPT, "en", tokens=spoken(attentive, TEXT))
    silent = attentive.prepare_prompt(recording, "", "en", tokens=spoken(attentive, TRANSCRIPT))

    for pipeline, prompt in ((tiny, tiny_prompt), (attentive, other), (attentive, silent)):
        text = text_of(pipeline, prompt)
        assert text.unchecked == ("coverage",)
        assert faults_of(text, spoken(attentive, TEXT)[:-12]) == []


def test_attention_that_is_spread_shows_nothing() -> None:
    sharp = np.eye(16, dtype=np.float32).repeat(3, axis=0)
    pauses = np.zeros(16, bool)

    assert shows_speech(sharp, pauses)
    assert not shows_speech(0.2 * sharp + 0.8 / 16, pauses)
    assert not shows_speech(sharp[:6], pauses)
