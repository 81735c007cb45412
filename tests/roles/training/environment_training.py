"""In the place of a training program: one that fails with the names of the GPUs that it sees."""

from __future__ import annotations

import json
import os

if __name__ == "__main__":
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    print(json.dumps({"event": "error", "code": "training_failed", "message": f"It sees {gpus}.", "hint": ""}))
