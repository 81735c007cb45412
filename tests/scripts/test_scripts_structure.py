"""The check of the structure: no file is longer than 400 lines or larger than 5 MB without a reason, none is stray."""

from __future__ import annotations

import ast

from scripts.check_structure import LONGER_FILES, Module, find_long_files, find_stray_files, tracked_files


def module(path: str, lines: int) -> Module:
    text = "x = 1\n" * lines
    return Module(path.removesuffix(".py"), path, text, ast.parse(text), is_package=False)


def test_a_file_of_more_than_400_lines_is_a_finding_and_so_is_an_exception_that_is_not_needed() -> None:
    exceptions = [module(path, 401) for path in LONGER_FILES]
    findings = list(find_long_files([module("core/short.py", 400), module("core/long.py", 401), *exceptions]))

    assert [(finding.path, finding.message.split(":")[0]) for finding in findings] == [("core/long.py", "401 lines")]
    shorter = {finding.path for finding in find_long_files([module(path, 400) for path in LONGER_FILES])}
    assert shorter == LONGER_FILES


def test_what_a_program_left_in_the_repository_is_a_finding() -> None:
    files = {"resume.pt": 107_211_915, "events/out": 9, "docs/film.mp4": 5_000_001, "docs/picture.png": 5_000_000}

    assert [finding.path for finding in find_stray_files(files)] == ["resume.pt", "events/out", "docs/film.mp4"]
    assert list(find_stray_files({"GPT_SoVITS/base/sovits.safetensors": 29_487_540})) == []


def test_every_tracked_file_is_where_it_belongs() -> None:
    files = tracked_files()

    assert "main.py" in files
    assert list(find_stray_files(files)) == []
