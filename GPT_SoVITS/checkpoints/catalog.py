"""The official weights by name: where they are, what a version needs of them, and what is installed.

The folder has upstream's layout, so that a user's own `pretrained_models` folder serves as it is.
`GPT_SoVITS.checkpoints.download` fetches what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from common.official_weights import (
    ANY,
    BIGVGAN_FOLDER,
    HUBERT,
    PARTS,
    ROBERTA,
    SENSEVOICE,
    SUPER_RESOLUTION,
    V1_GPT,
    V2_FOLDER,
    V2_GPT,
    V4_FOLDER,
    PartLocation,
    locate_part,
    matching_paths,
    missing_names,
    needed_parts,
    part_location,
)
from common.program_name import program_name
from common.versions import UPSTREAM_VERSIONS
from GPT_SoVITS.errors import ModelError

BASE_FOLDER = Path(__file__).parents[1] / "base"
"""The models that every nano voice starts from; see the card beside them."""
OFFICIAL = "lj1995/GPT-SoVITS"
"""The hub's repository of upstream's pretrained files, in the same layout."""
BIGVGAN = "nvidia/bigvgan_v2_24khz_100band_256x"
SENSEVOICE_HUB = "csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17"
SENSEVOICE_MODELSCOPE = "pengzhendong/sherpa-onnx-sense-voice-zh-en-ja-ko-yue"


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
    modelscope: str = ""
    """The repository that has the same file on ModelScope, under the same path."""
    size: int | None = None
    """Bytes, where the specification records them."""
    sha256: str = ""
    """Hex digest, where one is publicly known; else the first one is recorded (`checksums.py`)."""
    first_md5: str = ""
    """MD5 of the first 8192 bytes in hex, by which upstream recognizes its own files (s2-sovits §2.1)."""

    @property
    def source(self) -> str:
        """The file's path in its repository."""
        return self.remote or self.path


_SHA256 = {
    V2_GPT: "732f94e63b148066e24c7f9d2637f3374083e637635f07fbdb695dee20ddbe1f",
    "s1v3.ckpt": "87133414860ea14ff6620c483a3db5ed07b44be42e2c3fcdad65523a729a745a",
    "s2G488k.pth": "020a014e1e01e550e510f2f61fae5e5f5b6aab40f15c22f1f12f724df507e835",
    f"{V2_FOLDER}/s2G2333k.pth": "924fdccaa3c574bf139c25c9759aa1ed3b3f99e19a7c529ee996c2bc17663695",
    "v2Pro/s2Gv2Pro.pth": "0f8ead815234365edf045c6d86370ed6e4f440e8195be77ff0ea72684ad406a5",
    "v2Pro/s2Gv2ProPlus.pth": "d42a22bbbf65fb2bbdd45ad6a66841156977db45c7aabe0a6992ff378d9c7d3b",
    f"{V4_FOLDER}/s2Gv4.pth": "906fe22f48c3e037a389df291d4d32a9414e15dbb8f9628643e83aaced109ea4",
    "v2Pro/s2Dv2ProPlus.pth": "635cd84bf6f7f9b8d41c88c7106f81d782c794c61f931845214ea037b0c5bef2",
    f"{HUBERT}/config.json": "c3e5060a1277e0f078cc6be9da4528a605dba6ece93018981fe2c820e5c7b103",
    f"{HUBERT}/pytorch_model.bin": "24164f129c66499d1346e2aa55f183250c223161ec2770c0da3d3b08cf432d3c",
    f"{ROBERTA}/config.json": "3d57de2fd7e80d0e5c8ff194f0bbb6baa10df7e43fc262a0cc71298a78b0a3e5",
    f"{ROBERTA}/pytorch_model.bin": "e53a693acc59ace251d143d068096ae0d7b79e4b1b503fa84c9dcf576448c1d8",
    f"{ROBERTA}/tokenizer.json": "173796956820ea27bd14f76bf28162607ff4254807e2948253eb5b46f5bb643b",
    "sv/pretrained_eres2netv2w24s4ep4.ckpt": "4f5a0bf73c61eb41b174e1bb54e7ee3c83233892be8e0af1f187024e8e581a35",
    f"{V4_FOLDER}/vocoder.pth": "4d611913df7b12d49e8976c944558d2d096816365edfc6c35a9e85b67dd14ed9",
}
"""Published checksums of official files, on which several publishers agree."""

FILES = {
    file.path: replace(file, sha256=_SHA256.get(file.path, ""))
    for file in (
        OfficialFile(V1_GPT, "text to tokens, v1"),
        OfficialFile(V2_GPT, "text to tokens, v2"),
        OfficialFile("s1v3.ckpt", "text to tokens, v2Pro, v2ProPlus, v3 and v4"),
        OfficialFile(
            "s2G488k.pth", "tokens to sound, v1", size=105_973_721, first_md5="dc3c97e17592963677a4a1681f30c653"
        ),
        OfficialFile(f"{V2_FOLDER}/s2G2333k.pth", "tokens to sound, v2", first_md5="6642b37f3dbb1f76882b69937c95a5f3"),
        OfficialFile("v2Pro/s2Gv2Pro.pth", "tokens to sound, v2Pro", first_md5="c7e9fce2223f3db685cdfa1e6368728a"),
        OfficialFile(
            "v2Pro/s2Gv2ProPlus.pth", "tokens to sound, v2ProPlus", first_md5="66b313e39455b57ab1b0bc0b239c9d0a"
        ),
        OfficialFile("s2Gv3.pth", "tokens to mel, v3", first_md5="43797be674a37c1c83ee81081941ed0f"),
        OfficialFile(f"{V4_FOLDER}/s2Gv4.pth", "tokens to mel, v4", first_md5="4f26b9476d0c5033e04162c486074374"),
        OfficialFile("s2D488k.pth", "discriminator, v1", size=93_533_667),
        OfficialFile(f"{V2_FOLDER}/s2D2333k.pth", "discriminator, v2"),
        OfficialFile("v2Pro/s2Dv2Pro.pth", "discriminator, v2Pro"),
        OfficialFile("v2Pro/s2Dv2ProPlus.pth", "discriminator, v2ProPlus"),
        OfficialFile(f"{HUBERT}/config.json", "sizes of HuBERT"),
        OfficialFile(f"{HUBERT}/pytorch_model.bin", "HuBERT, speech to features", size=188_811_417),
        OfficialFile(f"{ROBERTA}/config.json", "sizes of RoBERTa"),
        OfficialFile(f"{ROBERTA}/pytorch_model.bin", "RoBERTa, Chinese text to features"),
        OfficialFile(f"{ROBERTA}/tokenizer.json", "characters of RoBERTa"),
        OfficialFile("sv/pretrained_eres2netv2w24s4ep4.ckpt", "ERes2NetV2, a speaker's vector"),
        OfficialFile(f"{BIGVGAN_FOLDER}/config.json", "sizes of BigVGAN", BIGVGAN, "config.json"),
        OfficialFile(
            f"{BIGVGAN_FOLDER}/bigvgan_generator.pt", "BigVGAN, v3 mel to sound", BIGVGAN, "bigvgan_generator.pt"
        ),
        OfficialFile(f"{V4_FOLDER}/vocoder.pth", "HiFi-GAN, v4 mel to sound"),
        OfficialFile(f"{SUPER_RESOLUTION}/config.json", "sizes of AP-BWE", ""),
        OfficialFile(f"{SUPER_RESOLUTION}/g_24kto48k.zip", "AP-BWE, 24 kHz to 48 kHz for v3", ""),
        OfficialFile("G2PWModel/g2pW.onnx", "g2pW, readings of Chinese characters", ""),
        *(
            OfficialFile(f"{SENSEVOICE}/{name}", what, SENSEVOICE_HUB, name, modelscope=SENSEVOICE_MODELSCOPE)
            for name, what in (
                ("model.int8.onnx", "SenseVoice, speech in five languages to text"),
                ("tokens.txt", "tokens of SenseVoice"),
            )
        ),
    )
}
"""Every official file by its path; the specifications give the names, sizes and checksums."""


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
    if match := locate_part(folder, location):
        return match
    shared = ANY in PARTS[part]
    title = f"{part} ({version})" if version and not shared else part
    missing = missing_names(folder / location.path, location)
    files = files_of(part, version)
    if all(file.repository for file in files):
        hint = f"`{program_name()} download {part if shared else version}` fetches them."
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
    if version != "nano" and version not in UPSTREAM_VERSIONS:
        raise ModelError(
            "unknown_version",
            f"Version {version!r} has no official weights.",
            hint=f"There are {', '.join(UPSTREAM_VERSIONS)}.",
        )
    return needed_parts(version, training=training)


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
    return next(matching_paths(folder, file.path), folder / file.path)


def _location(part: str, version: str | None) -> PartLocation:
    if part not in PARTS:
        parts = ", ".join(PARTS)
        raise ModelError("unknown_part", f"There is no official part named {part!r}.", hint=f"There are {parts}.")
    location = part_location(part, version)
    if location is None:
        message = f"{part} differs from version to version; none was named."
        if version:
            message = f"Version {version!r} has no official {part}."
        raise ModelError("unknown_version", message, hint=f"It is there for {', '.join(PARTS[part])}.")
    return location
