"""The resource-limited child process that reads labels: `python -m core.marks.label_child FILE [ANCHORS]`.

It prints one JSON object: the tags of a file, and what the reader of Content Credentials says of it. ANCHORS is a PEM
file with the certificates that are trusted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from core.marks.content_credentials import read_credentials
from core.media.decoder_child import UnusableAudio, limit_resources, open_container
from core.media.piecewise_file import CorrectedFile


def main(arguments: list[str]) -> int:
    """Print what is found in a file."""
    limit_resources()
    path = Path(arguments[0])
    anchors = Path(arguments[1]).read_text() if len(arguments) > 1 else ""
    try:
        result: dict[str, Any] = {"tags": _read_tags(path), "credentials": read_credentials(path, anchors)}
    except UnusableAudio as error:
        result = {"error": str(error)}
    print(json.dumps(result))
    return 0


def _read_tags(path: Path) -> dict[str, str]:
    with path.open("rb") as file, open_container(CorrectedFile(file)) as container:
        tags = {**container.metadata}
        for stream in container.streams:
            tags |= stream.metadata
    return {str(name): str(text) for name, text in tags.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
