"""The official weights by name: where they are, what a version needs of them, and what is installed.

The folder has upstream's layout, so that a user's own `pretrained_models` folder serves as it is.
`GPT_SoVITS.checkpoints.download` fetches what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.versions import SPEAKER_VECTOR_VERSIONS, UPSTREAM_VERSIONS
from GPT_SoVITS.errors import ModelError

BASE_FOLDER = Path(__file__).parents[1] / "base"
"""The models that every nano voice starts from; see the card beside them."""
OFFICIAL = "lj1995/GPT-SoVITS"
"""The hub's repository of upstream's pretrained files, in the same layout."""
BIGVGAN = "nvidia/bigvgan_v2_24khz_100band_256x"


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """One file of the official layout."""

    path: str
    """Below the folder of weights, with `/`."""
    what: str
    repository: str = OFFICIAL
    """Of the hub; empty where no repository is known and the file is put there by hand."""
    remote: str = ""
    """Its path in the repository, where it is not `path`."""
    size: int | None = None
    """Bytes, where the specification records them."""
    sha256: str = ""
    """Hex digest, where one is known beforehand; the hub names its own besides."""
    first_md5: str = ""
    """MD5 of the first 8192 bytes in hex, by which upstream recognizes its own files (s2-sovits §2.1)."""

    @property
    def source(self) -> str:
        """The file's path in its repository."""
        return self.remote or self.path


_HUBERT = "chinese-hubert-base"
_ROBERTA = "chinese-roberta-wwm-ext-large"
_V2 = "gsv-v2final-pretrained"
_V4 = "gsv-v4-pretrained"
_BIGVGAN_FOLDER = "models--nvidia--bigvgan_v2_24khz_100band_256x"
_V1_GPT = "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt"
_V2_GPT = f"{_V2}/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"
_SUPER_RESOLUTION = "tools/AP_BWE_main/24kto48k"

FILES = {
    file.path: file
    for file in (
        OfficialFile(_V1_GPT, "text to tokens, v1"),
        OfficialFile(_V2_GPT, "text to tokens, v2"),
        OfficialFile("s1v3.ckpt", "text to tokens, v2Pro, v2ProPlus, v3 and v4"),
        OfficialFile(
            "s2G488k.pth", "tokens to sound, v1", size=105_973_721, first_md5="dc3c97e17592963677a4a1681f30c653"
        ),
        OfficialFile(f"{_V2}/s2G2333k.pth", "tokens to sound, v2", first_md5="6642b37f3dbb1f76882b69937c95a5f3"),
        OfficialFile("v2Pro/s2Gv2Pro.pth", "tokens to sound, v2Pro", first_md5="c7e9fce2223f3db685cdfa1e6368728a"),
        OfficialFile(
            "v2Pro/s2Gv2ProPlus.pth", "tokens to sound, v2ProPlus", first_md5="66b313e39455b57ab1b0bc0b239c9d0a"
        ),
        OfficialFile("s2Gv3.pth", "tokens to mel, v3", first_md5="43797be674a37c1c83ee81081941ed0f"),
        OfficialFile(f"{_V4}/s2Gv4.pth", "tokens to mel, v4", first_md5="4f26b9476d0c5033e04162c486074374"),
        OfficialFile("s2D488k.pth", "discriminator, v1", size=93_533_667),
        OfficialFile(f"{_V2}/s2D2333k.pth", "discriminator, v2"),
        OfficialFile("v2Pro/s2Dv2Pro.pth", "discriminator, v2Pro"),
        OfficialFile("v2Pro/s2Dv2ProPlus.pth", "discriminator, v2ProPlus"),
        OfficialFile(f"{_HUBERT}/config.json", "sizes of HuBERT"),
        OfficialFile(f"{_HUBERT}/pytorch_model.bin", "HuBERT, speech to features", size=188_811_417),
        OfficialFile(f"{_ROBERTA}/config.json", "sizes of RoBERTa"),
        OfficialFile(f"{_ROBERTA}/pytorch_model.bin", "RoBERTa, Chinese text to features"),
        OfficialFile(f"{_ROBERTA}/tokenizer.json", "characters of RoBERTa"),
        OfficialFile("sv/pretrained_eres2netv2w24s4ep4.ckpt", "ERes2NetV2, a speaker's vector"),
        OfficialFile(f"{_BIGVGAN_FOLDER}/config.json", "sizes of BigVGAN", BIGVGAN, "config.json"),
        OfficialFile(
            f"{_BIGVGAN_FOLDER}/bigvgan_generator.pt", "BigVGAN, v3 mel to sound", BIGVGAN, "bigvgan_generator.pt"
        ),
        OfficialFile(f"{_V4}/vocoder.pth", "HiFi-GAN, v4 mel to sound"),
        OfficialFile(f"{_SUPER_RESOLUTION}/config.json", "sizes of AP-BWE", ""),
        OfficialFile(f"{_SUPER_RESOLUTION}/g_24kto48k.zip", "AP-BWE, 24 kHz to 48 kHz for v3", ""),
        OfficialFile("G2PWModel/g2pW.onnx", "g2pW, readings of Chinese characters", ""),
    )
}
"""Every official file by its path; the specifications give the names, sizes and checksums."""


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
    "gpt": _same(_V1_GPT, "v1") | _same(_V2_GPT, "v2") | _same("s1v3.ckpt", "v2Pro", "v2ProPlus", "v3", "v4"),
    "sovits": _same("s2G488k.pth", "v1")
    | _same(f"{_V2}/s2G2333k.pth", "v2")
    | _same("v2Pro/s2Gv2Pro.pth", "v2Pro")
    | _same("v2Pro/s2Gv2ProPlus.pth", "v2ProPlus")
    | _same("s2Gv3.pth", "v3")
    | _same(f"{_V4}/s2Gv4.pth", "v4"),
    "discriminator": _same("s2D488k.pth", "v1")
    | _same(f"{_V2}/s2D2333k.pth", "v2")
    | _same("v2Pro/s2Dv2Pro.pth", "v2Pro")
    | _same("v2Pro/s2Dv2ProPlus.pth", "v2ProPlus"),
    "hubert": {ANY: PartLocation(_HUBERT, ("config.json", "pytorch_model.bin|model.safetensors"))},
    "roberta": {
        ANY: PartLocation(_ROBERTA, ("config.json", "pytorch_model.bin|model.safetensors", "tokenizer.json|vocab.txt"))
    },
    "speaker_vector": {ANY: PartLocation("sv/pretrained_eres2netv2w24s4ep4.ckpt")},
    "vocoder": {
        "v3": PartLocation(
            _BIGVGAN_FOLDER,
            ("config.json", "bigvgan_generator.pt"),
            ("bigvgan_v2_24khz_100band_256x", f"{_BIGVGAN_FOLDER}/snapshots/*"),
        ),
        "v4": PartLocation(f"{_V4}/vocoder.pth"),
    },
    "super_resolution": {
        "v3": PartLocation(
            _SUPER_RESOLUTION,
            ("config.json", "g_24kto48k.zip"),
            ("AP_BWE_main/24kto48k", "24kto48k", f"../../{_SUPER_RESOLUTION}"),
        )
    },
    "g2pw": {ANY: PartLocation("G2PWModel", ("g2pW.onnx",), ("../text/G2PWModel",))},
}
"""Part → version → location; the key `ANY` where all versions share one."""


def find_part(folder: Path, part: str, version: str | None = None) -> Path:
    """Return the file or folder of an official part below `folder`; names are compared without regard to case.

    `version` may be left out for parts that all versions share.

    Raises:
        ModelError: "unknown_part", "unknown_version" or "missing_part" (something is not there; the hint says how to
            get it).
    """
    if version == "nano" and part in ("gpt", "sovits"):
        shipped = BASE_FOLDER / f"{part}.safetensors"
        if not shipped.is_file():
            raise ModelError(
                "missing_part",
                f"{shipped} is not there; every nano voice begins from it.",
                hint="Install the package again.",
            )
        return shipped
    location = _location(part, version)
    for path in (location.path, *location.others):
        for match in _matches(folder, path):
            if not _missing(match, location):
                return match
    shared = ANY in PARTS[part]
    title = f"{part} ({version})" if version and not shared else part
    missing = _missing(folder / location.path, location)
    files = files_of(part, version)
    if all(file.repository for file in files):
        hint = f"`main.py download {part if shared else version}` fetches them."
    else:
        hint = (
            f"No repository has them: copy {', '.join(file.path.rpartition('/')[2] for file in files)} there by hand."
        )
    raise ModelError(
        "missing_part",
        f"The official weights for {title} are not in {folder}: {', '.join(missing)} not found.",
        hint=hint,
    )


def needed(version: str, *, training: bool = False) -> tuple[str, ...]:
    """Return the parts that speaking with `version` needs, Chinese and cloning included; none for nano.

    `training` adds the discriminator.

    Raises:
        ModelError: "unknown_version".
    """
    if version == "nano":
        return ()
    if version not in UPSTREAM_VERSIONS:
        raise ModelError(
            "unknown_version",
            f"Version {version!r} has no official weights.",
            hint=f"There are {', '.join(UPSTREAM_VERSIONS)}.",
        )
    parts = ["gpt", "sovits", "hubert", "roberta"]
    if version in SPEAKER_VECTOR_VERSIONS:
        parts.append("speaker_vector")
    if version in PARTS["vocoder"]:
        parts.append("vocoder")
    if training and version in PARTS["discriminator"]:
        parts.append("discriminator")
    return tuple(parts)


def files_of(part: str, version: str | None = None) -> tuple[OfficialFile, ...]:
    """Return the files of a part, in the catalog's order. Raises ModelError as `find_part` does for unknown names."""
    location = _location(part, version)
    return tuple(file for path, file in FILES.items() if path == location.path or path.startswith(f"{location.path}/"))


def files_for(name: str) -> tuple[OfficialFile, ...]:
    """Return the files of a name on the command line: all that a version needs, training included, or one part.

    Raises:
        ModelError: "unknown_part".
    """
    if name in UPSTREAM_VERSIONS:
        parts: list[tuple[str, str]] = [(part, name) for part in needed(name, training=True)]
    elif name in PARTS:
        parts = [(name, version) for version in PARTS[name]]
    else:
        names = ", ".join((*UPSTREAM_VERSIONS, *PARTS))
        raise ModelError("unknown_part", f"There are no official weights named {name!r}.", hint=f"There are {names}.")
    return tuple(dict.fromkeys(file for part, version in parts for file in files_of(part, version)))


@dataclass(frozen=True, slots=True)
class InstalledPart:
    """An official part and where it is installed."""

    part: str
    version: str
    """Empty where all versions share it."""
    path: Path | None
    """None where it is missing."""


def installed_parts(folder: Path) -> list[InstalledPart]:
    """List every official part, in the catalog's order, with its path below `folder` or None."""
    parts = []
    for part, locations in PARTS.items():
        for version in locations:
            try:
                path: Path | None = find_part(folder, part, version or None)
            except ModelError:
                path = None
            parts.append(InstalledPart(part, version, path))
    return parts


def local_path(folder: Path, file: OfficialFile) -> Path:
    """Return where `file` is or would be put below `folder`; an existing name that differs in case counts."""
    return next(_matches(folder, file.path), folder / file.path)


def _location(part: str, version: str | None) -> PartLocation:
    if part not in PARTS:
        parts = ", ".join(PARTS)
        raise ModelError("unknown_part", f"There is no official part named {part!r}.", hint=f"There are {parts}.")
    locations = PARTS[part]
    location = locations.get(ANY) or locations.get(version or "")
    if location is None:
        message = f"{part} differs from version to version; none was named."
        if version:
            message = f"Version {version!r} has no official {part}."
        raise ModelError("unknown_version", message, hint=f"It is there for {', '.join(locations)}.")
    return location


def _matches(folder: Path, path: str) -> Iterator[Path]:
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


def _missing(path: Path, location: PartLocation) -> list[str]:
    """List what keeps the part at `path` from being complete."""
    if not location.contents:
        return [] if path.is_file() else [location.path]
    return [
        f"{location.path}/{names.replace('|', ' or ')}"
        for names in location.contents
        if not any(entry.is_file() for name in names.split("|") for entry in _entries(path, name))
    ]
