"""The wheel: everything that the program reads is inside, and it runs from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from benchmarks.chaos.announced_server import announced_server
from core.settings import REPOSITORY

PACKAGES = ("common", "core", "recovery", "supervisor", "roles", "api", "commands", "GPT_SoVITS", "prompts")
NOT_INSTALLED = ("GPT_SoVITS/gpt/native/csrc/",)
"""What only a build reads."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tracked files, without the decoder in C++, which other tests build."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in tracked.stdout.decode().strip("\0").split("\0"):
        if (name.startswith((*PACKAGES, "scripts", "server", "client/")) or "/" not in name) and (
            REPOSITORY / name
        ).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / "source" / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."],
        cwd=folder / "source",
        env={**os.environ, "CC": "false", "CXX": "false", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
    )
    (path,) = folder.glob("sovitsd-0*.whl")
    return path


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, which shares this one's packages, and return its command."""
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, with_pip=False, symlinks=True)
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
    )
    return environment / "bin" / "sovitsd"


@pytest.fixture
def run_program(program, tmp_path):
    """Run the command with an empty home, in an empty folder."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *arguments],
            cwd=folder,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_its_packages(wheel):
    tracked = subprocess.run(["git", "ls-files", "-z", *PACKAGES], cwd=REPOSITORY, capture_output=True, check=True)
    names = [name for name in tracked.stdout.decode().strip("\0").split("\0") if (REPOSITORY / name).is_file()]

    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())

    assert [name for name in names if name not in inside and not name.startswith(NOT_INSTALLED)] == []
    assert {
        "main.py",
        "scripts/demo_run.py",
        "core/jobs/lua/ack.lua",
        "sovitsd_client/py.typed",
        "server/training_service.py",
    } <= inside
    assert not [name for name in inside if name.startswith(("tests/", "docs/", "benchmarks/", "console/"))]


@pytest.mark.slow
def test_the_client_is_a_package_of_its_own(tmp_path):
    source = shutil.copytree(REPOSITORY / "client", tmp_path / "client", ignore=shutil.ignore_patterns("*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), source],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("sovitsd_client-")}
    assert names == {f"sovitsd_client/{path.name}" for path in (REPOSITORY / "client" / "sovitsd_client").glob("*.*")}


@pytest.mark.slow
def test_it_tells_its_version_and_examines_the_host_from_anywhere(run_program, tmp_path):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]

    answer = run_program("--version")
    examined = run_program("doctor")

    assert answer.stdout == f"sovitsd {version}\n"
    assert answer.returncode == 0
    assert f"sovitsd {version}, Python" in examined.stdout, examined.stderr
    assert f"data folder: {tmp_path}/home/.local/share/sovitsd" in examined.stdout
    assert "Missing\n  nothing that is needed" in examined.stdout
    assert "cannot be used" not in examined.stdout  # the bundled prompts can be read
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.slow
def test_the_daemon_of_the_wheel_has_the_bundled_voices_and_the_console(program, tmp_path):
    data = tmp_path / "data of the daemon"
    environment = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "DATA_PATH": str(data), "PORT": "0"}
    command = [str(program), "serve", "--roles", "splitter"]
    with announced_server(command, environment, tmp_path / "log", cwd=tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            voices = client.get("/api/v1/voices").json()["items"]
            page = client.get("/console/")
        server.process.terminate()
        server.process.wait(timeout=60)

    assert [voice["language"] for voice in voices]
    assert page.status_code == 200
    assert "<html" in page.text
