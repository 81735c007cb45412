"""The fast selection of tests: `scripts/test fast` runs what tests/fast.txt names."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SELECTION = (REPOSITORY / "tests" / "fast.txt").read_text().split()
WHOLE = ("common", "commands", "recovery", "supervisor")
"""Packages whose tests lie in one folder; those of the parts of other packages lie in one each."""


def packages() -> list[Path]:
    """Return the folders with modules, as far as they have a folder of tests."""
    parts = [path for name in ("api", "core", "roles", "GPT_SoVITS") for path in (REPOSITORY / name).iterdir()]
    return [path for path in [*(REPOSITORY / name for name in WHOLE), *parts] if any(path.glob("*.py"))]


def folder_of_tests(package: Path) -> str:
    name = package.relative_to(REPOSITORY).as_posix()
    return f"tests/{name.removeprefix('GPT_SoVITS/')}"


def test_every_entry_of_the_fast_selection_exists() -> None:
    assert [entry for entry in SELECTION if not (REPOSITORY / entry).exists()] == []


def test_the_fast_selection_has_folder_of_tests_every_package() -> None:
    folders = [folder_of_tests(package) for package in packages()]
    with_tests = [folder for folder in folders if any((REPOSITORY / folder).rglob("test_*.py"))]

    assert len(with_tests) > 30
    assert [
        folder for folder in with_tests if not any(f"{entry}/".startswith(f"{folder}/") for entry in SELECTION)
    ] == []
