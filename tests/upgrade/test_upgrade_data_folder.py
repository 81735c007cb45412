"""A data folder of the version before the restructuring starts without loss: its jobs run, its task goes on."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
BASE = HERE.parents[1] / "GPT_SoVITS" / "base"
SECONDS = 200.0


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the older data folder; see make_data_folder.py."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(HERE / "data_folder.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    for kind, checkpoint_id in state(folder / "data")["checkpoints"].items():
        target = folder / "data" / "storage" / "checkpoints" / f"{checkpoint_id}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BASE / f"{kind}.safetensors", target)
    return folder / "data"


@pytest.fixture(scope="module")
def older(data_folder: Path) -> dict[str, Any]:
    return state(data_folder)


@pytest.fixture(scope="module")
def client(data_folder: Path) -> Iterator[httpx.Client]:
    daemon = Daemon(data_folder, data_folder.parent / "daemon.log")
    with daemon, httpx.Client(base_url=daemon.url, timeout=60) as connected:
        yield connected


def test_a_voice_of_the_older_version_is_listed_with_its_prompt(client: httpx.Client, older: dict[str, Any]) -> None:
    voice = client.get(f"/api/v1/voices/{older['voice_id']}").json()

    assert voice["name"] == "before the upgrade"
    assert voice["version"] == "nano"
    assert len(voice["prompts"]) == 1


@pytest.mark.parametrize("index", [0, 1])
def test_speech_that_waited_is_spoken(client: httpx.Client, older: dict[str, Any], index: int) -> None:
    job_id = older["speech_ids"][index]

    until(lambda: client.get(f"/api/v1/inference/{job_id}").json()["status"], "completed")
    samples, rate = soundfile.read(io.BytesIO(client.get(f"/api/v1/inference/{job_id}/audio").content))

    assert rate == 16_000
    assert len(samples) / rate > 2
    assert abs(samples).max() > 0.01


def test_a_data_set_that_waited_is_imported(client: httpx.Client, older: dict[str, Any]) -> None:
    until(lambda: client.get(f"/api/v1/datasets/{older['dataset_id']}").json()["status"], "ready")

    assert client.get(f"/api/v1/datasets/{older['dataset_id']}").json()["segments"] > 0


def test_an_interrupted_task_goes_on_with_the_stage_that_was_running(
    client: httpx.Client, older: dict[str, Any]
) -> None:
    stages = f"/api/v1/experiments/{older['experiment_id']}/stages"

    until(lambda: client.get(f"{stages}/asr").json()["status"], "completed")
    until(lambda: client.get(f"{stages}/semantic_token").json()["status"], "completed")
    cancelled = client.delete(f"/api/v1/tasks/{older['task_id']}")  # two trainings would say nothing more

    assert cancelled.status_code == 200
    assert client.get(f"{stages}/convert").json()["run"] == 1, "what was done is not done again"


def test_nothing_is_left_behind(client: httpx.Client) -> None:
    until(lambda: set(client.get("/readyz").json()["queues"].values()), {0})

    assert client.get("/api/v1/dead-letters").json()["total"] == 0


def state(data_folder: Path) -> dict[str, Any]:
    """Return the ids that make_data_folder.py noted."""
    noted: dict[str, Any] = json.loads((data_folder / "state.json").read_text())
    return noted


def until(read: Callable[[], Any], expected: Any) -> None:
    """Wait until `read` returns what is expected."""
    deadline = time.monotonic() + SECONDS
    while (value := read()) != expected:
        assert value != "failed"
        assert time.monotonic() < deadline, f"{value!r} did not become {expected!r}"
        time.sleep(0.1)
