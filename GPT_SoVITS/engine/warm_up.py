"""A first utterance that nobody hears, so that kernels and libraries are loaded before a caller waits."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import torch

from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask, UtteranceTotals
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, Speech, SynthesisRequest
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

BASE = Path(__file__).resolve().parent.parent / "base"
TEXT = "Hello, this is one, two, three."


class _Waiter:
    """Waits for the end of an utterance."""

    def __init__(self) -> None:
        self.result: SimpleQueue[UtteranceTotals | Exception] = SimpleQueue()

    def on_chunk(self, speech: Speech) -> None:
        """Ignore the audio."""

    def on_end(self, totals: UtteranceTotals) -> None:
        self.result.put(totals)

    def on_error(self, error: Exception) -> None:
        self.result.put(error)


def warm_up(engine: SpeechEngine, *, device: torch.device | str = "cpu", precision: str = "auto") -> UtteranceTotals:
    """Speak a short utterance with nano's base and return its totals. Raises the error of an engine that cannot."""
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors", device=device, precision=precision)
    engine.prepare(pipeline)
    waiter = _Waiter()
    engine.submit(
        UtteranceTask(pipeline, SynthesisRequest(TEXT, "en", neutral_prompt(pipeline), 1), pipeline.default_chunks),
        waiter,
    )
    result = waiter.result.get()
    if isinstance(result, Exception):
        raise result
    return result


def neutral_prompt(pipeline: Pipeline) -> EncodedPrompt:
    """Return a prompt of a style that is zero and nothing else, which needs no recording; not for v3 and v4."""
    decoder = pipeline.decoder
    assert isinstance(decoder, WaveformDecoder)
    nothing = torch.empty(0, dtype=torch.long, device=pipeline.device)
    style = torch.zeros(1, decoder.sovits.config.gin_channels, 1, device=pipeline.device)
    return EncodedPrompt(nothing, nothing, style)
