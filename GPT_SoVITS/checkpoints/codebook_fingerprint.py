"""What tells whether the semantic tokens of two SoVITS files mean the same; without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from GPT_SoVITS.errors import ModelError

PARTS: Final = ("ssl_proj.weight", "ssl_proj.bias", "quantizer.vq.layers.0._codebook.embed")
"""The projection of the content features and the codebook, in every version from v1 to v4."""


def codebook_fingerprint(parts: Iterable[np.ndarray]) -> str:
    """Return a checksum of the PARTS, in float32, that is equal for two files whose tokens mean the same."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part, np.float32).tobytes())
    return digest.hexdigest()[:32]


def read_codebook_fingerprint(path: Path) -> str:
    """Return the fingerprint of a SoVITS in our own format; raise ModelError("wrong_base") where it has no codebook."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        if missing := set(PARTS).difference(file.keys()):
            raise ModelError("wrong_base", f"{path.name} holds no codebook of semantic tokens: no {min(missing)!r}.")
        return codebook_fingerprint(file.get_tensor(name) for name in PARTS)
