"""The program that asks torch what it can use, for processes that do not load it.

`torch_probe backends` prints which of `rocm` and `mps` it can; `torch_probe compute DEVICE` ends with an error where
DEVICE does not compute.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Answer one question."""
    import torch

    if arguments[0] == "compute":
        torch.ones(1, device=arguments[1]).add_(1).item()
        return 0
    backends = {
        "rocm": torch.version.hip is not None and torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    print(*(name for name, usable in backends.items() if usable))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
