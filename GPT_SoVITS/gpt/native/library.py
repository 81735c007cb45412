"""The compiled library, where this installation has one."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
from ctypes import POINTER, c_char_p, c_int, c_void_p
from functools import cache
from typing import Final

logger = logging.getLogger(__name__)

KERNELS_VARIABLE: Final = "SOVITSD_NATIVE_KERNELS"
"""Environment variable: `avx512`, `avx_vnni`, `avx2`, `portable` in place of the processor's best, or `off`."""


class Shape(ctypes.Structure):
    """`sovitsd::Shape` of csrc/decoder.h."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            *("layers", "width", "heads", "vocabulary", "end", "phonemes", "longest_phoneme"),
            *("layer_kind", "head_kind"),
        )
    ]


@cache
def load_library() -> ctypes.CDLL | None:
    """Return the library; None where it was not built, is switched off, or does not suit the processor."""
    if kernels_wanted() == "off":
        return None
    spec = importlib.util.find_spec("GPT_SoVITS.gpt.native._decoder")
    if spec is None or spec.origin is None:
        logger.info("The native decoder was not built (there was no C++ compiler at install): PyTorch decodes.")
        return None
    try:
        library = ctypes.CDLL(spec.origin)
    except OSError as error:
        logger.warning("The native decoder cannot be loaded, so PyTorch decodes: %s", error)
        return None
    library.sovitsd_kernels.restype = c_char_p
    library.sovitsd_kernels.argtypes = [c_char_p]
    library.sovitsd_new.restype = c_void_p
    library.sovitsd_new.argtypes = [POINTER(Shape), c_void_p, c_void_p, c_int, c_int, c_char_p]
    library.sovitsd_delete.restype = None
    library.sovitsd_delete.argtypes = [c_void_p]
    library.sovitsd_prefill.argtypes = [c_void_p, c_void_p, c_int, c_int, c_void_p, c_int, c_void_p]
    library.sovitsd_step.argtypes = [c_void_p, c_void_p, c_int, c_void_p]
    library.sovitsd_remove.argtypes = [c_void_p, c_int]
    if library.sovitsd_kernels(kernels_wanted().encode()) is None:
        logger.warning("%s=%s: this processor cannot run these kernels.", KERNELS_VARIABLE, kernels_wanted())
        return None
    return library


def kernels_wanted() -> str:
    """Return the kernels that the environment names; empty for the best."""
    return os.environ.get(KERNELS_VARIABLE, "")


def kernels_name() -> str:
    """Return the name of the kernels in use; empty without a library."""
    library = load_library()
    return "" if library is None else str(library.sovitsd_kernels(kernels_wanted().encode()).decode())
