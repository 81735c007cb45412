"""The systemd service: its files, and what systemd's own tools say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "install-service"
MOST_EXPOSURE = 30
"""Tenths of systemd's exposure level."""


def install(*arguments: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if str(REPOSITORY).startswith(("/root", "/home")):
        pytest.skip("a service sees no home folders, and this tree is in one")
    root = tmp_path_factory.mktemp("root")
    done = install("--root", str(root))
    assert done.returncode == 0, done.stderr
    return root


def unit_of(root: Path) -> Path:
    return root / "etc/systemd/system/sovitsd.service"


def test_the_unit_starts_this_tree_with_private_settings(root):
    unit = unit_of(root).read_text(encoding="utf-8")

    assert f"ExecStart={REPOSITORY}/.venv/bin/python {REPOSITORY}/main.py serve" in unit
    assert "@FOLDER@" not in unit.replace("which replaces @FOLDER@", "")
    settings = root / "etc/sovitsd/sovitsd.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.read_text(encoding="utf-8") == (REPOSITORY / "env.example").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd's tools are not installed")
def test_systemd_accepts_the_unit_and_finds_it_well_confined(root):
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit_of(root)], capture_output=True, text=True, check=False, timeout=60
    )
    security = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={MOST_EXPOSURE}", unit_of(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (verified.returncode, verified.stderr) == (0, "")
    assert security.returncode == 0, security.stdout


def test_the_stop_of_the_unit_waits_for_a_drain(root):
    unit = unit_of(root).read_text(encoding="utf-8")
    settings = dict(re.findall(r"^(DRAIN_\w+_SECONDS)=([\d.]+)", (REPOSITORY / "env.example").read_text(), re.M))

    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)

    assert int(seconds) > sum(float(value) for value in settings.values())


def test_an_upgrade_keeps_settings_and_a_removal_keeps_data_until_it_is_purged(root):
    settings, data = root / "etc/sovitsd/sovitsd.env", root / "var/lib/sovitsd"
    settings.write_text("PORT=9999\n", encoding="utf-8")
    data.mkdir(parents=True)

    assert install("--root", str(root)).returncode == 0
    assert settings.read_text(encoding="utf-8") == "PORT=9999\n"

    assert install("--root", str(root), "--remove").returncode == 0
    assert (unit_of(root).exists(), settings.exists(), data.exists()) == (False, True, True)

    assert install("--root", str(root), "--remove", "--purge").returncode == 0
    assert (settings.exists(), data.exists()) == (False, False)


@pytest.mark.parametrize(
    ("arguments", "word"), [(("--rot", "/x"), "--rot"), (("--purge",), "--remove"), (("--root",), "folder")]
)
def test_a_wrong_option_is_named(arguments, word):
    done = install(*arguments)

    assert done.returncode == 2
    assert word in done.stderr


def test_a_folder_that_systemd_cannot_run_from_is_rejected(tmp_path):
    script = tmp_path / "with space" / "scripts" / "install-service"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)

    done = install("--root", str(tmp_path / "root"), script=script)

    assert done.returncode == 2
    assert "spaces" in done.stderr
    assert not (tmp_path / "root").exists()
