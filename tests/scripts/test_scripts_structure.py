"""The check of the structure: no file of the product is longer than 400 lines without a reason."""

from __future__ import annotations

import ast

from scripts.check_structure import LONGER_FILES, Module, find_long_files


def module(path: str, lines: int) -> Module:
    text = "x = 1\n" * lines
    return Module(path.removesuffix(".py"), path, text, ast.parse(text), is_package=False)


def test_a_file_of_more_than_400_lines_is_a_finding_and_so_is_an_exception_that_is_not_needed() -> None:
    exceptions = [module(path, 401) for path in LONGER_FILES]
    findings = list(find_long_files([module("core/short.py", 400), module("core/long.py", 401), *exceptions]))

    assert [(finding.path, finding.message.split(":")[0]) for finding in findings] == [("core/long.py", "401 lines")]
    shorter = {finding.path for finding in find_long_files([module(path, 400) for path in LONGER_FILES])}
    assert shorter == LONGER_FILES
