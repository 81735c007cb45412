"""Evaluate voices in a process of its own: `python -m GPT_SoVITS.evaluation.program REQUEST.json`.

REQUEST.json holds one prompt, sentences, and one or more pairs of checkpoints that speak them:

    {"models": folder, "device": "cpu", "threads": 1, "language": "en", "sentences": [text, …], "seed": 1234,
     "prompt": {"audio": file, "text": …, "language": …, "tokens": [int, …]?},
     "voices": [{"name": …, "gpt": file, "sovits": file, "sample": file?}, …]}

A voice may name a `base` (a version) in place of files. In place of `sentences` there may be a `file` with one a line;
without either it is the packaged ones of the prompt's language, `count` of them. Without `voices`, each line of
standard input is one, until that ends, so that a training's checkpoints are evaluated by models that are loaded once.
A voice with `"preview": true` speaks the first sentence, and is not evaluated.

Standard output carries JSON lines: `sentence` for each as it is evaluated, `voice` with its means, `preview` for one
that only spoke, or `no_preview` with the reason why it did not, `done`, or `error`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.sentences import packaged_language, packaged_sentences, read_sentences
from GPT_SoVITS.training.program import DONE, FAILED, emit

if TYPE_CHECKING:
    from GPT_SoVITS.evaluation.voice_evaluation import SentenceResult, VoiceEvaluator
    from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline

logger = logging.getLogger(__name__)

WARM_UP = {"zh": "你好。", "yue": "你好。", "ja": "はい。", "ko": "네."}
"""What is spoken first and not measured: the first sentence of a process waits for what later ones find ready."""


@dataclass(frozen=True, slots=True)
class ReferencePrompt:
    """The prompt that all voices speak with."""

    audio: Path
    text: str
    language: str
    tokens: list[int] | None
    """Semantic tokens of the recording, where they were computed before."""


@dataclass(frozen=True, slots=True)
class CheckpointPair:
    """A pair of checkpoints to evaluate."""

    name: str
    gpt: Path
    sovits: Path
    sample: Path | None
    """File for the audio of the first sentence."""
    tokens: list[int] | None
    """The prompt's tokens as this voice's model makes them."""
    preview: bool = False
    """Whether it speaks the first sentence only, and is not evaluated."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What REQUEST.json asks for."""

    models: Path
    """Folder of official weights and helper networks."""
    device: str
    threads: int
    seed: int
    warm_up: bool
    prompt: ReferencePrompt
    language: str
    """Of the sentences."""
    sentences: list[str]
    voices: list[dict[str, Any]] | None
    """None where they come on standard input."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> EvaluationRequest:
        """Read a request and find its sentences; raise ModelError where they cannot be read."""
        models = Path(document["models"])
        prompt = document["prompt"]
        language = document.get("language") or prompt["language"]
        if document.get("sentences"):
            sentences = list(document["sentences"])
        elif document.get("file"):
            sentences = read_sentences(Path(document["file"]), language)
        else:
            language = packaged_language(language)
            sentences = packaged_sentences(language)[: document.get("count")]
        return cls(
            models=models,
            device=document.get("device", "cpu"),
            threads=int(document.get("threads", 1)),
            seed=int(document.get("seed", 1234)),
            warm_up=bool(document.get("warm_up")),
            prompt=ReferencePrompt(Path(prompt["audio"]), prompt["text"], prompt["language"], prompt.get("tokens")),
            language=language,
            sentences=sentences,
            voices=document.get("voices"),
        )

    def pairs(self, lines: IO[bytes]) -> Iterator[CheckpointPair]:
        """Yield the voices, or those that come line by line; raise ModelError where a file of a `base` is missing."""
        for voice in map(json.loads, lines) if self.voices is None else self.voices:
            if "base" in voice:
                gpt, sovits = (find_part(self.models, part, voice["base"]) for part in ("gpt", "sovits"))
            else:
                gpt, sovits = Path(voice["gpt"]), Path(voice["sovits"])
            sample = Path(voice["sample"]) if voice.get("sample") else None
            tokens = voice.get("tokens", self.prompt.tokens)
            yield CheckpointPair(voice["name"], gpt, sovits, sample, tokens, bool(voice.get("preview")))


def main(arguments: list[str]) -> int:
    """Evaluate the voices of a request; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # two lines a sentence, of nobody's interest
    if len(arguments) != 1:
        print("usage: python -m GPT_SoVITS.evaluation.program REQUEST.json", file=sys.stderr)
        return FAILED
    try:
        document = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        request = EvaluationRequest.from_json(document)
        evaluate(request, request.pairs(sys.stdin.buffer))
    except ModelError as error:
        logger.error("%s %s", error.message, error.hint)
        emit("error", code=error.code, message=error.message, hint=error.hint, permanent=error.permanent)
        return FAILED
    except Exception as error:
        logger.exception("The evaluation failed.")
        message = f"The evaluation failed: {type(error).__name__}: {error}"
        emit("error", code="evaluation_failed", message=message, hint="", permanent=False)
        return FAILED
    emit("done")
    return DONE


def evaluate(request: EvaluationRequest, voices: Iterable[CheckpointPair]) -> None:
    """Let every voice speak all sentences, and emit an event for each sentence and each voice."""
    import torch

    from GPT_SoVITS.pipeline import Pipeline
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

    torch.set_num_threads(request.threads)
    helpers = HelperNetworks(request.models, device=request.device)

    def load(voice: CheckpointPair) -> tuple[Pipeline, EncodedPrompt]:
        pipeline = Pipeline.load(voice.gpt, voice.sovits, models=request.models, device=request.device, helpers=helpers)
        reference = request.prompt
        prompt = pipeline.prepare_prompt(reference.audio, reference.text, reference.language, tokens=voice.tokens)
        helpers.unload_prompt_encoders()
        return pipeline, prompt

    evaluator: VoiceEvaluator | None = None
    for voice in voices:
        if voice.preview:
            try:
                speak_preview(request, voice, *load(voice))
            except ModelError as error:
                emit("no_preview", name=voice.name, message=f"{error.message} {error.hint}".strip())
            evaluator = evaluator or load_evaluator(request)  # while no checkpoint is there yet
            continue
        evaluator = evaluator or load_evaluator(request)
        evaluate_voice(request, voice, evaluator, *load(voice))


def load_evaluator(request: EvaluationRequest) -> VoiceEvaluator:
    """Load all models of the evaluation."""
    from GPT_SoVITS.evaluation.evaluator import Evaluator
    from GPT_SoVITS.evaluation.voice_evaluation import VoiceEvaluator

    evaluator = Evaluator(request.models, request.prompt.audio, threads=request.threads)
    return VoiceEvaluator(evaluator, language=request.language, seed=request.seed)


def speak_preview(request: EvaluationRequest, voice: CheckpointPair, pipeline: Pipeline, prompt: EncodedPrompt) -> None:
    """Let a voice speak the first sentence into its file."""
    from GPT_SoVITS.audio import write_wav

    text = request.sentences[0]
    speech = pipeline.speak(text, request.language, prompt, seed=request.seed)
    assert voice.sample is not None
    write_wav(voice.sample, speech.samples, speech.sample_rate)
    emit("preview", name=voice.name, text=text, seconds=len(speech.samples) / speech.sample_rate)


def evaluate_voice(
    request: EvaluationRequest,
    voice: CheckpointPair,
    evaluator: VoiceEvaluator,
    pipeline: Pipeline,
    prompt: EncodedPrompt,
) -> None:
    """Let a voice speak all sentences, and emit the results of each and their means."""
    from GPT_SoVITS.evaluation.voice_evaluation import mean_scores

    if request.warm_up:
        try:
            pipeline.speak(WARM_UP.get(request.language, "Hello."), request.language, prompt, seed=0)
        except ModelError as error:
            if error.code != "nothing_spoken":
                raise
    results: list[SentenceResult] = []
    for result in evaluator.run(pipeline, prompt, request.sentences, voice.sample):
        results.append(result)
        emit("sentence", voice=voice.name, number=len(results), of=len(request.sentences), **result.as_json())
    sentences = [result.as_json() for result in results]
    emit("voice", name=voice.name, language=request.language, mean=mean_scores(results), sentences=sentences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
