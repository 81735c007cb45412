"""Identifiers sort by when they were made."""

from core.ids import is_generated, new_id


def test_ids_made_in_one_millisecond_sort_in_the_order_of_their_creation() -> None:
    ids = [new_id("file") for _ in range(5000)]

    assert len({identifier[:14] for identifier in ids}) < len(ids), "some share their millisecond"
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(is_generated(identifier, "file") for identifier in ids)
