"""`main.py evaluate`: a voice speaks sentences in a child process, and machines judge them; no daemon is needed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.programs import EVALUATION, program_command
from core.child_process import ChildProcess
from core.errors import InvalidRequest, SovitsError, VoiceNotFound
from core.process import child_environment
from core.records import Records, upgrade
from core.settings import Settings
from core.storage import open_storage
from core.voices.prompt_catalog import read_prompt_catalog
from supervisor.devices import count_cores, find_gpus

BUNDLED_VERSION = "nano"
"""What a bundled prompt speaks with."""


def evaluate(options: argparse.Namespace, settings: Settings) -> int:
    """Measure a voice and show it as a table, and as JSON where that is asked for."""
    sentences = Path(options.sentences).absolute() if options.sentences else None
    if sentences is not None and not sentences.is_file():
        raise InvalidRequest(f"There is no file {options.sentences}.", hint="It holds one sentence a line, in UTF-8.")
    request = asyncio.run(_find(options.voice, settings))
    request |= {
        "models": str(settings.models_folder),
        "device": options.device or ("cuda" if find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) else "cpu"),
        "threads": count_cores(),
        "language": options.language,
        "file": str(sentences) if sentences else "",
        "warm_up": True,
    }
    quiet = options.json == "-"
    report: dict[str, Any] = {"voice": options.voice}
    for event in _events(request):
        if event["event"] == "sentence" and not quiet:
            print(_line(event), flush=True)
        elif event["event"] == "voice":
            report |= {name: event[name] for name in ("language", "mean", "sentences")}
        elif event["event"] == "error":
            raise SovitsError(event["message"], hint=event.get("hint", ""))
    if not quiet:
        mean, count = report["mean"], len(report["sentences"])
        print(f"{'':>3} {'WER':>6} {'CER':>6} {'simil.':>6} {'DNSMOS':>6} {'RTF':>5} {'F0, Hz':>8}")
        words = f"{mean['skipped']:.2f} words skipped and {mean['repeated']:.2f} said twice a sentence"
        print(f"{'':>3} {_numbers(mean)}  mean of {count} sentences; {words}")
    if options.json:
        _write(report, options.json)
    return 0


async def _find(name: str, settings: Settings) -> dict[str, Any]:
    """Return the request for a voice's weights and prompt, else for a bundled prompt of that name.

    Raises VoiceNotFound, which lists both.
    """
    upgrade(settings.resolved_database_url)
    records = Records.from_settings(settings)
    storage = open_storage(settings)
    try:
        voice = await records.voices.get(name)
        gpt = await records.checkpoints.get(voice.gpt_checkpoint_id)
        sovits = await records.checkpoints.get(voice.sovits_checkpoint_id)
    except VoiceNotFound as error:
        return _bundled(name, settings, error)
    finally:
        await records.close()
    prompt = {field: voice.prompt.get(field) for field in ("text", "language", "tokens")}
    return {
        "prompt": {**prompt, "audio": str(storage.path(voice.prompt["audio"]))},
        "voices": [
            {
                "name": voice.name,
                "gpt": str(storage.path(gpt.storage_key)),
                "sovits": str(storage.path(sovits.storage_key)),
            }
        ],
    }


def _bundled(name: str, settings: Settings, error: VoiceNotFound) -> dict[str, Any]:
    prompts = read_prompt_catalog(settings.prompts_config)
    if name not in prompts:
        raise VoiceNotFound(error.message, hint=f"{error.hint} Bundled prompts: {', '.join(prompts) or 'none'}.")
    prompt = prompts[name]
    return {
        "prompt": {"audio": prompt.audio, "text": prompt.text, "language": prompt.language},
        "voices": [{"name": name, "base": BUNDLED_VERSION}],
    }


def _events(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the child program reports. Raises SovitsError with the end of its log when it ends badly."""
    with tempfile.TemporaryDirectory(prefix="sovitsd-evaluate-") as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        command = program_command(EVALUATION, str(file))
        ended = False
        with ChildProcess(command, env=child_environment(threads=request["threads"])) as child:
            for event in child.events():
                assert event is not None
                ended = ended or event["event"] in ("done", "error")
                yield event
            if child.wait() != 0 and not ended:
                raise SovitsError(f"The evaluation {child.describe_exit()}.", hint=" ".join(child.log_tail[-5:]))


def _line(row: dict[str, Any]) -> str:
    """Format one sentence, with what was recognized where that differs."""
    shown = f"{row['number']:>3} {_numbers(row)}  {row['text']}"
    notes = []
    if row["wer"] > 0:
        notes.append(f"heard: {row['heard'] or '(nothing)'}")
    for name, title in (("skipped", "skipped"), ("repeated", "said twice")):
        if row[name]:
            notes.append(f"{title}: {', '.join(row[name])}")
    if faults := [fault for fault in row.get("faults", ()) if fault != "wrong_words"]:
        notes.append(f"faults: {', '.join(faults)}")
    return "\n".join([shown, *(f"{'':>12}{note}" for note in notes)])


def _numbers(row: dict[str, Any]) -> str:
    pitch = "–" if row["f0_low"] is None else f"{row['f0_low']:.0f}–{row['f0_high']:.0f}"
    return (
        f"{_shown(row['wer'], '.0%'):>6} {_shown(row['cer'], '.0%'):>6} {_shown(row['similarity'], '.2f'):>6} "
        f"{_shown(row['dnsmos'], '.2f'):>6} {_shown(row['rtf'], '.2f'):>5} {pitch:>8}"
    )


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _write(report: dict[str, Any], target: str) -> None:
    text = json.dumps(report, ensure_ascii=False, indent=2)
    if target == "-":
        print(text)
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InvalidRequest(f"The numbers cannot be written to {target}: {error.strerror}.") from None
    print(f"Numbers: {path}")
