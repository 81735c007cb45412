"""The examples of other servers' contracts: sent in order, and every field of the responses compared.

An example is `{name, method, path, request, response_status, response}`, and where needed `headers`,
`response_headers`, `content_type` (its beginning), `capture` {name: path in the response}, `wait` (send again until),
`sse`, `seconds`, `when` (`training`: needs a finished or running training; `keys`: needs a server with keys). `request`
is a JSON body or `{"$multipart": …}`, `{"$query": …}`, `{"$raw": text}`. `${name}` stands for a captured value. A value
is literal, or `{"$type": …}` with `nullable`, `optional`, `enum`, `min`, `max`, `pattern`, `contains`, `items`,
`min_items`, `values`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_values import audio_faults, faults_of

HERE = Path(__file__).resolve().parent
Example = dict[str, Any]


def read_examples(service: str) -> list[Example]:
    """Return the examples of a service, in the order in which they are sent."""
    examples: list[Example] = json.loads((HERE / "examples" / f"{service}.json").read_text())
    return examples


def parameters(service: str, *, with_keys: bool = False) -> list[Any]:
    """Return one parameter per example that needs no training."""
    conditions = (None, "keys") if with_keys else (None,)
    return [
        pytest.param(example["name"], id=example["name"])
        for example in read_examples(service)
        if example.get("when") in conditions
    ]


class ContractClient:
    """A client of one service; what responses say is available to later examples."""

    def __init__(self, client: httpx.Client, recording: bytes, key: str = "") -> None:
        self.client = client
        self.recording = recording
        self.key_header = {"X-API-Key": key} if key else {}
        voices = client.get("/voices", headers=self.key_header).raise_for_status().json()
        self.values: dict[str, Any] = {
            "key": key,
            "unique": f"contract-{uuid.uuid4().hex[:12]}",
            "voice": voices[0],
        }

    def faults(self, example: Example) -> list[str]:
        """Send an example and return what is wrong with the response."""
        try:
            return self._faults(example)
        except KeyError as error:
            return [f"no earlier response has {error}"]
        except (httpx.HTTPError, ValueError, TypeError) as error:
            return [f"{type(error).__name__}: {error}"]

    def _faults(self, example: Example) -> list[str]:
        if "sse" in example:
            return self._stream_faults(self._fill(example["path"]), example["sse"])
        response = self._send(example)
        wait = example.get("wait")
        deadline = time.monotonic() + (wait["seconds"] if wait else 0)
        while wait and time.monotonic() < deadline and response.status_code == 200:
            if _value_at(response.json(), wait["path"]) in wait["in"]:
                break
            time.sleep(0.1)
            response = self._send(example)
        status = example["response_status"]
        if response.status_code not in (status if isinstance(status, list) else [status]):
            return [f"status {response.status_code}, not {status}: {response.text[:200]}"]
        faults: list[str] = []
        content_type = response.headers.get("content-type", "")
        if not content_type.startswith(example.get("content_type", "")):
            faults.append(f"content-type {content_type}, not {example['content_type']}")
        for name, spec in example.get("response_headers", {}).items():
            faults += faults_of(spec, response.headers.get(name), name)
        spec = self._fill(example["response"])
        kind = spec.get("$type") if isinstance(spec, dict) else None
        if kind == "audio":
            faults += audio_faults(spec, response.content)
        elif kind != "any":
            faults += faults_of(spec, response.json(), "")
        for name, path in example.get("capture", {}).items():
            try:
                self.values[name] = _value_at(response.json(), path)
            except (KeyError, IndexError, TypeError, ValueError):
                faults.append(f"{path}: missing, and later examples need it")
        return faults

    def _send(self, example: Example) -> httpx.Response:
        body = self._fill(example["request"])
        headers = dict(example.get("headers", {}))
        if not example.get("no_key"):
            headers = self.key_header | headers
        content: dict[str, Any] = {}
        if isinstance(body, dict) and "$multipart" in body:
            content["files"] = {
                name: ("recording.wav", self.recording, "audio/wav") if value == "$recording" else (None, value)
                for name, value in body["$multipart"].items()
            }
        elif isinstance(body, dict) and "$query" in body:
            content["params"] = body["$query"]
        elif isinstance(body, dict) and "$raw" in body:
            content["content"] = body["$raw"]
            headers["content-type"] = "application/json"
        elif body is not None:
            content["json"] = body
        path, seconds = self._fill(example["path"]), example.get("seconds", 15)
        return self.client.request(example["method"], path, headers=headers, timeout=seconds, **content)

    def _stream_faults(self, path: str, plan: dict[str, Any]) -> list[str]:
        """Read a stream to its end, which must come, and compare what its last event says."""
        events: list[tuple[str, str]] = []
        name, seconds = "message", plan.get("seconds", 10)
        deadline = time.monotonic() + seconds
        with self.client.stream("GET", path, headers=self.key_header, timeout=seconds) as response:
            content_type = response.headers.get("content-type", "")
            if response.status_code != 200 or "text/event-stream" not in content_type:
                return [f"status {response.status_code}, {content_type}, not 200 text/event-stream"]
            for line in response.iter_lines():
                if line.startswith("event:"):
                    name = line[6:].strip()
                elif line.startswith("data:"):
                    events.append((name, line[5:].strip()))
                elif not line:
                    name = "message"
                if time.monotonic() > deadline:
                    return [f"the stream did not end; {len(events)} events"]
        faults: list[str] = []
        if "last_event" in plan:
            last = events[-1] if events else ("nothing", "null")
            faults += faults_of(plan["last_event"], last[0], "last event")
            faults += faults_of(plan["last_data"], json.loads(last[1]), "last data")
        for _, data in events if "bare_data" in plan else []:
            faults += faults_of(plan["bare_data"], json.loads(data), "data")
        return faults

    def _fill(self, spec: Any) -> Any:
        """Put captured values in place of ${name}; KeyError where no response had one."""
        if isinstance(spec, str):
            return re.sub(r"\$\{(\w+)\}", lambda match: str(self.values[match[1]]), spec)
        if isinstance(spec, dict):
            return {key: self._fill(value) for key, value in spec.items()}
        return [self._fill(value) for value in spec] if isinstance(spec, list) else spec


def _value_at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
