"""Texts as the models read them: with the polyphone model where it is, and with a user's readings in place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from GPT_SoVITS.synthesis.conditioning import TextConditioner
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.text import InlinePronunciation, TextFrontend
from GPT_SoVITS.text.mandarin.frontend import Mandarin

CPU = torch.device("cpu")


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HelperNetworks:
    """Return helper networks of a folder whose polyphone model calls every character ma."""
    model = TextFrontend({"zh": Mandarin(lambda text: ["ma1" for _ in text])})
    monkeypatch.setattr(TextFrontend, "with_models", classmethod(lambda cls, folder: model))
    monkeypatch.setattr(HelperNetworks, "text_features", lambda self, pieces: None)
    return HelperNetworks(tmp_path)


def test_the_official_versions_read_by_the_polyphone_model_and_nano_without_it(helpers):
    official = TextConditioner("v2", helpers, CPU).encode_text("猫狗", "zh")[2]
    nano = TextConditioner("nano", helpers, CPU).encode_text("猫狗", "zh")[2]

    assert official.phonemes[-5:-1] == ["m", "a1", "m", "a1"]
    assert nano.phonemes[-5:-1] == ["m", "ao1", "g", "ou3"]


def test_the_polyphone_model_stays_when_the_encoders_go(helpers):
    before = helpers.frontend()

    helpers.unload_prompt_encoders()

    assert helpers.frontend() is before


@pytest.mark.parametrize("version", ["v1", "v2", "nano"])
def test_a_reading_keeps_its_place_in_a_text_that_begins_with_blanks(helpers, version):
    phonemes = TextConditioner(version, helpers, CPU).encode_text(
        "  我的银行卡", "zh", [InlinePronunciation(4, 6, "zh", ("yin4", "xing4"))]
    )[2]

    start = phonemes.phonemes.index("in4")
    assert phonemes.phonemes[start - 1 : start + 3] == ["y", "in4", "x", "ing4"]
