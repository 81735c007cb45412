"""docs/faults.md names a test for every fault, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FAULTS = 32


def rows() -> list[tuple[str, str, str]]:
    text = (REPOSITORY / "docs" / "faults.md").read_text()
    return re.findall(r"^\| (\d*) ?\| .* \| `([^`:]+)::([^`]+)` \|$", text, re.MULTILINE)


def test_every_fault_has_a_test_of_its_own_that_exists():
    listed = rows()

    assert [number for number, _, _ in listed if number] == [str(number) for number in range(1, FAULTS + 1)]
    for _, path, name in listed:
        tree = ast.parse((REPOSITORY / path).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in names, f"{path} has no {name}"
    assert len({name for _, _, name in listed}) == len(listed)
