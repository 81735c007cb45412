"""`main.py prompts`: the best passages of a voice's recordings, through the running API; saved, or added as prompts."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sovitsd_client import Sovitsd

from commands.server import connected
from commands.terminal import print_json
from common.files import write_atomically
from core.errors import InvalidRequest
from core.settings import Settings


def prompts(options: argparse.Namespace, settings: Settings) -> int:
    """Print the proposals, best first; write their recordings and add one of them, where that is asked for."""
    if options.add is not None and not options.name.strip():
        raise InvalidRequest("The prompt that is added needs a name.", hint="Write --name calm.")
    path = f"/api/v1/voices/{quote(options.voice, safe='')}/prompts"
    with connected(options, settings) as client:
        parameters: dict[str, str | int] = {"count": options.count}
        if options.recording:
            parameters["file_id"] = client.files.upload(_existing(options.recording), "prompt").id
        proposed = client.json("GET", f"{path}/proposals", params=parameters)
        if options.save:
            for number, proposal in enumerate(proposed["items"], 1):
                recording = client.request("GET", proposal["audio_url"]).content
                write_atomically(Path(options.save) / f"{number}.wav", recording)
        if options.add is not None:
            _add(client, path, proposed["items"], options.add, options.name)
    if options.json:
        print_json(proposed)
        return 0
    for number, proposal in enumerate(proposed["items"], 1):
        place = proposal["source"] or f"from {proposal['start_seconds']:.1f} s"
        print(f"{number}. {proposal['score']:.2f}  {proposal['seconds']:.1f} s, {proposal['language']}, {place}")
        print(f"   {proposal['text']}")
    if options.add is not None:
        print(f"Added the prompt {options.name} to {options.voice}.")
    return 0


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise InvalidRequest(f"{path} is no file.", hint="Name a recording.")
    return Path(path)


def _add(client: Sovitsd, path: str, proposals: list[dict[str, Any]], number: int, name: str) -> None:
    """Add a proposal by its number, from 1, as an uploaded prompt is added."""
    if not 1 <= number <= len(proposals):
        raise InvalidRequest(f"There is no proposal {number}.", hint=f"They are 1 to {len(proposals)}.")
    proposal = proposals[number - 1]
    recording = client.request("GET", proposal["audio_url"]).content
    uploaded = client.files.upload(io.BytesIO(recording), "prompt", filename=f"{name}.wav")
    client.json(
        "POST",
        path,
        json={"name": name, "file_id": uploaded.id, "text": proposal["text"], "language": proposal["language"]},
    )
