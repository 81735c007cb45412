"""`main.py train`, `upload`, `tasks`, `watch`, `cancel` and `voices`: what a server makes and has, over its API."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from sovitsd_client import Event, RecordingFile, Sovitsd, Task, Voice

from commands.server import connected
from commands.terminal import BOLD, STATUS_COLORS, colored, print_json, print_table
from core.errors import InvalidRequest, NotFound
from core.settings import Settings

PAGE = 200


def train(options: argparse.Namespace, settings: Settings) -> int:
    """Make a voice of a recording and show how far it is; return 0 once it speaks, 1 when the training failed."""
    with connected(options, settings) as client:
        recording = _upload(client, options.recording)
        if not options.json:
            print(_uploaded(recording))
        task = client.tasks.create(
            options.name,
            recording.id,
            language=options.language,
            quality=options.quality,
            version=options.version,
        )
        if options.no_wait:
            if options.json:
                print_json(task.data)
            else:
                print(f"{task.id} waits for its turn; `watch {task.id}` shows how far it is.")
            return 0
        return _follow(client, task.id, as_json=options.json)


def upload(options: argparse.Namespace, settings: Settings) -> int:
    """Upload recordings and print their ids."""
    with connected(options, settings) as client:
        for path in options.files:
            recording = _upload(client, path)
            if options.json:
                print(json.dumps(recording.data, ensure_ascii=False))
            else:
                print(_uploaded(recording))
    return 0


def list_tasks(options: argparse.Namespace, settings: Settings) -> int:
    """Print the newest tasks."""
    with connected(options, settings) as client:
        tasks = client.tasks.list(options.status, limit=options.limit).items
    if options.json:
        print_json([task.data for task in tasks])
        return 0
    rows = [
        (task.id, task.status, f"{task.overall_progress:.0%}", task.current_stage or "", task.exp_name)
        for task in tasks
    ]
    print_table(rows, ("id", "status", "done", "stage", "name"), [STATUS_COLORS.get(task.status, "") for task in tasks])
    return 0


def watch(options: argparse.Namespace, settings: Settings) -> int:
    """Show how far a task is until it has ended; return 0 when it completed."""
    with connected(options, settings) as client:
        return _follow(client, options.task, as_json=options.json)


def cancel(options: argparse.Namespace, settings: Settings) -> int:
    """Stop a task."""
    with connected(options, settings) as client:
        task = client.tasks.cancel(options.task)
    if options.json:
        print_json(task.data)
    else:
        print(f"{task.id} is {task.status}.")
    return 0


def list_voices(options: argparse.Namespace, settings: Settings) -> int:
    """Print all voices, newest first."""
    voices: list[Voice] = []
    with connected(options, settings) as client:
        total = 1
        while len(voices) < total:
            page = client.voices.list(PAGE, len(voices))
            voices += page.items
            total = page.total if page.items else 0
    if options.json:
        print_json([voice.data for voice in voices])
        return 0
    rows = [(voice.id, voice.version, voice.language, voice.name) for voice in voices]
    print_table(rows, ("id", "version", "language", "name"))
    return 0


def _upload(client: Sovitsd, path: str) -> RecordingFile:
    try:
        return client.files.upload(path)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None


def _uploaded(recording: RecordingFile) -> str:
    seconds = "" if recording.duration_seconds is None else f", {recording.duration_seconds:.0f} s"
    return f"{recording.id}  {recording.filename}{seconds}"


def _follow(client: Sovitsd, task_id: str, *, as_json: bool) -> int:
    """Print what happens to a task until it ends: a bar for each stage in a terminal, else a line when one begins."""
    if as_json:
        for event in client.tasks.watch(task_id):
            print(json.dumps({"event": event.name, **event.data}, ensure_ascii=False), flush=True)
    elif sys.stdout.isatty():
        _draw_bars(client, task_id)
    else:
        stage = ""
        for event in client.tasks.watch(task_id):
            if event.name == "progress" and event.data.get("stage") != stage:
                stage = str(event.data.get("stage"))
                print(stage, flush=True)
            elif event.name == "preview":
                print(preview_line(client.url, event.data), flush=True)
    task = client.tasks.get(task_id)
    if as_json:
        print(json.dumps({"event": "task", **task.data}, ensure_ascii=False))
    else:
        print(_ending(client, task))
    return 0 if task.status == "completed" else 1


def _draw_bars(client: Sovitsd, task_id: str) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(40),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=Console()) as progress:
        for event in client.tasks.watch(task_id):
            if event.name == "progress" and (stage := event.data.get("stage")):
                if stage not in bars:
                    bars[stage] = progress.add_task(stage, total=1.0, note="")
                progress.update(bars[stage], completed=event.data.get("progress") or 0.0, note=_note(event))
            elif event.name == "preview":
                progress.console.print(preview_line(client.url, event.data), soft_wrap=True)


def preview_line(url: str, preview: Mapping[str, Any]) -> str:
    """Return where a voice can be heard that is still trained."""
    _, exp_id, _, _, name = str(preview["sample"]).split("/")
    spoken = f"after epoch {preview['epoch']}" if preview["epoch"] else "before the training"
    return f"The voice {spoken}: {url}/api/v1/experiments/{exp_id}/stages/{preview['stage']}/artefacts/{name}"


def _note(event: Event) -> str:
    data: Mapping[str, Any] = event.data
    if data.get("loss") is not None:
        return f"epoch {data.get('epoch')} of {data.get('total_epochs')}, loss {data['loss']:.3f}"
    return str(data.get("message") or "")


def _ending(client: Sovitsd, task: Task) -> str:
    if task.status == "completed":
        voice = client.voices.get(task.voice_id) if task.voice_id else None
        name = voice.name if voice else task.exp_name
        return f'{colored(name, BOLD)} speaks: speak "Good morning." --voice {name!r}'
    return colored(
        f"The task ended as {task.status}: {task.error_message or 'nothing more is known'}", STATUS_COLORS["failed"]
    )
