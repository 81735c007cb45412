"""Counts as which phonemes clean speech of the base is heard, for the verifier of speech."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.pipeline import BATCH_SIZE, Pipeline, SynthesisRequest
from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment, TokenEvidence
from GPT_SoVITS.synthesis.verification.confusions import PAUSE
from GPT_SoVITS.text.symbols import PUNCTUATION, symbols

SENTENCES = {"en": (500, 1700), "zh": (0, 800)}
"""Of the utterances of a language: the limits of the verifier were chosen on the English ones before."""


def count_confusions(utterances: Mapping[str, Sequence[str]], destination: Path) -> None:
    """Speak utterances by language, and write how many tokens of each phoneme are heard as which one."""
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    prompt = neutral_prompt(pipeline)
    names = np.array([PAUSE if name in PUNCTUATION else name for name in symbols("v2")])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    classify = pipeline.decoder.token_classifier
    assert classify is not None
    batches = [(language, first) for language, span in SENTENCES.items() for first in range(*span, BATCH_SIZE)]
    for language, first in batches:
        texts = utterances[language][first : min(first + BATCH_SIZE, SENTENCES[language][1])]
        requests = [SynthesisRequest(text, language, prompt, first + index) for index, text in enumerate(texts)]
        conditioned = [pipeline.conditioner.condition(request) for request in requests]
        rows = generate_batch(
            pipeline.gpt,
            [utterance.gpt_input for utterance in conditioned],
            [utterance.sampling for utterance in conditioned],
            [request.noise for request in requests],
        )
        for utterance, tokens in zip(conditioned, rows, strict=True):
            phones = utterance.phones.numpy()
            if len(tokens) < len(phones):
                continue
            log_probs = classify(tokens.tolist())
            log_probs[:, names == PAUSE] = np.logaddexp.reduce(log_probs[:, names == PAUSE], axis=1, keepdims=True)
            labels = log_probs.argmax(axis=1)
            alignment = MonotonicAlignment(len(phones))
            alignment.extend(TokenEvidence(log_probs[:, phones], log_probs.max(axis=1), labels))
            for spoken, own in zip(names[phones[alignment.path(whole=True)]], names[labels], strict=True):
                counts[spoken][own] += 1
    lines = [f"  {json.dumps(name)}: {json.dumps(dict(counts[name].most_common()))}" for name in sorted(counts)]
    destination.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
