"""Tell the kind and the version of a file of weights, and whether it is a LoRA, from its tensors first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from common.official_weights import PARTS
from common.versions import UPSTREAM_VERSIONS
from GPT_SoVITS.checkpoints.catalog import FILES
from GPT_SoVITS.errors import ModelError

HEADER_VERSIONS = {b"00": "v1", b"01": "v2", b"02": "v3", b"03": "v3", b"04": "v4", b"05": "v2Pro", b"06": "v2ProPlus"}
"""Version marks in the first two bytes (s2-sovits §2.1); 03 and 04 are those of LoRA files."""
V1_SYMBOLS = 322
"""Rows of the phoneme table of v1; every later version has 732."""
LATER_SYMBOLS = 732
PRO_WIDTHS = {512: "v2Pro", 768: "v2ProPlus"}
"""Rows of the generator's first convolution at official size."""
LORA_SUFFIX = ".lora_A.default.weight"
TELLING_NAMES = {
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
"""A name that no other network of the family has → (kind, version), the most telling first."""


def identify(state: dict[str, Tensor]) -> tuple[str, str]:
    """Return (kind, version) of weights under official names, from names and shapes alone; empty where unknown.

    v3 and v4 have the same tensors, so theirs is ("sovits", ""), as is that of v2Pro and v2ProPlus at other than
    official sizes.
    """
    if any(name.startswith("discriminators.") for name in state):
        return "discriminator", "v2Pro" if any(name.startswith("discriminators.7.") for name in state) else "v2"
    for name, tensor in state.items():
        if name.endswith("ar_text_embedding.word_embeddings.weight"):
            return "gpt", "v2" if tensor.shape[0] == LATER_SYMBOLS else "v1"
    if any(name.startswith("cfm.") for name in state):
        return "sovits", ""
    if any(name.startswith(("enc_p.", "dec.", "ref_enc.")) for name in state):
        if "sv_emb.weight" in state:
            generator = state.get("dec.conv_pre.weight")
            return "sovits", "" if generator is None else PRO_WIDTHS.get(generator.shape[0], "")
        table = state.get("enc_p.text_embedding.weight")
        if table is None:
            return "sovits", ""
        return "sovits", "v1" if table.shape[0] == V1_SYMBOLS else "v2"
    return next((identity for name, identity in TELLING_NAMES.items() if name in state), ("", ""))


def lora_rank(state: dict[str, Tensor]) -> int | None:
    """Return the rank of a LoRA file's weights; None where they are none."""
    return next((tensor.shape[0] for name, tensor in state.items() if name.endswith(LORA_SUFFIX)), None)


def determine_version(path: Path, state: dict[str, Tensor], config: Mapping[str, object], header: bytes) -> str:
    """Return the version of an official file: what its tensors say, then its header, its checksum, its config.

    Raises:
        ModelError: "unknown_version" where nothing says.
    """
    kind, version = identify(state)
    if version or kind not in ("sovits", ""):
        return version
    name = official_name(path)
    official = next((version for version, location in PARTS["sovits"].items() if location.path == name), None)
    model = config.get("model")
    configured = [model.get("version") if isinstance(model, dict) else None, config.get("version")]
    choices = compatible_versions(state)
    for candidate in (HEADER_VERSIONS.get(header), official, *configured):
        if candidate in choices:
            return str(candidate)
    raise ModelError(
        "unknown_version",
        f"Nothing in {path.name} says whether it is {' or '.join(choices)}: their tensors are alike.",
        hint=f"Say which it is: `--version {choices[-1]}`, or `version=` in a program.",
    )


def compatible_versions(state: dict[str, Tensor]) -> tuple[str, ...]:
    """Return the versions that weights can serve: some share a discriminator, a GPT's symbols, or all shapes."""
    kind, version = identify(state)
    if kind == "gpt":
        return tuple(candidate for candidate in UPSTREAM_VERSIONS if (candidate == "v1") == (version == "v1"))
    if kind == "discriminator":
        return ("v2Pro", "v2ProPlus") if version == "v2Pro" else ("v1", "v2")
    if any(name.startswith("cfm.") for name in state):
        return ("v3", "v4")
    if "sv_emb.weight" in state and not version:
        return ("v2Pro", "v2ProPlus")
    return (version,) if version else UPSTREAM_VERSIONS


def training_progress(info: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return (epoch, step) that the writer noted, as this program does or in the text of an official file."""
    text = str(info.get("official", ""))
    match = re.fullmatch(r"(\d+)epoch_(\d+)iteration", text) or re.fullmatch(r"GPT-e(\d+)", text)
    numbers = [int(number) for number in match.groups()] if match else []
    epoch, step = (*numbers, None, None)[:2]
    return info.get("epoch", epoch), info.get("step", step)


def official_name(path: Path) -> str:
    """Return the path of the official file that begins with the same bytes, or an empty string."""
    with path.open("rb") as file:
        digest = hashlib.md5(file.read(8192), usedforsecurity=False).hexdigest()
    return next((name for name, file in FILES.items() if file.first_md5 == digest), "")
