"""The options of an utterance's payload as the library takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from common.text_origins import atoms
from core.speech.requests import UtteranceRequest
from core.speech.sampling import SamplingOptions
from roles.speech.manner import synthesis_speed

if TYPE_CHECKING:
    from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, SynthesisRequest


def synthesis_request(request: UtteranceRequest, prompt: EncodedPrompt, seed: int) -> SynthesisRequest:
    """Return what the pipeline is asked to speak; options that the payload leaves out are the model's."""
    from GPT_SoVITS.pipeline import SamplingOverrides, SynthesisRequest
    from GPT_SoVITS.text import InlinePronunciation, Span

    options = request.sampling
    return SynthesisRequest(
        text=request.text,
        language=request.language,
        prompt=prompt,
        seed=seed,
        speed=synthesis_speed(request),
        sampling=SamplingOverrides(
            top_k=options.top_k,
            top_p=options.top_p,
            temperature=options.temperature,
            repetition_penalty=options.repetition_penalty,
        ),
        steps=options.sample_steps,
        inline_pronunciations=[InlinePronunciation(**span.model_dump()) for span in request.readings],
        atoms=[Span(*atom) for atom in atoms(request.origins, len(request.text))],
        super_sampling=bool(options.super_sampling),
    )


def chunk_settings(options: SamplingOptions, defaults: ChunkSettings) -> ChunkSettings:
    """Return how the audio of an utterance is cut into the chunks of a stream; options left out are the defaults."""
    least = options.min_chunk_length or defaults.least
    return replace(
        defaults,
        first=min(defaults.first, least),
        least=least,
        most=max(defaults.most, least),
        overlap=options.overlap_length or defaults.overlap,
    )
