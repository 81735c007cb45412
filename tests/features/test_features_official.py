"""The feature models read the hub's folders, refuse what is no model, and say what sound they cannot take."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_hubert import SMALL_HUBERT

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.bert import Roberta, split_after_punctuation
from GPT_SoVITS.features.eres2net import ERes2NetV2, ERes2NetV2Sizes, sizes_of
from GPT_SoVITS.features.fbank import fbank
from GPT_SoVITS.features.hubert import Hubert
from GPT_SoVITS.sovits.tokens import SemanticTokens
from GPT_SoVITS.text.phonemization.frontend import PhonemizedSegment

ROBERTA: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "vocab_size": 7,
    "max_position_embeddings": 12,
}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "你", "好", ","]


@pytest.fixture(scope="module")
def hubert_state() -> dict[str, torch.Tensor]:
    from transformers.models.hubert.modeling_hubert import HubertConfig, HubertModel

    torch.manual_seed(1)
    return HubertModel(HubertConfig(**SMALL_HUBERT)).state_dict()


@pytest.fixture
def hubert_folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_HUBERT))
    return tmp_path


@pytest.fixture(scope="module")
def bert_model() -> torch.nn.Module:
    from transformers.models.bert.modeling_bert import BertConfig, BertModel

    torch.manual_seed(2)
    return BertModel(BertConfig(**ROBERTA)).eval()


@pytest.fixture
def roberta_folder(tmp_path: Path, bert_model: torch.nn.Module) -> Path:
    """As the hub has it: with a head on top, its old names, and the last layers."""
    (tmp_path / "config.json").write_text(json.dumps(ROBERTA))
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": {token: index for index, token in enumerate(VOCABULARY)}}})
    )
    state = {f"bert.{name}": tensor for name, tensor in bert_model.state_dict().items()}
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }
    torch.save({**old, "cls.predictions.bias": torch.zeros(7)}, tmp_path / "pytorch_model.bin")
    return tmp_path


def sound(samples: int = 4000) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(3)) * 0.1


def test_hubert_reads_safetensors_and_old_files_alike(hubert_folder, hubert_state):
    save_file({f"hubert.{name}": tensor for name, tensor in hubert_state.items()}, hubert_folder / "model.safetensors")
    new = Hubert.load(hubert_folder).features_of(sound())
    (hubert_folder / "model.safetensors").unlink()
    old_names = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in hubert_state.items()
        if name != "masked_spec_embed"  # some files leave it out
    }
    torch.save(old_names, hubert_folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    old = Hubert.load(hubert_folder).features_of(sound().numpy())

    assert torch.equal(new, old)
    assert new.shape == (1, 16, (4000 - 80) // 320)
    assert not new.requires_grad


def test_a_hubert_file_that_wants_to_run_code_is_refused(hubert_folder):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {hubert_folder}/attacked",)

    torch.save({"weight": Attack()}, hubert_folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="cannot be read") as failure:
        Hubert.load(hubert_folder)

    assert failure.value.code == "bad_checkpoint"
    assert not (hubert_folder / "attacked").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x02"])
def test_a_damaged_hubert_file_is_named(hubert_folder, content):
    (hubert_folder / "pytorch_model.bin").write_bytes(content)

    with pytest.raises(ModelError, match=r"pytorch_model\.bin cannot be read"):
        Hubert.load(hubert_folder)


def test_weights_of_another_size_than_the_config_says_are_named(hubert_folder, hubert_state):
    (hubert_folder / "config.json").write_text(json.dumps({**SMALL_HUBERT, "intermediate_size": 32}))
    save_file(hubert_state, hubert_folder / "model.safetensors")

    with pytest.raises(ModelError, match=r"intermediate_dense\.weight is \[16, 16\] there, and \[32, 16\] is needed"):
        Hubert.load(hubert_folder)


def test_sound_too_short_for_one_frame_is_refused(hubert_folder, hubert_state):
    save_file(hubert_state, hubert_folder / "model.safetensors")
    hubert = Hubert.load(hubert_folder)

    assert hubert.features_of(sound(400)).shape[2] == 1
    with pytest.raises(ModelError, match="need 400 samples"):
        hubert.features_of(sound(399))
    with pytest.raises(ModelError, match="no numbers"):
        hubert.features_of(sound(400) * float("nan"))


def test_what_overflows_in_half_precision_is_computed_again_in_float32(hubert_folder, hubert_state, caplog):
    state = dict(hubert_state)
    name = "encoder.layers.0.feed_forward.intermediate_dense.weight"
    state[name] = state[name] * 1e5  # above what float16 holds once it is multiplied
    save_file(state, hubert_folder / "model.safetensors")
    exact = Hubert.load(hubert_folder).features_of(sound())
    hubert = Hubert.load(hubert_folder)
    hubert.half = True
    run = hubert._run
    hubert._run = lambda wave: run(wave) if hubert.model.dtype == torch.float32 else torch.full((1, 16, 2), torch.inf)
    hubert.model.half()

    features = hubert.features_of(sound())

    assert "overflowed in half precision" in caplog.text
    assert torch.allclose(features, exact, rtol=0.02, atol=0.02)
    assert hubert.model.dtype == torch.float16


def test_roberta_gives_the_third_last_hidden_state_of_each_character_once_a_phone(roberta_folder, bert_model):
    roberta = Roberta.load(roberta_folder)
    with torch.inference_mode():
        states = bert_model(torch.tensor([[2, 4, 5, 6, 1, 3]]), output_hidden_states=True).hidden_states
    expected = states[-3][0, 1:-1].T  # (D, 4)

    features = roberta.of_phones("你好,丑", [2, 2, 1, 0])

    assert features.shape == (16, 5)
    assert torch.allclose(features, expected[:, [0, 0, 1, 1, 2]], atol=1e-6)


def test_other_languages_have_zeros_beside_mandarin(roberta_folder):
    pieces = [
        PhonemizedSegment("zh", "你好", "你好", ["n", "i3", "h", "ao3"], [2, 2]),
        PhonemizedSegment("en", "hi", "hi", ["HH", "AY1"], None),
        PhonemizedSegment("yue", "你", "你", ["Yn", "Yei5"], [2]),
    ]

    features = Roberta.load(roberta_folder).features_of(pieces)

    assert features.shape == (16, 8)
    assert (features[:, :4] != 0).all()
    assert (features[:, 4:] == 0).all()


def test_a_text_longer_than_roberta_reads_is_read_in_parts_cut_after_marks(roberta_folder):
    roberta = Roberta.load(roberta_folder)  # reads ten characters
    text = "你好你好你好你,好你好你好"

    features = roberta.of_characters(text)

    assert split_after_punctuation(text, 10) == ["你好你好你好你,", "好你好你好"]
    assert split_after_punctuation("你" * 25, 10) == ["你" * 10, "你" * 10, "你" * 5]
    assert features.shape == (13, 16)
    assert torch.equal(features[8:], roberta.of_characters("好你好你好"))


def test_a_roberta_folder_without_a_vocabulary_is_named(roberta_folder):
    (roberta_folder / "tokenizer.json").unlink()

    with pytest.raises(ModelError, match=r"neither vocab\.txt nor tokenizer\.json"):
        Roberta.load(roberta_folder)


def test_a_speaker_network_of_any_size_is_known_from_its_file(tmp_path):
    sizes = ERes2NetV2Sizes(width=26, scale=2, expansion=2, channels=8, blocks=(1, 1, 2, 1), unused_width=3)
    torch.manual_seed(4)
    network = ERes2NetV2(sizes).eval()
    torch.save(network.state_dict(), tmp_path / "speaker.ckpt")

    loaded = ERes2NetV2.load(tmp_path / "speaker.ckpt")

    assert sizes_of(network.state_dict()) == sizes
    vector = loaded.vector_of(sound().numpy())
    assert vector.shape == (1, loaded.width)
    assert torch.equal(vector, network.vector_of(sound()))


def test_a_file_that_is_no_speaker_network_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "speaker.ckpt")

    with pytest.raises(ModelError, match="does not hold ERes2NetV2's weights"):
        ERes2NetV2.load(tmp_path / "speaker.ckpt")


def test_the_filter_bank_takes_whole_frames_only():
    assert fbank(sound(400)).shape == (1, 1, 80)
    assert fbank(sound(719).expand(2, -1)).shape == (2, 2, 80)
    with pytest.raises(ModelError, match="needs 400 samples"):
        fbank(sound(399))


def test_tokens_are_the_nearest_rows_of_the_codebook():
    random = np.random.default_rng(6)
    codebook = torch.from_numpy(random.standard_normal((5, 4)).astype(np.float32))
    features = codebook[[3, 3, 0, 0, 4]].T[None]  # five frames
    weight = torch.eye(4)[:, :, None].repeat(1, 1, 2) / 2
    tokens = SemanticTokens(weight, torch.zeros(4), codebook)

    assert tokens.extract(features) == [3, 0]
    assert tokens.fingerprint != SemanticTokens(weight, torch.zeros(4), -codebook).fingerprint
    with pytest.raises(ModelError, match=r"shape \(1, 4, T\)"):
        tokens.extract(torch.zeros(1, 3, 8))
