"""Write the API's OpenAPI document to a file, for the types of the console. Usage: console_types.py FILE"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson

from api.app import create_app
from core.settings import read_settings


def main(path: Path) -> None:
    """Write the document."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(read_settings(data_path=Path(folder)))
        path.write_bytes(orjson.dumps(app.openapi()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
