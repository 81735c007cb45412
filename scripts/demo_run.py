"""The demo: start the daemon, send it a recording, watch it train, let it speak, and measure what came out."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from commands.terminal import print_json
from scripts.demo_daemon import Daemon
from scripts.demo_language import DEMO_LANGUAGES
from scripts.demo_report import Findings, make_report, show_report

console = Console()


def run_demo(output: Path, quality: str, language: str, *, as_json: bool = False) -> int:
    """Run the demo into a folder; exit code 0 when a voice was made, spoke, and nothing was left behind.

    `as_json`: the report alone is written to standard output, and what happens until then to standard error.
    """
    if as_json:
        with redirect_stdout(sys.stderr):
            report = _run(output, quality, language)
        if report is not None:
            print_json(report)
    else:
        report = _run(output, quality, language)
        if report is not None:
            show_report(console, report, output)
    return 0 if report is not None and report["clean"] else 1


def _run(output: Path, quality: str, language: str) -> dict[str, Any] | None:
    """Run the demo and return its report; None when the training failed."""
    started = time.monotonic()
    _clear(output)
    findings = Findings(language)
    with Daemon(output / "data", output / "daemon.log") as daemon:
        console.print(f"The daemon answers at {daemon.url}; its log is {daemon.log}.")
        with httpx.Client(base_url=daemon.url, timeout=120) as client:
            findings.uploads_at = time.monotonic()
            task_id = _create_task(client, quality, language)
            if not _watch(client, task_id, findings, output):
                return None
            _speak(client, findings, output)
            findings.queues = client.get("/readyz").json()["queues"]
        findings.idle_rss_mb, findings.peak_rss_mb = daemon.memory()
    recording = DEMO_LANGUAGES[language].recording
    return make_report(findings, recording, output, seconds=time.monotonic() - started)


def _clear(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / "data", ignore_errors=True)
    for pattern in ("*.wav", "*.png", "report.json", "daemon.log"):
        for old in output.glob(pattern):
            old.unlink()


def _create_task(client: httpx.Client, quality: str, language: str) -> str:
    source = DEMO_LANGUAGES[language].recording
    with source.open("rb") as sound:
        uploaded = client.post("/api/v1/files", files={"file": (source.name, sound)}, data={"purpose": "training"})
    _check(uploaded)
    recording = uploaded.json()
    console.print(
        f"Uploaded {recording['filename']}: {recording['duration_seconds']:.0f} s at {recording['sample_rate']} Hz."
    )
    created = client.post(
        "/api/v1/tasks",
        json={
            "exp_name": "my-voice",
            "audio_file_id": recording["id"],
            "options": {"version": "nano", "language": language, "quality": quality},
        },
    )
    _check(created)
    return str(created.json()["id"])


def _watch(client: httpx.Client, task_id: str, findings: Findings, output: Path) -> bool:
    """Draw a bar a stage from the task's events until it ends."""
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(40),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars = StageBars(progress)
        for kind, data in _events(client, f"/api/v1/tasks/{task_id}/progress"):
            if kind == "progress":
                bars.update(data)
            elif kind == "preview":
                _keep_preview(client, task_id, data, findings, output)
            elif kind in ("completed", "failed", "cancelled"):
                break
        findings.stage_seconds = bars.seconds
    findings.voice_seconds = round(time.monotonic() - findings.uploads_at, 1)
    findings.task = client.get(f"/api/v1/tasks/{task_id}").json()
    if findings.task["status"] != "completed":
        console.print(f"[red]The task ended as {findings.task['status']}: {findings.task['error_message']}")
        return False
    return True


def _keep_preview(
    client: httpx.Client, task_id: str, preview: dict[str, Any], findings: Findings, output: Path
) -> None:
    """Write what the voice in training spoke into the folder, and note when that could be heard."""
    exp_id = client.get(f"/api/v1/tasks/{task_id}").json()["exp_id"]
    name = str(preview["sample"]).rpartition("/")[2]
    answer = client.get(f"/api/v1/experiments/{exp_id}/stages/{preview['stage']}/artefacts/{name}")
    _check(answer)
    path = output / f"preview-{str(preview['stage']).removesuffix('_train')}-{name}"
    path.write_bytes(answer.content)
    seconds = round(time.monotonic() - findings.uploads_at, 1)
    findings.previews.append({"file": path.name, "epoch": preview["epoch"], "seconds": seconds})
    console.print(f"After {seconds:.0f} s: {path.name} can be heard: {preview['text']}")


class StageBars:
    """One bar for each stage that was heard of, and the seconds from its first news to its last."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bars: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def update(self, data: dict[str, Any]) -> None:
        stage, now = data["stage"], time.monotonic()
        if stage not in self.bars:
            self.bars[stage] = self.progress.add_task(stage, total=1.0, note="")
            self.began[stage] = now
        note = f"loss {data['loss']:.3f}" if data.get("loss") is not None else data.get("message", "")
        self.progress.update(self.bars[stage], completed=data["progress"], note=note)
        self.seconds[stage] = round(now - self.began[stage], 2)


def _speak(client: httpx.Client, findings: Findings, output: Path) -> None:
    findings.voice = client.get(f"/api/v1/voices/{findings.task['voice_id']}").json()["name"]
    for number, sentence in enumerate(DEMO_LANGUAGES[findings.language].sentences, start=1):
        started = time.monotonic()
        answer = client.post(
            "/v1/audio/speech",
            json={"model": "nano", "voice": findings.voice, "input": sentence, "response_format": "wav"},
        )
        _check(answer)
        path = output / f"sentence-{number}.wav"
        path.write_bytes(answer.content)
        findings.speech.append({"text": sentence, "path": path, "wall_seconds": time.monotonic() - started})
        console.print(f"Spoke {path.name}: {sentence}")


def _events(client: httpx.Client, path: str) -> Any:
    """Yield the (kind, data) of a server-sent stream."""
    with client.stream("GET", path, timeout=httpx.Timeout(30, read=60)) as answer:
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                kind = line[6:].strip()
            elif line.startswith("data:"):
                yield kind, orjson.loads(line[5:])


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        console.print(
            f"[red]{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text}"
        )
        sys.exit(1)
