"""Languages are found by any of their names."""

from __future__ import annotations

import pytest

from common.languages import LANGUAGE_ALIASES, LANGUAGE_CODES, find_language


@pytest.mark.parametrize("code", LANGUAGE_CODES)
def test_a_code_stands_for_itself_in_any_case_and_with_either_separator(code):
    assert find_language(code) == code
    assert find_language(f" {code.upper().replace('_', '-')} ") == code


@pytest.mark.parametrize(("name", "code"), LANGUAGE_ALIASES.items())
def test_an_alias_stands_for_its_code(name, code):
    assert find_language(name.upper().replace("-", "_")) == code


@pytest.mark.parametrize("name", ["fr", "zh-mars", "all", "yue_auto"])
def test_an_unknown_name_stands_for_nothing(name):
    assert find_language(name) is None
