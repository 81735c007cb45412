"""docs/security.md covers every risk of the OWASP API Security Top 10 with tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "security.md").read_text()
ROWS = dict(re.findall(r"^\| (API\d+) (.+) \|$", DOCUMENT, re.MULTILINE))


def test_every_risk_of_the_top_ten_has_a_row():
    assert list(ROWS) == [f"API{number}" for number in range(1, 11)]


@pytest.mark.parametrize("risk", ROWS)
def test_a_risk_names_tests_that_exist(risk: str):
    paths = re.findall(r"`((?:tests|benchmarks|docs)/[^`]+)`", ROWS[risk])

    assert any(path.startswith("tests/") for path in paths)
    for path in paths:
        assert (REPOSITORY / path).exists(), path


def test_the_document_is_linked_where_users_look():
    for page, link in (
        ("README.md", "(docs/security.md)"),
        ("README.zh-CN.md", "(docs/security.zh-CN.md)"),
        ("docs/operations.md", "(security.md)"),
    ):
        assert link in (REPOSITORY / page).read_text(), page
