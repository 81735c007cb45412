"""The synthesizer's memory while many voices speak in turns: small ones, each with checkpoints of its own."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx

from benchmarks.engine_streams import BASE
from benchmarks.report import Row
from common.repository import BUNDLED_PROMPTS
from core.jobs.roles import SYNTHESIZER
from core.records import Records, upgrade
from core.settings import read_settings
from core.storage import Storage, open_storage
from core.voices.prompt_catalog import CatalogPrompt, read_prompt_catalog
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, save_checkpoint
from roles.voices.convert import ConvertedCheckpoint
from roles.voices.publish import ImportedPrompt, UnpublishedVoice, publish
from scripts.demo_daemon import Daemon, descendants, process_name, resident_mib

VOICES: Final = 32
MIB_PER_THOUSAND: Final = 1.0
WARM_UP_ROUNDS: Final = 10
"""So often each voice speaks before the first measurement: until then buffers grow to the size that they keep."""
TEXT: Final = "Yes, of course."


def memory(requests: int, voices: int = VOICES) -> Iterator[Row]:
    """Measure how the synthesizer grows over many short requests to voices in turns."""
    with tempfile.TemporaryDirectory(prefix="bench-many-voices-") as folder:
        names = asyncio.run(publish_copies(Path(folder), voices))
        with (
            Daemon(Path(folder), Path(folder) / "log") as daemon,
            httpx.Client(base_url=daemon.url, timeout=300) as client,
        ):
            turns = itertools.cycle(names)
            speak(client, turns, WARM_UP_ROUNDS * voices)
            before = synthesizer_mib(daemon)
            speak(client, turns, requests)
            growth = (synthesizer_mib(daemon) - before) * 1000 / requests
            loaded = client.get("/api/v1/resources").json()["loaded"]
    count = sum(model["kind"] == "voice" for model in loaded)
    yield Row("small voices loaded at once", "", count, "goal", VOICES, count / VOICES)
    name = f"growth of the synthesizer in 1,000 requests to {voices} voices"
    yield Row(name, "MiB", growth, "goal", MIB_PER_THOUSAND, MIB_PER_THOUSAND / max(growth, 0.01))


def speak(client: httpx.Client, voices: Iterator[str], requests: int) -> None:
    """Speak a short text so often, each time with the next voice."""
    for voice in itertools.islice(voices, requests):
        body = {"model": "nano", "voice": voice, "input": TEXT, "response_format": "pcm"}
        client.post("/v1/audio/speech", json=body).raise_for_status()


def synthesizer_mib(daemon: Daemon) -> float:
    """Return the resident memory of the daemon's synthesizer but for mapped files, whose pages come and go."""
    return sum(
        resident_mib(pid, "RssAnon") for pid in descendants(daemon.process.pid) if process_name(pid) == SYNTHESIZER
    )


async def publish_copies(data: Path, count: int) -> list[str]:
    """Publish so many voices of nano's base, with files of their own, in a new data folder; return their names."""
    settings = read_settings(data_path=data)
    upgrade(settings.resolved_database_url)
    records, storage = Records(settings.resolved_database_url), open_storage(settings)
    prompt = next(iter(read_prompt_catalog(BUNDLED_PROMPTS).values()))
    try:
        voices = [await publish(copied_voice(storage, number, prompt), records, storage) for number in range(count)]
    finally:
        await records.close()
    return [voice.name for voice in voices]


def copied_voice(storage: Storage, number: int, prompt: CatalogPrompt) -> UnpublishedVoice:
    """Return nano's base as a voice; its files differ from those of other numbers."""
    recording = storage.new_temporary()
    shutil.copyfile(prompt.audio, recording)
    gpt, sovits = (copied_checkpoint(storage, kind, number) for kind in ("gpt", "sovits"))
    imported = ImportedPrompt("default", recording, prompt.text, prompt.language, [])
    return UnpublishedVoice(f"copy-{number}", prompt.language, gpt, sovits, (imported,))


def copied_checkpoint(storage: Storage, kind: str, number: int) -> ConvertedCheckpoint:
    """Write a file of the base once more, with a number in its header."""
    checkpoint, path = load_checkpoint(BASE / f"{kind}.safetensors"), storage.new_temporary()
    numbered = replace(checkpoint, info={**checkpoint.info, "copy": number})
    return ConvertedCheckpoint(kind, checkpoint.version, path, save_checkpoint(path, numbered, half=None), None, None)
