"""Evaluate voices in a process of its own: `python -m GPT_SoVITS.evaluation.program REQUEST.json`.

REQUEST.json holds one prompt, sentences, and one or more pairs of checkpoints that speak them:

    {"models": folder, "device": "cpu", "threads": 1, "language": "en", "sentences": [text, …], "seed": 1234,
     "prompt": {"audio": file, "text": …, "language": …, "tokens": [int, …]?},
     "voices": [{"name": …, "gpt": file, "sovits": file, "sample": file?}, …]}

A voice may name a `base` (a version) in place of files. In place of `sentences` there may be a `file` with one a line;
without either it is the packaged ones of the prompt's language, `count` of them. Standard output carries JSON lines:
`sentence` for each as it is evaluated, `voice` with its means, `done`, or `error`.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.sentences import packaged_language, packaged_sentences, read_sentences
from GPT_SoVITS.training.program import DONE, FAILED, emit

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
    voices: list[CheckpointPair]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> EvaluationRequest:
        """Read a request, find its sentences and the files of a `base`; raise ModelError where one is missing."""
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
        voices = []
        for voice in document["voices"]:
            if "base" in voice:
                gpt, sovits = (find_part(models, part, voice["base"]) for part in ("gpt", "sovits"))
            else:
                gpt, sovits = Path(voice["gpt"]), Path(voice["sovits"])
            sample = Path(voice["sample"]) if voice.get("sample") else None
            tokens = voice.get("tokens", prompt.get("tokens"))
            voices.append(CheckpointPair(voice["name"], gpt, sovits, sample, tokens))
        return cls(
            models=models,
            device=document.get("device", "cpu"),
            threads=int(document.get("threads", 1)),
            seed=int(document.get("seed", 1234)),
            warm_up=bool(document.get("warm_up")),
            prompt=ReferencePrompt(Path(prompt["audio"]), prompt["text"], prompt["language"], prompt.get("tokens")),
            language=language,
            sentences=sentences,
            voices=voices,
        )


def main(arguments: list[str]) -> int:
    """Evaluate the voices of a request; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # two lines a sentence, of nobody's interest
    if len(arguments) != 1:
        print("usage: python -m GPT_SoVITS.evaluation.program REQUEST.json", file=sys.stderr)
        return FAILED
    try:
        document = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        evaluate(EvaluationRequest.from_json(document))
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


def evaluate(request: EvaluationRequest) -> None:
    """Let every voice speak all sentences, and emit an event for each sentence and each voice."""
    import torch

    from GPT_SoVITS.evaluation.evaluator import Evaluator
    from GPT_SoVITS.evaluation.voice_evaluation import SentenceResult, VoiceEvaluator, mean_scores
    from GPT_SoVITS.pipeline import Pipeline
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

    torch.set_num_threads(request.threads)
    helpers = HelperNetworks(request.models, device=request.device)
    evaluator = Evaluator(request.models, request.prompt.audio, threads=request.threads)
    voice_evaluator = VoiceEvaluator(evaluator, language=request.language, seed=request.seed)
    for index, voice in enumerate(request.voices):
        pipeline = Pipeline.load(voice.gpt, voice.sovits, models=request.models, device=request.device, helpers=helpers)
        reference = request.prompt
        prompt = pipeline.prepare_prompt(reference.audio, reference.text, reference.language, tokens=voice.tokens)
        helpers.unload_prompt_encoders()
        if index == 0 and request.warm_up:
            try:
                pipeline.speak(WARM_UP.get(request.language, "Hello."), request.language, prompt, seed=0)
            except ModelError as error:
                if error.code != "nothing_spoken":
                    raise
        results: list[SentenceResult] = []
        for result in voice_evaluator.run(pipeline, prompt, request.sentences, voice.sample):
            results.append(result)
            number, count = len(results), len(request.sentences)
            fraction = (index + number / count) / len(request.voices)
            emit("sentence", voice=voice.name, number=number, of=count, fraction=fraction, **result.as_json())
        sentences = [result.as_json() for result in results]
        emit("voice", name=voice.name, language=request.language, mean=mean_scores(results), sentences=sentences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
