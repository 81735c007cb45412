"""Voices on their way over HTTP, opened by a limited child, spoken by real models in miniature."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import torch
from daemon_stage import until
from foreign_voice_files import SAID, Home, write_home
from process_children import children_of
from tiny_experiment import write_models
from wav_chunks import samples_of

from api.app import create_app
from common.storage_keys import import_file
from core.errors import InvalidRequest, NotFound, PermanentError
from core.jobs.job import NewJob
from core.jobs.roles import FILES
from core.records import Records, upgrade
from core.settings import Settings, read_settings
from core.voices.archive import read_manifest
from core.voices.export import prepare_export
from core.voices.import_job import VoiceImportRequest
from roles.files import Files
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker
from roles.splitter import Splitter
from roles.synthesizer import Synthesizer
from roles.voices import import_child
from roles.voices.import_job import child_death


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("v2")
    write_models(folder, "v2")
    return folder


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Home:
    return write_home(tmp_path, models)


@pytest.fixture
def settings(home: Home, server: Any) -> Settings:
    settings = read_settings(
        data_path=home.data,
        redis_prefix=f"{home.folder.name}:",
        redis_url=server.url,
        mark_watermark=False,  # the mark of a speech depends on its voice's id
    )
    upgrade(settings.resolved_database_url)
    return settings


@pytest.fixture
def role(settings: Settings, server: Any) -> Iterator[Files]:
    services = WorkerServices(settings, server.url, threads=1)
    role = Files()
    role.start(services)
    yield role
    role.stop()
    services.close()


def run_import(role: Files, request: VoiceImportRequest, files: dict[str, Path]) -> dict[str, Any]:
    """One job of the role, whose files were uploaded."""
    job = role.services.queue.enqueue(NewJob(FILES, request.stored()))
    for part, path in files.items():
        role.services.storage.put_bytes(import_file(job.id, part), path.read_bytes())
    lease = role.services.queue.claim(FILES, f"worker-{job.id}")
    assert lease is not None
    return role.run(lease.job, JobContext(lease, role.services, threading.Event()))


def of_bob(home: Home) -> tuple[VoiceImportRequest, dict[str, Path]]:
    request = VoiceImportRequest(files=("gpt", "sovits", "prompt"), name="bob", text=SAID, language="zh")
    return request, {"gpt": home.gpt, "sovits": home.sovits, "prompt": home.take}


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the work of the child here, where the libraries are loaded already."""
    monkeypatch.setattr(
        "roles.voices.import_job.open_in_child", lambda plan, threads, context: import_child.open_voice(plan)
    )


@pytest.mark.slow
def test_files_of_the_original_become_a_voice_that_goes_out_and_in_byte_for_byte(
    home: Home, role: Files, no_child: None
):
    services = role.services
    result = run_import(role, *of_bob(home))
    again = run_import(role, *of_bob(home))
    voice = services.call(services.records.voices.get, "bob")
    gpt = services.call(services.records.checkpoints.get, voice.gpt_checkpoint_id)
    sovits = services.call(services.records.checkpoints.get, voice.sovits_checkpoint_id)
    archive = home.folder / "bob.zip"
    archive.write_bytes(b"".join(prepare_export(voice, gpt, sovits, services.storage).chunks()))

    services.call(services.records.voices.delete, "bob")
    for record in (gpt, sovits):
        services.call(services.records.checkpoints.delete, record.id)
        services.storage.delete(record.storage_key)
    brought = run_import(role, VoiceImportRequest(files=("archive",), name="Eve"), {"archive": archive})

    assert result == again, "a job that runs twice makes one voice"
    eve = services.call(services.records.voices.get, brought["voice_id"])
    manifest = read_manifest(archive)
    assert (eve.name, eve.version, eve.language) == ("Eve", "v2", "zh")
    assert eve.prompts[0]["tokens"] == voice.prompts[0]["tokens"] == manifest.prompts[0].tokens
    for checkpoint_id, archived, before in (
        (eve.gpt_checkpoint_id, manifest.gpt, gpt),
        (eve.sovits_checkpoint_id, manifest.sovits, sovits),
    ):
        record = services.call(services.records.checkpoints.get, checkpoint_id)
        assert (record.sha256, record.epoch, record.name) == (archived.sha256, before.epoch, before.name)
    stored = home.files()
    assert stored[gpt.storage_key] == gpt.sha256
    assert stored[sovits.storage_key] == sovits.sha256
    assert not [name for name in stored if name.startswith(("imports", ".tmp"))]


class Attack:
    """Code that runs when a pickle is read without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.slow
def test_hostile_weights_are_refused_by_the_child_and_deleted(home: Home, role: Files):
    request, files = of_bob(home)
    attack = {"weight": {}, "config": Attack(home.folder / "trace"), "info": ""}
    torch.save(attack, home.folder / "attack.pth", pickle_module=pickle)

    with pytest.raises(PermanentError, match=r"asks for .*mkdir"):
        run_import(role, request, {**files, "sovits": home.folder / "attack.pth"})

    assert not (home.folder / "trace").exists()
    assert home.rows("voices") == home.rows("checkpoints") == []
    assert not [name for name in home.files() if name.startswith(("imports", ".tmp"))]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_import_whose_child_somebody_kills_is_completed_by_another_child(home: Home, role: Files):
    request, files = of_bob(home)

    def kill() -> None:
        def child() -> int | None:
            children = children_of(os.getpid()).items()
            return next((pid for pid, command in children if "import_child" in command), None)

        os.kill(int(until(child, what="the child")), signal.SIGKILL)

    with ThreadPoolExecutor(1) as killer:
        killing = killer.submit(kill)
        imported = run_import(role, request, files)
        killing.result()

    assert len(home.rows("voices")) == 1
    assert home.rows("voices")[0]["id"] == imported["voice_id"]


def test_an_import_whose_files_are_gone_says_so(home: Home, role: Files):
    request, _ = of_bob(home)

    with pytest.raises(NotFound, match="deleted meanwhile"):
        run_import(role, request, {})


def test_a_child_that_dies_is_the_fault_of_its_files_when_it_was_killed():
    killed = child_death(-9, "SIGKILL", [])
    confused = child_death(1, "", ["Traceback", "ValueError: what"])

    assert isinstance(killed, InvalidRequest)
    assert "SIGKILL" in killed.message
    assert not isinstance(confused, PermanentError), "it is tried again"
    assert "ValueError: what" in confused.message


def test_an_import_that_takes_too_long_is_stopped_and_its_files_are_deleted(
    home: Home, role: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("roles.voices.import_job.MAX_SECONDS", 0.0)

    with pytest.raises(InvalidRequest, match="stopped after 0 s"):
        run_import(role, *of_bob(home))

    assert not [name for name in home.files() if name.startswith(("imports", ".tmp"))]


LIMITED_CHILD = """
import resource, sys
from pathlib import Path
from core.memory import address_space_bytes, available_memory_mb
from roles.voices.import_child import MEMORY_SHARE, limit_resources
available = available_memory_mb() << 20
limit_resources(1000, Path(sys.argv[1]))
spare = resource.getrlimit(resource.RLIMIT_AS)[0] - address_space_bytes()
print(spare < available, Path("/proc/self/oom_score_adj").read_text().strip())
try:
    bytearray(available)
except MemoryError:
    print("not enough memory")
block = bytearray(available // 4)
print(len(block) == available // 4, resource.getrlimit(resource.RLIMIT_CPU)[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit of memory")
def test_the_limits_of_an_import_take_effect_on_this_host(tmp_path: Path):
    """What the host has now may not be allocated; a quarter of it, which is not even touched, may."""
    completed = subprocess.run(
        [sys.executable, "-c", LIMITED_CHILD, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert completed.stdout.splitlines() == ["True 1000", "not enough memory", "True 1800"]


@pytest.fixture
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Run the API and a worker of each role that it needs."""
    monkeypatch.setattr("roles.runtime.worker.CLAIM_SECONDS", 0.1)
    workers = []
    for role in (Splitter(), Synthesizer(), Files()):
        services = WorkerServices(settings, settings.redis_url, threads=1)
        await asyncio.to_thread(role.start, services)
        worker = Worker(role, services, f"{role.name}-{settings.redis_prefix}")
        workers.append((worker, threading.Thread(target=worker.run)))
    for _, thread in workers:
        thread.start()
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http_client,
    ):
        yield http_client
    for worker, thread in workers:
        worker.drain()
        await asyncio.to_thread(thread.join)
        worker.services.close()


async def ended(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return the answer of a GET once its events have ended."""
    await client.get(f"{path}/progress", timeout=200)
    shown: dict[str, Any] = (await client.get(path)).json()
    return shown


@pytest.mark.slow
async def test_a_voice_comes_speaks_goes_out_and_speaks_the_same_under_another_name(
    home: Home, client: httpx.AsyncClient, settings: Settings
):
    parts = {"gpt": home.gpt, "sovits": home.sovits, "prompt": home.take}
    files = {name: (path.name, path.read_bytes()) for name, path in parts.items()}

    job = await client.post("/api/v1/voices/import", files=files, data={"name": "bob", "text": SAID, "language": "zh"})
    bob = await ended(client, f"/api/v1/jobs/{job.json()['id']}")
    archive = (await client.get("/api/v1/voices/bob/export")).content
    job = await client.post("/api/v1/voices/import", files={"archive": ("b.zip", archive)}, data={"name": "Eve"})
    eve = await ended(client, f"/api/v1/jobs/{job.json()['id']}")
    items = [
        {"text": "你好。", "voice": name, "seed": 3, "filename": name, "language": "zh"} for name in ("bob", "Eve")
    ]
    bad = {"text": "{nonsense|", "voice": "bob", "input_type": "ssml"}
    batch = await client.post("/api/v1/inference/batch", json={"items": [*items, bad]})
    shown = await ended(client, f"/api/v1/inference/batch/{batch.json()['id']}")
    zipped = (await client.get(shown["result"]["download_url"])).content

    assert (bob["status"], eve["status"]) == ("done", "done"), (bob["error"], eve["error"])
    models = (await client.get("/api/v1/models")).json()
    assert models["total"] == 2, "the same bytes are kept once"
    assert {voice["name"] for voice in models["items"][0]["voices"]} == {"bob", "Eve"}
    with zipfile.ZipFile(io.BytesIO(zipped)) as opened:
        manifest = orjson.loads(opened.read("manifest.json"))
        assert [item["status"] for item in manifest["items"]] == ["completed", "completed", "failed"], manifest
        samples = samples_of(opened.read("bob.wav"))
        assert samples == samples_of(opened.read("Eve.wav"))  # behind them is what each request is marked with
        assert len(samples) > 6_400
    assert "SSML" in manifest["items"][2]["error"]["message"]
    records = Records(settings.resolved_database_url)
    assert (await records.voices.get("Eve")).prompts[0]["tokens"] == (await records.voices.get("bob")).prompts[0][
        "tokens"
    ]
    await records.close()
