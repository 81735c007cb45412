"""No fixture lies there unread: one that no test asks for proves nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from parity_fixtures import READ, ROOT

NO_FIXTURES = (".md", ".py", ".pyc")
"""What explains fixtures or makes their weights."""


def test_every_fixture_is_read_by_a_test(monkeypatch: pytest.MonkeyPatch):
    for module in sorted(Path(__file__).parent.rglob("test_parity_*.py")):
        monkeypatch.syspath_prepend(module.parent)
        importlib.import_module(module.stem)

    unread = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix not in NO_FIXTURES and path not in READ
    ]

    assert not unread, f"No test reads {', '.join(unread)}."
