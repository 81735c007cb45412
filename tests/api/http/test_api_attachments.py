"""Names of files to save (RFC 6266)."""

from __future__ import annotations

import pytest

from api.http.responses import attachment


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("allison.zip", 'attachment; filename="allison.zip"'),
        ("my voice (2).zip", 'attachment; filename="my voice (2).zip"'),
        ("café.zip", "attachment; filename=\"cafe.zip\"; filename*=UTF-8''caf%C3%A9.zip"),
        ("声.zip", "attachment; filename=\"_.zip\"; filename*=UTF-8''%E5%A3%B0.zip"),
        ('a"b\\c.zip', "attachment; filename=\"a_b_c.zip\"; filename*=UTF-8''a%22b%5Cc.zip"),
        ("a%41.zip", "attachment; filename=\"a_41.zip\"; filename*=UTF-8''a%2541.zip"),
        ("a\r\nX: y.zip", "attachment; filename=\"a__X_ y.zip\"; filename*=UTF-8''a%0D%0AX%3A%20y.zip"),
    ],
)
def test_every_name_has_a_form_in_ascii_and_where_it_differs_the_whole(filename: str, header: str) -> None:
    assert attachment(filename) == header
