"""Correction of slice_audio parameters that clients of the eleven-step service send under the next one's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from core.stages.parameters import SliceParameters

ORDER: Final = ("threshold", "min_length", "min_interval", "hop_size", "max_sil_kept", "_max", "alpha", "n_parts")
PARTS_IN_ALL: Final = "num_processes"
"""What is sent behind the last of them, after the number of the part (`is_speech`)."""


def unshift(parameters: Mapping[str, object]) -> tuple[dict[str, object], str]:
    """Return the parameters under their own names, and a sentence that lists the corrections; empty without any.

    Only a loudness in dB is below zero: a `min_length` below zero is the threshold, and what follows is shifted, too.
    """
    length = parameters.get("min_length")
    if isinstance(length, bool) or not isinstance(length, (int, float)) or length >= 0:
        return dict(parameters), ""
    corrected = {name: value for name, value in parameters.items() if name not in ORDER}
    corrections: list[str] = []
    for name, previous in zip(ORDER[1:], ORDER, strict=False):
        if name not in parameters:
            continue
        value = parameters[name]
        # The last one is in its place if it is a number of processes, or if the one before could not have it.
        is_last = name == ORDER[-1] and _is_valid(name, value)
        if is_last and (isinstance(value, int) or not _is_valid(previous, value)):
            corrected[name] = value
        else:
            corrected[previous] = value
            corrections.append(f"{name} {value} is {previous}")
    parts = corrected.pop(PARTS_IN_ALL, None)
    if parts is not None and ORDER[-1] not in corrected and _is_valid(ORDER[-1], parts):
        corrected[ORDER[-1]] = parts
        corrections.append(f"{PARTS_IN_ALL} {parts} is {ORDER[-1]}")
    sentence = f"The parameters of slice_audio came shifted by one name and were put right: {', '.join(corrections)}."
    return corrected, sentence


def _is_valid(name: str, value: object) -> bool:
    try:
        SliceParameters.model_validate({name: value})
    except ValidationError:
        return False
    return True
