"""Voices judged in a process of its own: `python -m GPT_SoVITS.evaluation.program REQUEST.json`.

REQUEST.json holds one prompt, sentences, and one or more pairs of weights that speak them:

    {"models": folder, "device": "cpu", "threads": 1, "language": "en", "sentences": [text, …], "seed": 1234,
     "prompt": {"audio": file, "text": …, "language": …, "tokens": [int, …]?},
     "voices": [{"name": …, "gpt": file, "sovits": file, "sample": file?}, …]}

A voice may name a `base` (a version) in place of files. In place of `sentences` there may be a `file` with one a line;
without either it is the packaged ones of the prompt's language, `count` of them. Standard output carries JSON lines:
`sentence` for each as it is judged, `voice` with its means, `done`, or `error`.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.program import DONE, FAILED, emit

logger = logging.getLogger(__name__)

WARM_UP = {"zh": "你好。", "yue": "你好。", "ja": "はい。", "ko": "네."}
"""What is said first and not measured: the first sentence of a process waits for what later ones find ready."""


def main(arguments: list[str]) -> int:
    """Judge what a request names; the exit code says whether that went well."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # two lines a sentence, of nobody's interest
    if len(arguments) != 1:
        print("usage: python -m GPT_SoVITS.evaluation.program REQUEST.json", file=sys.stderr)
        return FAILED
    try:
        judge(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
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


def judge(request: dict[str, Any]) -> None:
    """Tell about every voice of a request, sentence by sentence."""
    import torch

    from GPT_SoVITS.evaluation.evaluator import Evaluator
    from GPT_SoVITS.evaluation.voice import Reference, VoiceTest, means
    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

    threads = int(request.get("threads", 1))
    torch.set_num_threads(threads)
    prompt = request["prompt"]
    reference = Reference(Path(prompt["audio"]), prompt["text"], prompt["language"], prompt.get("tokens"))
    language, sentences = _sentences(request, reference.language)
    models = Path(request["models"])
    helpers = HelperNetworks(models, device=request.get("device", "cpu"))
    test = VoiceTest(
        Evaluator(models, reference.audio, threads=threads), language=language, seed=int(request.get("seed", 1234))
    )
    voices = request["voices"]
    for place, voice in enumerate(voices):
        pipeline, prepared = _open(voice, reference, models, request, helpers)
        if place == 0 and request.get("warm_up"):
            _warm_up(pipeline, prepared, language)
        rows = []
        for row in test.run(pipeline, prepared, sentences, Path(voice["sample"]) if voice.get("sample") else None):
            rows.append(row)
            fraction = (place + len(rows) / len(sentences)) / len(voices)
            emit("sentence", voice=voice["name"], number=len(rows), of=len(sentences), fraction=fraction, **row)
        emit("voice", name=voice["name"], language=language, mean=means(rows), sentences=rows)


def _sentences(request: dict[str, Any], spoken: str) -> tuple[str, list[str]]:
    """What is said, and in which language."""
    from GPT_SoVITS.evaluation.sentences import packaged, read_sentences, spoken_language

    if request.get("sentences"):
        return request.get("language") or spoken, list(request["sentences"])
    if request.get("file"):
        language = request.get("language") or spoken
        return language, read_sentences(Path(request["file"]), language)
    language = spoken_language(request.get("language") or spoken)
    return language, packaged(language)[: request.get("count")]


def _open(
    voice: dict[str, Any], reference: Any, models: Path, request: dict[str, Any], helpers: Any
) -> tuple[Any, Any]:
    """The pipeline of one pair of weights, and the prompt as it reads it."""
    from GPT_SoVITS.checkpoints.catalog import find_part
    from GPT_SoVITS.pipeline import Pipeline

    if "base" in voice:
        gpt, sovits = (find_part(models, part, voice["base"]) for part in ("gpt", "sovits"))
    else:
        gpt, sovits = Path(voice["gpt"]), Path(voice["sovits"])
    pipeline = Pipeline.load(gpt, sovits, models=models, device=request.get("device", "cpu"), helpers=helpers)
    prompt = pipeline.prepare_prompt(
        reference.audio, reference.text, reference.language, tokens=voice.get("tokens", reference.tokens)
    )
    helpers.unload_prompt_encoders()
    return pipeline, prompt


def _warm_up(pipeline: Any, prompt: Any, language: str) -> None:
    try:
        pipeline.speak(WARM_UP.get(language, "Hello."), language, prompt, seed=0)
    except ModelError as error:
        if error.code != "nothing_spoken":
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
