"""The demo's report: numbers, pictures, and an honest word about what can be heard."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from common.program_name import program_name
from GPT_SoVITS.dataset.word_errors import BY_CHARACTERS

INTELLIGIBLE_WER = 0.3
"""Up to this share of wrong words a listener still follows."""


@dataclass
class Findings:
    """What the demo saw while the daemon ran."""

    language: str
    """Of the recording and of what is spoken."""
    task: dict[str, Any] = field(default_factory=dict)
    voice: str = ""
    """Its name."""
    uploads_at: float = 0.0
    """When the upload began, by `time.monotonic`."""
    previews: list[dict[str, Any]] = field(default_factory=list)
    """What the voice spoke while it was trained, and how many seconds after the upload began."""
    voice_seconds: float = 0.0
    """From the beginning of the upload to the voice."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    speech: list[dict[str, Any]] = field(default_factory=list)
    peak_rss_mb: dict[str, float] = field(default_factory=dict)
    idle_rss_mb: dict[str, float] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)


def make_report(findings: Findings, recording: Path, output: Path, *, seconds: float) -> dict[str, Any]:
    """Judge the speech, draw the pictures, and write `report.json`."""
    from GPT_SoVITS.evaluation.evaluator import Evaluator
    from GPT_SoVITS.training.plots import plot_losses, plot_mel

    evaluator = Evaluator(output / "data" / "models", reference=recording)
    sentences = []
    for number, spoken in enumerate(findings.speech, start=1):
        judged = evaluator.evaluate_file(spoken["path"], spoken["text"], findings.language)
        sentences.append(
            {
                "text": spoken["text"],
                "file": spoken["path"].name,
                "seconds": judged.seconds,
                "real_time_factor": spoken["wall_seconds"] / judged.seconds,
                "heard": judged.transcript,
                "wer": judged.wer,
                "similarity": judged.similarity,
                "dnsmos": judged.dnsmos,
            }
        )
        plot_mel(spoken["path"], output / f"sentence-{number}.png")
    experiments = output / "data" / "storage" / "experiments"
    for metrics in sorted(experiments.glob("*/*/metrics.jsonl")):
        plot_losses(metrics, output / f"loss-{metrics.parent.name.split('_')[0]}.png")
    wer = sum(sentence["wer"] for sentence in sentences) / len(sentences)
    report = {
        "seconds": seconds,
        "output": str(output),
        "voice": findings.voice,
        "language": findings.language,
        "serve": f"DATA_PATH={output / 'data'} {start_command()}",
        "stage_seconds": findings.stage_seconds,
        "previews": findings.previews,
        "voice_seconds": findings.voice_seconds,
        "sentences": sentences,
        "mean_wer": wer,
        "intelligible": wer <= INTELLIGIBLE_WER,
        "idle_rss_mb": findings.idle_rss_mb,
        "peak_rss_mb": findings.peak_rss_mb,
        "queues": findings.queues,
        "clean": all(count == 0 for count in findings.queues.values()),
    }
    (output / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return report


def show_report(console: Console, report: dict[str, Any], output: Path) -> None:
    """Print the report as tables, and what it means in a sentence."""
    _show_stages(console, report)
    _show_speech(console, report)
    _show_memory(console, report)
    if report["previews"]:
        first = report["previews"][0]
        console.print(f"The first preview, {first['file']}, could be heard {first['seconds']:.0f} s after the upload.")
    console.print(f"The voice was ready {report['voice_seconds']:.0f} s after the upload.")
    console.print(f"All of it took {report['seconds']:.0f} s. Speech, pictures and report.json are in {output}/.")
    left = {name: count for name, count in report["queues"].items() if count}
    console.print(
        "The queues are empty and nothing is in the dead letters." if not left else f"[red]Left behind: {left}"
    )
    if not report["intelligible"]:
        unit = "character" if _by_characters(report) else "word"
        console.print(
            f"[yellow]Honestly: the {unit} error rate is {report['mean_wer']:.0%}, so much of it is not understood. "
            "This is the smallest recipe after a few minutes; the others start from official weights (docs/models.md)."
        )
    console.print(f"The voice {report['voice']} is in {output / 'data'}; to serve it: {report['serve']}")


def _by_characters(report: dict[str, Any]) -> bool:
    """Return whether the report's error rates are of characters, not of words."""
    return report["language"] in BY_CHARACTERS


def _show_stages(console: Console, report: dict[str, Any]) -> None:
    table = Table("stage", "seconds", title="Training")
    for stage, seconds in report["stage_seconds"].items():
        table.add_row(stage, f"{seconds:.1f}")
    console.print(table)


def _show_speech(console: Console, report: dict[str, Any]) -> None:
    rate = "CER" if _by_characters(report) else "WER"
    table = Table("sentence", "s", "RTF", rate, "similarity", "DNSMOS", "heard by Whisper", title="Speech")
    for sentence in report["sentences"]:
        table.add_row(
            sentence["text"],
            f"{sentence['seconds']:.1f}",
            f"{sentence['real_time_factor']:.2f}",
            f"{sentence['wer']:.0%}",
            f"{sentence['similarity']:.2f}",
            f"{sentence['dnsmos']:.2f}",
            sentence["heard"] or "(nothing)",
        )
    console.print(table)


def _show_memory(console: Console, report: dict[str, Any]) -> None:
    table = Table("process", "idle MiB", "peak MiB", title="Memory")
    for name, peak in sorted(report["peak_rss_mb"].items()):
        idle = report["idle_rss_mb"].get(name)
        table.add_row(name, f"{idle:.0f}" if idle is not None else "–", f"{peak:.0f}")
    console.print(table)


def start_command() -> str:
    """Return what starts the daemon from this folder, ready to be typed."""
    if (name := program_name()) != "main.py":
        return name
    python = Path(sys.executable)
    folder = Path.cwd()
    return f"{python.relative_to(folder) if python.is_relative_to(folder) else python} main.py"
