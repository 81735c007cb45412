"""How upstream limits the recording that it takes a voice from; the product limits it to full scale."""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.audio import peak


def limit_reference(samples: np.ndarray) -> np.ndarray:
    """Divide a recording whose peak is above 1 by it, by 2 at most (docs/spec/s2-sovits.md §19)."""
    highest = peak(samples)
    return samples / min(2.0, highest) if highest > 1.0 else samples
