"""What a file of weights is: its kind, its version, and whether it is a LoRA. Tensors say it first, then the rest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import FILES, PARTS, VERSIONS
from GPT_SoVITS.errors import ModelError

KINDS = (
    "gpt",
    "sovits",
    "discriminator",
    "hubert",
    "roberta",
    "speaker_vector",
    "vocoder",
    "super_resolution",
)
HEADER_VERSIONS = {b"00": "v1", b"01": "v2", b"02": "v3", b"03": "v3", b"04": "v4", b"05": "v2Pro", b"06": "v2ProPlus"}
"""Version marks (s2-sovits §2.1); 03 and 04 stand on LoRA files."""
V1_SYMBOLS = 322
"""Rows of the phoneme table of v1; every later version has 732."""
LATER_SYMBOLS = 732
PRO_WIDTHS = {512: "v2Pro", 768: "v2ProPlus"}
"""Rows of the generator's first convolution at official size."""
_LORA = ".lora_A.default.weight"
_MARKS = {
    "conv_pre_mag.weight": ("super_resolution", "v3"),
    "activation_post.act.alpha": ("vocoder", "v3"),
    "resblocks.0.convs1.0.weight": ("vocoder", "v4"),
    "resblocks.0.convs1.0.weight_v": ("vocoder", "v4"),
    "seg_1.weight": ("speaker_vector", ""),
    "feature_extractor.conv_layers.0.conv.weight": ("hubert", ""),
    "hubert.feature_extractor.conv_layers.0.conv.weight": ("hubert", ""),
    "embeddings.word_embeddings.weight": ("roberta", ""),
    "bert.embeddings.word_embeddings.weight": ("roberta", ""),
}
"""A name that no other model of the family has → (kind, version), the most telling first."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and what is needed to build the model that they belong to."""

    kind: str
    """One of KINDS."""
    version: str
    """Empty for models that all versions share."""
    config: dict[str, Any]
    state: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    """Whatever the writer wanted to remember: epoch, step, losses; `official` is the text of an official file."""


def identify(state: dict[str, Tensor]) -> tuple[str, str]:
    """(kind, version) of weights under official names, from names and shapes alone; empty where they do not say.

    v3 and v4 have the same tensors, so theirs is ("sovits", ""), as is that of v2Pro and v2ProPlus at odd sizes.
    """
    if any(name.startswith("discriminators.") for name in state):
        return "discriminator", "v2Pro" if any(name.startswith("discriminators.7.") for name in state) else "v2"
    for name, tensor in state.items():
        if name.endswith("ar_text_embedding.word_embeddings.weight"):
            return "gpt", "v2" if tensor.shape[0] == LATER_SYMBOLS else "v1"
    if any(name.startswith(("cfm.", "enc_p.", "dec.", "ref_enc.")) for name in state):
        return "sovits", _sovits_version(state)
    return next((found for mark, found in _MARKS.items() if mark in state), ("", ""))


def lora_rank(state: dict[str, Tensor]) -> int | None:
    """The rank of a LoRA file's weights; None where they are none."""
    return next((tensor.shape[0] for name, tensor in state.items() if name.endswith(_LORA)), None)


def settle_version(path: Path, state: dict[str, Tensor], config: dict[str, Any], header: bytes) -> str:
    """The version of an official file: what its tensors say, then its header, its sum, its config.

    Raises ModelError("unknown_version") where nothing says.
    """
    kind, found = identify(state)
    if found or kind not in ("sovits", ""):
        return found
    model = config.get("model")
    noted = [model.get("version") if isinstance(model, dict) else None, config.get("version")]
    choices = fitting(state)
    for version in (HEADER_VERSIONS.get(header), _version_by_sum(path), *noted):
        if version in choices:
            return str(version)
    raise ModelError(
        "unknown_version",
        f"Nothing in {path.name} says whether it is {' or '.join(choices)}: their tensors are alike.",
        hint=f"Say which it is: `--version {choices[-1]}`, or `version=` in a program.",
    )


def fitting(state: dict[str, Tensor]) -> tuple[str, ...]:
    """The versions that weights can serve: some share a discriminator, a GPT's symbols, or every name and shape."""
    kind, found = identify(state)
    if kind == "gpt":
        return tuple(version for version in VERSIONS if (version == "v1") == (found == "v1"))
    if kind == "discriminator":
        return ("v2Pro", "v2ProPlus") if found == "v2Pro" else ("v1", "v2")
    if any(name.startswith("cfm.") for name in state):
        return ("v3", "v4")
    if "sv_emb.weight" in state and not found:
        return ("v2Pro", "v2ProPlus")
    return (found,) if found else VERSIONS


def progress(info: dict[str, Any]) -> tuple[int | None, int | None]:
    """(epoch, step) that the writer noted, in our words or in the text of an official file."""
    text = str(info.get("official", ""))
    match = re.fullmatch(r"(\d+)epoch_(\d+)iteration", text) or re.fullmatch(r"GPT-e(\d+)", text)
    noted = [int(number) for number in match.groups()] if match else []
    epoch, step = (*noted, None, None)[:2]
    return info.get("epoch", epoch), info.get("step", step)


def official_name(path: Path) -> str:
    """The path of the official file that begins with the same bytes, or empty."""
    with path.open("rb") as file:
        digest = hashlib.md5(file.read(8192), usedforsecurity=False).hexdigest()
    return next((name for name, file in FILES.items() if file.first_md5 == digest), "")


def _version_by_sum(path: Path) -> str | None:
    name = official_name(path)
    return next((version for version, place in PARTS["sovits"].items() if place.path == name), None)


def _sovits_version(state: dict[str, Tensor]) -> str:
    if any(name.startswith("cfm.") for name in state):
        return ""
    if "sv_emb.weight" in state:
        first = state.get("dec.conv_pre.weight")
        return "" if first is None else PRO_WIDTHS.get(first.shape[0], "")
    table = state.get("enc_p.text_embedding.weight")
    if table is None:
        return ""
    return "v1" if table.shape[0] == V1_SYMBOLS else "v2"
