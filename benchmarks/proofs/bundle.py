"""Builds the bundle for desktop shells and starts it as one does: an empty home, no Python, three pipes.

It speaks a sentence with the bundled voice, reads a recording, and ends in each way that a shell has.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks.chaos.announced_server import announced_server
from benchmarks.proofs.report import REPOSITORY, write_proof
from common.programs import PROGRAM_OPTION, PROGRAMS
from scripts.bundle_contents import NAME

LINE_SECONDS: Final = 30.0
"""How long a desktop shell waits for the line."""
READY_SECONDS: Final = 180.0
END_SECONDS: Final = 60.0
PORT: Final = 18_765
SENTENCE: Final = "The bundle speaks."
RECORDING: Final = REPOSITORY / "prompts" / "allison" / "prompt.wav"
DEPTH: Final = 12
"""Largest parts of the bundle that are named."""


@dataclass(slots=True)
class Server:
    """The executable as it runs, from its line on."""

    process: subprocess.Popen[str]
    client: httpx.Client
    line_seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Build the bundle, start and end it; return 0 when all of it went as the shell expects."""
    parser = argparse.ArgumentParser(prog="scripts/prove bundle", description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for the bundle, which needs 6 GB; default: a temporary one")
    parser.add_argument("--built", type=Path, metavar="FOLDER", help="a bundle that was built before")
    options = parser.parse_args(arguments)
    figures: dict[str, object] = {}
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prove-bundle-")))
        folder = (options.built or work / "dist" / NAME).absolute()
        if not options.built:
            began = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([REPOSITORY / "scripts" / "bundle", work / "dist"], check=True)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime
            figures["build_processor_seconds"] = round(seconds)
        bundle = Bundle(folder, work.absolute() / "run")
        figures |= bundle.sizes()
        before = bundle.state()
        faults = bundle.try_programs()
        figures |= bundle.speak_and_stop(faults)
        bundle.end_with_its_input(faults)
        bundle.end_when_killed(faults)
        if bundle.state() != before:
            faults.append("it writes into its own folder")
        if written := [path.name for path in bundle.home.iterdir()]:
            faults.append(f"it writes into the home: {', '.join(written)}")
    return write_proof("bundle", figures | {"faults": faults}, passed=not faults)


class Bundle:
    """A built bundle, and the folders that it runs with."""

    def __init__(self, folder: Path, run: Path) -> None:
        self.folder, self.executable = folder, folder / NAME
        self.home, self.data, self.empty = run / "home", run / "user data" / "training-data", run / "no programs"
        for path in (self.home, self.empty):
            path.mkdir(parents=True, exist_ok=True)
        self.log = run / "log"
        self.environment = {
            "HOME": str(self.home),
            "PATH": str(self.empty),
            "DEPLOYMENT_MODE": "local",
            "API_PORT": str(PORT),
            "DATA_PATH": str(self.data),
        }

    def sizes(self) -> dict[str, object]:
        """Return the bytes of the bundle, of an archive of it, and of its largest parts."""
        parts: dict[str, int] = {}
        for path in self.files():
            below = path.relative_to(self.folder).parts
            name = below[1] if below[0] == "_internal" else below[0]
            parts[name] = parts.get(name, 0) + path.lstat().st_size
        largest = dict(sorted(parts.items(), key=lambda item: -item[1])[:DEPTH])
        archive = self.folder.parent / "archive.tar.gz"
        subprocess.run(["tar", "-czf", archive, "-C", self.folder.parent, NAME], check=True)
        compressed = archive.stat().st_size
        archive.unlink()
        return {"bytes": sum(parts.values()), "compressed_bytes": compressed, "largest_parts": largest}

    def files(self) -> Iterator[Path]:
        """Yield its files; a link is a file of few bytes."""
        return (path for path in self.folder.rglob("*") if path.is_symlink() or path.is_file())

    def state(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change of each file."""
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in self.files()}

    def try_programs(self) -> list[str]:
        """Return which programs of the list cannot even be loaded; without a request each ends with a message."""
        faults = []
        for program in PROGRAMS:
            command = [str(self.executable), PROGRAM_OPTION, program]
            ended = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if "ImportError" in ended.stderr or "ModuleNotFoundError" in ended.stderr or not ended.stderr:
                faults.append(f"{program}: {ended.stderr[-500:]}")
        return faults

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Start it without arguments and wait for its line; nothing of it is left running."""
        began = time.monotonic()
        try:
            with announced_server([str(self.executable)], self.environment, self.log) as server:
                seconds = time.monotonic() - began
                if server.url != f"http://127.0.0.1:{PORT}":
                    raise SystemExit(f"The bundle listens at {server.url}.")
                with httpx.Client(base_url=server.url, timeout=READY_SECONDS) as client:
                    yield Server(server.process, client, round(seconds, 1))
        finally:
            wait_until(lambda: not self.processes(), END_SECONDS)

    def speak_and_stop(self, faults: list[str]) -> dict[str, object]:
        """Speak a sentence, read a recording, and stop by SIGTERM; return the figures."""
        began = time.monotonic()
        with self.running() as server:
            if server.line_seconds > LINE_SECONDS:
                faults.append(f"its line came after {server.line_seconds:g} s")
            for host in ("127.0.0.1", "[::1]"):
                if httpx.get(f"http://{host}:{PORT}/health").status_code != 200:
                    faults.append(f"no health at {host}")
            wait_until(lambda: "processes are ready" in self.log.read_text(), READY_SECONDS)
            ready = time.monotonic() - began
            body = {"model": "tts-1", "voice": "allison", "input": SENTENCE, "response_format": "pcm"}
            speech = server.client.post("/v1/audio/speech", json=body).raise_for_status()
            with RECORDING.open("rb") as recording:
                upload = server.client.post("/api/v1/files", files={"file": recording})
            if upload.json().get("sample_rate") != 16_000:
                faults.append(f"a recording cannot be read: {upload.text}")
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(END_SECONDS)
            left = self.processes()
        seconds = len(speech.content) / 2 / int(speech.headers.get("x-sample-rate", 24_000))
        if status != 0 or left:
            faults.append(f"SIGTERM: exit code {status}, {len(left)} processes left")
        if seconds < 0.5:
            faults.append(f"{seconds:.2f} s of speech")
        return {
            "line_seconds": server.line_seconds,
            "ready_seconds": round(ready, 1),
            "speech_seconds": round(seconds, 2),
            "exit_status": status,
        }

    def end_with_its_input(self, faults: list[str]) -> None:
        """Close its standard input, as a shell does that is gone."""
        with self.running() as server:
            assert server.process.stdin is not None
            server.process.stdin.close()
            if (status := server.process.wait(END_SECONDS)) != 0 or self.processes():
                faults.append(f"closed input: exit code {status}, {len(self.processes())} processes left")

    def end_when_killed(self, faults: list[str]) -> None:
        """Kill it; the kernel ends what it has started."""
        with self.running() as server:
            if len(self.processes()) < 3:
                faults.append(f"it has only {len(self.processes())} processes")
            server.process.kill()
            if not wait_until(lambda: not self.processes(), END_SECONDS):
                faults.append(f"SIGKILL: {len(self.processes())} processes left")

    def processes(self) -> list[int]:
        """Return the processes of the bundle: its executable, and the queue server in it."""
        running = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and Path(os.readlink(folder / "exe")).is_relative_to(self.folder):
                    running.append(int(folder.name))
        return running


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Return whether the condition held in time."""
    deadline = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


if __name__ == "__main__":
    raise SystemExit(main())
