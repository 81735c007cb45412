"""The official files by name, in upstream's layout."""

from __future__ import annotations

import re

import pytest

from common.official_weights import PARTS
from common.versions import UPSTREAM_VERSIONS
from GPT_SoVITS.checkpoints.catalog import FILES, files_for, files_of, find_part, installed_parts, needed
from GPT_SoVITS.errors import ModelError


@pytest.fixture
def put(tmp_path):
    def write(*paths):
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("part", "version", "path"),
    [
        ("gpt", "v1", "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt"),
        ("gpt", "v2", "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"),
        ("gpt", "v2ProPlus", "s1v3.ckpt"),
        ("gpt", "v4", "s1v3.ckpt"),
        ("sovits", "v1", "s2G488k.pth"),
        ("sovits", "v2", "gsv-v2final-pretrained/s2G2333k.pth"),
        ("sovits", "v2Pro", "v2Pro/s2Gv2Pro.pth"),
        ("sovits", "v3", "s2Gv3.pth"),
        ("sovits", "v4", "gsv-v4-pretrained/s2Gv4.pth"),
        ("discriminator", "v2ProPlus", "v2Pro/s2Dv2ProPlus.pth"),
        ("speaker_vector", None, "sv/pretrained_eres2netv2w24s4ep4.ckpt"),
        ("vocoder", "v4", "gsv-v4-pretrained/vocoder.pth"),
    ],
)
def test_a_file_is_found_where_upstream_has_it(put, part, version, path):
    folder = put(path)

    assert find_part(folder, part, version) == folder / path


def test_a_part_that_all_versions_share_is_found_with_and_without_one(put):
    folder = put("chinese-hubert-base/config.json", "chinese-hubert-base/pytorch_model.bin")

    assert find_part(folder, "hubert") == find_part(folder, "hubert", "v2") == folder / "chinese-hubert-base"


def test_weights_may_be_safetensors_and_the_vocabulary_text(put):
    roberta = "chinese-roberta-wwm-ext-large"
    folder = put(f"{roberta}/config.json", f"{roberta}/model.safetensors", f"{roberta}/vocab.txt")

    assert find_part(folder, "roberta") == folder / roberta


def test_capitals_do_not_matter(put):
    folder = put("gsv-v2final-pretrained/s2G2333K.pth")

    assert find_part(folder, "sovits", "v2").name == "s2G2333K.pth"


@pytest.mark.parametrize(
    "place",
    [
        "models--nvidia--bigvgan_v2_24khz_100band_256x",
        "bigvgan_v2_24khz_100band_256x",
        "models--nvidia--bigvgan_v2_24khz_100band_256x/snapshots/633ff708ed5b74903e86ff1298cf4a98e921c513",
    ],
)
def test_bigvgan_is_found_in_a_plain_folder_and_in_the_hubs_cache(put, place):
    folder = put(f"{place}/config.json", f"{place}/bigvgan_generator.pt")

    assert find_part(folder, "vocoder", "v3") == folder / place


def test_what_lies_beside_upstreams_folder_is_found(put):
    folder = put("tools/AP_BWE_main/24kto48k/config.json", "tools/AP_BWE_main/24kto48k/g_24kto48k.zip")
    models = folder / "GPT_SoVITS" / "pretrained_models"
    models.mkdir(parents=True)

    assert find_part(models, "super_resolution", "v3").resolve() == folder / "tools/AP_BWE_main/24kto48k"


def test_half_a_part_is_missing_and_the_rest_is_named(put):
    folder = put("chinese-hubert-base/config.json")

    with pytest.raises(ModelError) as error:
        find_part(folder, "hubert")

    assert error.value.code == "missing_part"
    assert "chinese-hubert-base/pytorch_model.bin or model.safetensors not found" in error.value.message
    assert "`main.py download hubert`" in error.value.hint


@pytest.mark.parametrize(
    ("part", "version", "hint"),
    [("sovits", "v4", "`main.py download v4`"), ("g2pw", None, "copy g2pW.onnx there"), ("gpt", "v2", "download v2")],
)
def test_a_missing_part_says_how_to_get_it(tmp_path, part, version, hint):
    with pytest.raises(ModelError) as error:
        find_part(tmp_path / "nowhere", part, version)

    assert error.value.code == "missing_part"
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("part", "version", "code"),
    [
        ("drums", None, "unknown_part"),
        ("sovits", "v9", "unknown_version"),
        ("sovits", None, "unknown_version"),
        ("discriminator", "v3", "unknown_version"),
        ("super_resolution", "v4", "unknown_version"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(tmp_path, part, version, code):
    with pytest.raises(ModelError) as error:
        find_part(tmp_path, part, version)

    assert error.value.code == code
    assert error.value.hint


def test_a_version_needs_what_its_models_are_made_of():
    assert needed("v2") == ("gpt", "sovits", "hubert", "roberta")
    assert needed("v2Pro") == ("gpt", "sovits", "hubert", "roberta", "speaker_vector")
    assert needed("v3") == ("gpt", "sovits", "hubert", "roberta", "vocoder")
    assert needed("v2", training=True)[-1] == "discriminator"
    assert "discriminator" not in needed("v4", training=True)
    assert needed("nano") == ()
    with pytest.raises(ModelError, match="v9"):
        needed("v9")


@pytest.mark.parametrize("version", UPSTREAM_VERSIONS)
def test_the_catalogue_has_every_file_that_a_version_needs(put, version):
    folder = put(*(file.path for file in files_for(version)))

    for part in needed(version, training=True):
        assert find_part(folder, part, version).exists()


def test_every_place_has_its_files_and_every_file_its_place():
    places = {file for part in PARTS for version in PARTS[part] for file in files_of(part, version)}

    assert places == set(FILES.values())


def test_what_is_installed_is_listed_with_its_place(put):
    folder = put("s2G488k.pth")

    paths = {(part.part, part.version): part.path for part in installed_parts(folder)}

    assert paths["sovits", "v1"] == folder / "s2G488k.pth"
    assert [key for key, path in paths.items() if path is not None] == [("sovits", "v1")]
    assert len(paths) == sum(len(places) for places in PARTS.values())


def test_files_that_speech_needs_have_published_checksums():
    pinned = {path for path, file in FILES.items() if re.fullmatch("[0-9a-f]{64}", file.sha256)}

    for version in ("v2", "v2Pro", "v2ProPlus", "v4"):
        needed_files = {file.path for part in needed(version) for file in files_of(part, version)}
        assert needed_files <= pinned
    assert len(pinned) == 15
