"""`main.py checkpoint` and `main.py download`: look into files of weights, convert them, fetch the official ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.terminal import INTERRUPTED, print_json
from common.official_weights import PARTS
from common.program_name import program_name
from common.sentences import join_sentences
from common.versions import UPSTREAM_VERSIONS
from GPT_SoVITS.checkpoints.catalog import files_for, installed_parts
from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    from GPT_SoVITS.checkpoints.checkpoint import Checkpoint

OFFICIAL_SUFFIXES = (".pth", ".ckpt", ".pt", ".bin")


def run_checkpoint_command(options: argparse.Namespace) -> int:
    """Run `main.py checkpoint …` and return its exit code."""
    return _run({"inspect": inspect, "convert": convert}[options.checkpoint_command], options)


def run_download_command(options: argparse.Namespace, folder: Path, endpoint: str) -> int:
    """Run `main.py download …` into `folder` and return the exit code.

    `endpoint` is the address of a mirror of the hub; empty means the hub itself.
    """
    return _run(lambda namespace: download(namespace, folder, endpoint), options)


def inspect(options: argparse.Namespace) -> int:
    """Print what a file is, for people or as JSON."""
    from GPT_SoVITS.checkpoints.checkpoint_files import describe_checkpoint

    facts = describe_checkpoint(Path(options.file), version=options.version)
    if options.json:
        print_json(facts)
        return 0
    for name, value in facts.items():
        if name != "config" and value not in (None, "", {}):
            print(f"{name.replace('_', ' '):<14}{_shown(value)}")
    for section, values in facts["config"].items():
        print(f"config.{section}: {json.dumps(values, ensure_ascii=False)}")
    return 0


def convert(options: argparse.Namespace) -> int:
    """Write the weights of a file in another layout, a LoRA merged into its base where one is named."""
    from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
    from GPT_SoVITS.checkpoints.official_files import write_official

    source, target = Path(options.source), Path(options.target)
    layout = options.to or ("official" if target.suffix in OFFICIAL_SUFFIXES else "safetensors")
    if target.exists() and not options.overwrite:
        raise ModelError("exists", f"{target} is there already; --overwrite replaces it.")
    checkpoint = open_checkpoint(source, version=options.version)
    half: bool | None = None
    if options.base:
        base = open_checkpoint(Path(options.base), kind="sovits", version=options.version)
        checkpoint = _merge_lora(checkpoint, base, Path(options.base).name)
        half = True
    if layout == "official":
        write_official(target, checkpoint, posterior=True)
    else:
        save_checkpoint(target, checkpoint, half=half)
    if options.json:
        facts = {"version": checkpoint.version, "kind": checkpoint.kind}
        print_json({"file": str(target), "layout": layout, "bytes": target.stat().st_size, **facts})
        return 0
    title = f"{checkpoint.version} {checkpoint.kind}".strip()
    print(f"{target} holds the {title} weights of {source.name}: {target.stat().st_size:,} bytes.")
    return 0


def download(options: argparse.Namespace, folder: Path, endpoint: str) -> int:
    """Fetch what the names stand for; without a name, list what there is and what is installed."""
    if not options.names:
        if options.json:
            parts_here = [
                {"part": part.part, "version": part.version, "path": part.path} for part in installed_parts(folder)
            ]
            print_json({"folder": str(folder), "parts": parts_here})
            return 0
        print(f"Official weights in {folder}:")
        for part in installed_parts(folder):
            place = part.path.relative_to(folder) if part.path and part.path.is_relative_to(folder) else part.path
            print(f"  {part.part:<18}{part.version:<11}{place or '-'}")
        versions, parts = ", ".join(UPSTREAM_VERSIONS), ", ".join(PARTS)
        print(f"`{program_name()} download NAME` fetches a version ({versions}) or a part ({parts}).")
        return 0
    from GPT_SoVITS.checkpoints.download import HUB, fetch
    from GPT_SoVITS.checkpoints.modelscope import MODELSCOPE

    files = dict.fromkeys(file for name in options.names for file in files_for(name))
    mirror = MODELSCOPE if options.mirror == "modelscope" else options.mirror.rstrip("/")
    fetch(files, folder, endpoint=mirror or endpoint or HUB)
    if options.json:
        print_json({"folder": str(folder), "files": [file.path for file in files]})
    return 0


def _run(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return command(options)
    except ModelError as error:
        print(join_sentences(error.message, error.hint), file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    return 1


def _merge_lora(checkpoint: Checkpoint, base: Checkpoint, base_name: str) -> Checkpoint:
    """Merge a LoRA into its base; raise ModelError `wrong_checkpoint` or `wrong_base` when they do not match."""
    from GPT_SoVITS.checkpoints.identify import lora_rank
    from GPT_SoVITS.flow_matching.lora import merge

    rank = lora_rank(checkpoint.state)
    if rank is None:
        raise ModelError("wrong_checkpoint", "Only a LoRA is merged into a base, and this file is a whole model.")
    if lora_rank(base.state) is not None:
        raise ModelError("wrong_base", f"{base_name} is a LoRA itself, and a whole model is the base of one.")
    if base.version != checkpoint.version:
        raise ModelError(
            "wrong_base",
            f"{base_name} is a {base.version} model, and the LoRA needs a {checkpoint.version} base.",
            hint=f"If it is one all the same, say `--version {checkpoint.version}`.",
        )
    info = {name: value for name, value in checkpoint.info.items() if name != "lora_rank"}
    return replace(checkpoint, state=merge(base.state, checkpoint.state), info=info | {"merged_lora_rank": rank})


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return json.dumps(value, ensure_ascii=False)[1:-1] if isinstance(value, str) else json.dumps(value)
