"""Mends what clients of the eleven-step service send for slice_audio: each value under the name after its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from core.stages.parameters import SliceParameters

ORDER: Final = ("threshold", "min_length", "min_interval", "hop_size", "max_sil_kept", "_max", "alpha", "n_parts")


def unshift(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The parameters under their own names, and a sentence on what was moved; empty when nothing was.

    Only a loudness in dB is below zero: a `min_length` below zero is the threshold, and what follows is one off, too.
    """
    length = given.get("min_length")
    if isinstance(length, bool) or not isinstance(length, (int, float)) or length >= 0:
        return dict(given), ""
    mended = {name: value for name, value in given.items() if name not in ORDER}
    moved: list[str] = []
    for name, before in zip(ORDER[1:], ORDER, strict=False):
        if name not in given:
            continue
        if _stays(name, before, given[name]):
            mended[name] = given[name]
        else:
            mended[before] = given[name]
            moved.append(f"{name} {given[name]} is {before}")
    return mended, f"The parameters of slice_audio came shifted by one name and were put right: {', '.join(moved)}."


def _stays(name: str, before: str, value: Any) -> bool:
    """The last one is its own where it is a number of processes, or where it could not be the one before."""
    return name == ORDER[-1] and _fits(name, value) and (isinstance(value, int) or not _fits(before, value))


def _fits(name: str, value: Any) -> bool:
    try:
        SliceParameters.model_validate({name: value})
    except ValidationError:
        return False
    return True
