"""A fresh daemon for each service, and its responses to all examples of the service."""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import Iterator

import httpx
import pytest
from contract_examples import ContractClient, read_examples

from scripts.demo_daemon import Daemon

KEY = "a-key-of-the-contracts"
RATE = 16_000
SECONDS = 40
"""Long enough that slicing it takes a moment."""


@pytest.fixture(scope="module")
def contract_daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Yield a daemon on a data folder of its own; a module that sets KEYS gets one that asks for a key."""
    folder = tmp_path_factory.mktemp("daemon")
    settings = {"VALID_API_KEYS": KEY} if getattr(request.module, "KEYS", False) else {}
    with Daemon(folder / "data", folder / "daemon.log", settings) as running:
        yield running


@pytest.fixture(scope="module")
def faults(request: pytest.FixtureRequest, contract_daemon: Daemon) -> dict[str, list[str]]:
    """Send all examples of the module's SERVICE in order; return the faults of each by its name."""
    key = KEY if getattr(request.module, "KEYS", False) else ""
    with httpx.Client(base_url=contract_daemon.url) as client:
        contract = ContractClient(client, _tone_bursts(), key)
        return {
            example["name"]: contract.faults(example)
            for example in read_examples(request.module.SERVICE)
            if example.get("when") in ((None, "keys") if key else (None,))
        }


def _tone_bursts() -> bytes:
    """Return a WAV of tones with pauses, which needs no speaker."""
    samples = []
    for index in range(SECONDS * RATE):
        seconds = index / RATE
        amplitude = 0.0 if seconds % 6.0 > 5.2 else 0.3 * (0.6 + 0.4 * math.sin(9 * seconds))
        phase = 2 * math.pi * (140 + 60 * math.sin(1.7 * seconds)) * seconds
        samples.append(int(32767 * amplitude * math.sin(phase)))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()
