"""The official weights that a version needs, and which of them are in a folder.

The folder has upstream's layout, so that a user's own `pretrained_models` folder serves as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from common.versions import AUTO, SPEAKER_VECTOR_VERSIONS, UPSTREAM_VERSIONS

HUBERT = "chinese-hubert-base"
ROBERTA = "chinese-roberta-wwm-ext-large"
V2_FOLDER = "gsv-v2final-pretrained"
V4_FOLDER = "gsv-v4-pretrained"
BIGVGAN_FOLDER = "models--nvidia--bigvgan_v2_24khz_100band_256x"
V1_GPT = "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt"
V2_GPT = f"{V2_FOLDER}/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"
SUPER_RESOLUTION = "tools/AP_BWE_main/24kto48k"
SENSEVOICE = "sensevoice"


@dataclass(frozen=True, slots=True)
class PartLocation:
    """Where one version's weights of a part are, and what must be there for the part to be complete."""

    path: str
    """A file, or a folder where `contents` says so."""
    contents: tuple[str, ...] = ()
    """What a folder must hold; names with `|` between them are alternatives."""
    others: tuple[str, ...] = ()
    """Where upstream or its users keep the same thing; `*` stands for any name."""


def _same(path: str, *versions: str) -> dict[str, PartLocation]:
    return dict.fromkeys(versions, PartLocation(path))


ANY = ""
"""Stands for every version."""
PARTS: dict[str, dict[str, PartLocation]] = {
    "gpt": _same(V1_GPT, "v1") | _same(V2_GPT, "v2") | _same("s1v3.ckpt", "v2Pro", "v2ProPlus", "v3", "v4"),
    "sovits": _same("s2G488k.pth", "v1")
    | _same(f"{V2_FOLDER}/s2G2333k.pth", "v2")
    | _same("v2Pro/s2Gv2Pro.pth", "v2Pro")
    | _same("v2Pro/s2Gv2ProPlus.pth", "v2ProPlus")
    | _same("s2Gv3.pth", "v3")
    | _same(f"{V4_FOLDER}/s2Gv4.pth", "v4"),
    "discriminator": _same("s2D488k.pth", "v1")
    | _same(f"{V2_FOLDER}/s2D2333k.pth", "v2")
    | _same("v2Pro/s2Dv2Pro.pth", "v2Pro")
    | _same("v2Pro/s2Dv2ProPlus.pth", "v2ProPlus"),
    "hubert": {ANY: PartLocation(HUBERT, ("config.json", "pytorch_model.bin|model.safetensors"))},
    "roberta": {
        ANY: PartLocation(ROBERTA, ("config.json", "pytorch_model.bin|model.safetensors", "tokenizer.json|vocab.txt"))
    },
    "speaker_vector": {ANY: PartLocation("sv/pretrained_eres2netv2w24s4ep4.ckpt")},
    "vocoder": {
        "v3": PartLocation(
            BIGVGAN_FOLDER,
            ("config.json", "bigvgan_generator.pt"),
            ("bigvgan_v2_24khz_100band_256x", f"{BIGVGAN_FOLDER}/snapshots/*"),
        ),
        "v4": PartLocation(f"{V4_FOLDER}/vocoder.pth"),
    },
    "super_resolution": {
        "v3": PartLocation(
            SUPER_RESOLUTION,
            ("config.json", "g_24kto48k.zip"),
            ("AP_BWE_main/24kto48k", "24kto48k", f"../../{SUPER_RESOLUTION}"),
        )
    },
    "g2pw": {ANY: PartLocation("G2PWModel", ("g2pW.onnx",), ("../text/G2PWModel",))},
    "sensevoice": {ANY: PartLocation(SENSEVOICE, ("tokens.txt", "model.int8.onnx|model.onnx"))},
}
"""Part → version → location; the key `ANY` where all versions share one."""


LANGUAGES_WITH_ROBERTA = ("zh", "auto")
"""Languages of a recording whose transcripts may need RoBERTa: no other text loads it."""


def needed_parts(version: str, *, training: bool = False) -> tuple[str, ...]:
    """Return the parts that speaking with `version` needs, Chinese and cloning included; none for nano.

    `training` adds the discriminator.
    """
    if version not in UPSTREAM_VERSIONS:
        return ()
    parts = ["gpt", "sovits", "hubert", "roberta"]
    if version in SPEAKER_VECTOR_VERSIONS:
        parts.append("speaker_vector")
    if version in PARTS["vocoder"]:
        parts.append("vocoder")
    if training and version in PARTS["discriminator"]:
        parts.append("discriminator")
    return tuple(parts)


def part_location(part: str, version: str | None) -> PartLocation | None:
    """Return where a part of a version belongs; None for a version that has no such part."""
    locations = PARTS[part]
    return locations.get(ANY) or locations.get(version or "")


def locate_part(folder: Path, location: PartLocation) -> Path | None:
    """Return the complete file or folder at a location below `folder`; None when something is missing."""
    for path in (location.path, *location.others):
        for match in matching_paths(folder, path):
            if not missing_names(match, location):
                return match
    return None


def installed_weights(folder: Path) -> frozenset[str]:
    """Return the names (`weights_name`) of all parts that are complete in `folder`."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(
        weights_name(part, version)
        for part, locations in PARTS.items()
        for version, location in locations.items()
        if locate_part(folder, location) is not None
    )


def missing_parts(weights: Set[str], version: str, language: str = AUTO) -> tuple[str, ...]:
    """Return the parts that training and speaking with `version` needs and that are not among installed weights.

    Args:
        weights: names as `installed_weights` returns them.
        language: of the recording; only Mandarin needs RoBERTa.
    """
    return tuple(
        part
        for part in needed_parts(version, training=True)
        if weights_name(part, version) not in weights and (part != "roberta" or language in LANGUAGES_WITH_ROBERTA)
    )


def weights_name(part: str, version: str) -> str:
    """Return one name for a part of a version: `gpt v2`; `hubert` for what all versions share."""
    return part if ANY in PARTS[part] else f"{part} {version}"


def matching_paths(folder: Path, path: str) -> Iterator[Path]:
    """Yield existing paths below `folder`: `*` is any name, and case is ignored where the exact name is absent."""
    paths = [folder]
    for name in path.split("/"):
        paths = [entry for parent in paths for entry in _entries(parent, name)]
    yield from paths


def _entries(parent: Path, name: str) -> list[Path]:
    """List the entries of a folder that a name matches."""
    if (parent / name).exists():
        return [parent / name]
    if not parent.is_dir():
        return []
    return sorted(
        entry for entry in parent.iterdir() if name in ("*", entry.name) or entry.name.lower() == name.lower()
    )


def missing_names(path: Path, location: PartLocation) -> list[str]:
    """List what keeps the part at `path` from being complete."""
    if not location.contents:
        return [] if path.is_file() else [location.path]
    return [
        f"{location.path}/{names.replace('|', ' or ')}"
        for names in location.contents
        if not any(entry.is_file() for name in names.split("|") for entry in _entries(path, name))
    ]
