"""Vocoders: what a frame can change, how files are read, what is refused."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_mel_synthesis import MELS, VOCODERS, tiny_sizes, tiny_vocoder

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.synthesis.vocoder_stream import VocoderStream
from GPT_SoVITS.vocoders import load_vocoder
from GPT_SoVITS.vocoders.bigvgan import AntiAliasedSnake, low_pass_taps
from GPT_SoVITS.vocoders.sizes import fold, sizes_from_state

BIGVGAN_CONFIG = {
    "activation": "snakebeta",
    "hop_size": 8,
    "num_mels": MELS,
    "resblock": "1",
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "resblock_kernel_sizes": [3, 5],
    "sampling_rate": 24_000,
    "snake_logscale": True,
    "upsample_initial_channel": 16,
    "upsample_kernel_sizes": [8, 4],
    "upsample_rates": [4, 2],
    "use_bias_at_final": True,
    "use_tanh_at_final": False,
}
OFFICIAL_DILATIONS = {"block_dilations": ((1, 3, 5), (1, 3, 5))}


def mel(frames: int, seed: int = 6) -> torch.Tensor:
    return torch.randn(1, MELS, frames, generator=torch.Generator().manual_seed(seed))


def with_weight_norm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the same convolutions as pairs of length and direction."""
    normed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(".weight"):
            length = tensor.flatten(1).norm(dim=1).view(-1, 1, 1)
            normed |= {f"{name}_g": length, f"{name}_v": 3 * tensor}
        else:
            normed[name] = tensor
    return normed


@pytest.fixture
def bigvgan_folder(tmp_path):
    vocoder = tiny_vocoder("bigvgan", final_tanh=False)
    (tmp_path / "config.json").write_text(json.dumps(BIGVGAN_CONFIG))
    torch.save({"generator": with_weight_norm(vocoder.state_dict())}, tmp_path / "bigvgan_generator.pt")
    return tmp_path


@pytest.fixture
def hifigan_file(tmp_path):
    path = tmp_path / "vocoder.pth"
    torch.save(tiny_vocoder("hifigan", **OFFICIAL_DILATIONS).state_dict(), path)
    return path


@pytest.mark.parametrize("kind", sorted(VOCODERS))
def test_a_frame_changes_samples_within_the_context_only(kind):
    vocoder = tiny_vocoder(kind)
    before, frames, place = mel(150), 150, 75
    after = before.clone()
    after[:, :, place] += 3.0

    changed = (vocoder(after) - vocoder(before)).abs()[0, 0].unflatten(0, (frames, vocoder.hop)).amax(dim=1) > 1e-6

    reached = changed.nonzero().flatten()
    assert reached.min() >= place - vocoder.context
    assert reached.max() <= place + vocoder.context
    assert changed[place]


@pytest.mark.parametrize("kind", sorted(VOCODERS))
@given(pieces=st.lists(st.integers(1, 60), min_size=1, max_size=6))
@settings(max_examples=6)
def test_a_vocoder_fed_piece_by_piece_gives_the_wave_of_the_whole(kind, pieces):
    vocoder, whole = tiny_vocoder(kind), mel(sum(pieces))
    stream = VocoderStream(vocoder)

    parts = [stream.push(piece, last=i == len(pieces) - 1) for i, piece in enumerate(whole.split(pieces, dim=2))]

    assert torch.allclose(torch.cat(parts), vocoder(whole)[0, 0], atol=1e-5)


def test_a_stream_serves_the_next_sound_after_the_last_piece():
    vocoder = tiny_vocoder()
    stream = VocoderStream(vocoder)
    stream.push(mel(9, seed=1), last=True)

    again = stream.push(mel(7, seed=2), last=True)

    assert torch.allclose(again, vocoder(mel(7, seed=2))[0, 0], atol=1e-6)


@pytest.mark.parametrize("kind", sorted(VOCODERS))
def test_a_row_sounds_the_same_in_a_batch(kind):
    vocoder, rows = tiny_vocoder(kind), torch.cat([mel(20, seed) for seed in range(3)])

    together = vocoder(rows)

    assert together.shape == (3, 1, 20 * vocoder.hop)
    for i in range(3):
        assert torch.allclose(vocoder(rows[i : i + 1]), together[i : i + 1], atol=1e-5)


def test_bigvgan_opens_from_its_folder_with_weight_norm_or_folded(bigvgan_folder):
    plain = tiny_vocoder("bigvgan", final_tanh=False)
    torch.save({"generator": plain.state_dict()}, bigvgan_folder / "folded.pt")

    opened = load_vocoder("v3", bigvgan_folder)
    folded = load_vocoder("v3", bigvgan_folder / "folded.pt")

    assert (opened.sample_rate, opened.hop) == (24_000, 8)
    assert torch.allclose(opened(mel(10)), plain(mel(10)), atol=1e-5)
    assert torch.equal(folded(mel(10)), plain(mel(10)))


def test_vocoders_open_from_the_models_folder(bigvgan_folder, hifigan_file, tmp_path):
    models = tmp_path / "models"
    (models / "gsv-v4-pretrained").mkdir(parents=True)
    hifigan_file.rename(models / "gsv-v4-pretrained/vocoder.pth")
    folder = models / "models--nvidia--bigvgan_v2_24khz_100band_256x"
    folder.mkdir()
    for name in ("config.json", "bigvgan_generator.pt"):
        (bigvgan_folder / name).rename(folder / name)

    assert load_vocoder("v3", models).sample_rate == 24_000
    assert load_vocoder("v4", models).sample_rate == 48_000


def test_hifigan_opens_from_its_bare_weights(hifigan_file):
    plain = tiny_vocoder("hifigan", **OFFICIAL_DILATIONS)

    opened = load_vocoder("v4", hifigan_file)

    assert (opened.sample_rate, opened.hop) == (48_000, 8)
    assert torch.equal(opened(mel(10)), plain(mel(10)))
    assert sizes_from_state(plain.state_dict(), file="x") == tiny_sizes(**OFFICIAL_DILATIONS)


def test_half_weights_are_widened(hifigan_file):
    state = tiny_vocoder("hifigan", **OFFICIAL_DILATIONS).state_dict()
    torch.save({name: tensor.half() for name, tensor in state.items()}, hifigan_file)

    opened = load_vocoder("v4", hifigan_file)

    assert {tensor.dtype for tensor in opened.state_dict().values()} == {torch.float32}


def test_the_filters_of_a_file_in_half_precision_are_made_anew(bigvgan_folder):
    state = tiny_vocoder("bigvgan", final_tanh=False).state_dict()
    halved = {name: tensor.half() for name, tensor in state.items()}
    torch.save({"generator": halved}, bigvgan_folder / "bigvgan_generator.pt")

    opened = load_vocoder("v3", bigvgan_folder)

    assert torch.equal(opened.activation_post.upsample.filter.flatten(), low_pass_taps())
    assert not torch.equal(halved["activation_post.upsample.filter"].float().flatten(), low_pass_taps())


def test_an_opened_vocoder_asks_for_no_gradients(hifigan_file):
    opened = load_vocoder("v4", hifigan_file)

    assert not opened.training
    assert not any(parameter.requires_grad for parameter in opened.parameters())


@given(scale=st.floats(0.1, 10))
@settings(max_examples=10)
def test_folding_forgets_the_length_of_the_direction(scale):
    direction, length = mel(5)[0][:, None], torch.rand(MELS, 1, 1)

    folded = fold({"a.weight_g": length, "a.weight_v": direction})
    scaled = fold({"a.weight_g": length, "a.weight_v": scale * direction})

    assert torch.allclose(folded["a.weight"], scaled["a.weight"], atol=1e-5)
    assert torch.allclose(folded["a.weight"].flatten(1).norm(dim=1), length.flatten(), atol=1e-5)


def test_the_filters_stay_exact_in_a_half_precision_module():
    activation = AntiAliasedSnake(4).half()

    assert torch.equal(activation.upsample.filter.flatten(), low_pass_taps())
    assert activation.downsample.lowpass.filter.dtype == torch.float32
    assert activation(torch.zeros(1, 4, 6, dtype=torch.float16)).dtype == torch.float16


def test_an_activation_under_autocast_works_in_float32():
    activation, x = AntiAliasedSnake(4), torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(1))
    plain = activation(x)

    with torch.autocast("cpu", torch.bfloat16):
        cast = activation(x)

    assert torch.equal(cast, plain)


@pytest.mark.parametrize("kind", sorted(VOCODERS))
def test_half_precision_by_autocast_stays_close(kind):
    vocoder = tiny_vocoder(kind)
    for parameter in vocoder.parameters():
        parameter.mul_(0.5)  # far from where the output is cut off
    plain = vocoder(mel(20))

    with torch.autocast("cpu", torch.bfloat16):
        cast = vocoder(mel(20))

    assert plain.abs().max() > 0.01
    assert (cast.float() - plain).abs().max() < 0.05 * plain.abs().max()


def test_the_low_pass_is_symmetric_and_keeps_a_constant():
    taps = low_pass_taps()

    assert torch.allclose(taps, taps.flip(0), atol=1e-7)
    assert abs(float(taps.sum()) - 1) < 1e-6
    assert torch.allclose(AntiAliasedSnake(1).upsample(torch.ones(1, 1, 9)), torch.ones(1, 1, 18), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"resblock": "2"}, "residual blocks"),
        ({"activation": "snake"}, "activation"),
        ({"snake_logscale": False}, "snake_logscale"),
        ({"hop_size": 256}, "hop_size"),
        ({"sampling_rate": "24k"}, "sampling_rate"),
        ({"upsample_rates": [4]}, "1 rates and 2 kernels"),
        ({"upsample_rates": [3, 2]}, "odd number"),
        ({"upsample_initial_channel": 6}, "even"),
        ({"resblock_kernel_sizes": [3]}, "rows of dilations"),
        ({"resblock_kernel_sizes": []}, "no residual block"),
        ({"upsample_rates": "x"}, "does not describe"),
        ({"num_mels": 0}, "below 1"),
        ({"num_mels": MELS + 1}, r"conv_pre\.weight is"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(bigvgan_folder, change, named):
    (bigvgan_folder / "config.json").write_text(json.dumps(BIGVGAN_CONFIG | change))

    with pytest.raises(ModelError, match=named) as refusal:
        load_vocoder("v3", bigvgan_folder)

    assert refusal.value.code == "bad_vocoder"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_configuration_that_is_no_object_is_refused(bigvgan_folder, content):
    (bigvgan_folder / "config.json").write_text(content)

    with pytest.raises(ModelError, match=r"config\.json"):
        load_vocoder("v3", bigvgan_folder)


def test_weights_without_a_configuration_are_missing_a_part(bigvgan_folder):
    (bigvgan_folder / "config.json").unlink()

    with pytest.raises(ModelError, match=r"config\.json") as refusal:
        load_vocoder("v3", bigvgan_folder)

    assert refusal.value.code == "missing_part"


def test_weights_of_something_else_are_refused_by_what_is_missing(bigvgan_folder, hifigan_file):
    with pytest.raises(ModelError, match="are missing"):
        load_vocoder("v3", hifigan_file)
    torch.save({"a": torch.zeros(1)}, hifigan_file)
    with pytest.raises(ModelError, match="holds no vocoder"):
        load_vocoder("v4", hifigan_file)
    torch.save({"a": "text"}, hifigan_file)
    with pytest.raises(ModelError, match="expected to hold weights"):
        load_vocoder("v4", hifigan_file)


def test_a_file_that_would_run_code_is_not_opened(hifigan_file):
    hifigan_file.write_bytes(pickle.dumps(print, protocol=2))

    with pytest.raises(ModelError) as refusal:
        load_vocoder("v4", hifigan_file)

    assert refusal.value.code == "unsafe_checkpoint"


def test_a_file_cut_short_is_called_damaged(hifigan_file):
    hifigan_file.write_bytes(hifigan_file.read_bytes()[:300])

    with pytest.raises(ModelError) as refusal:
        load_vocoder("v4", hifigan_file)

    assert refusal.value.code in ("bad_vocoder", "unsafe_checkpoint")


def test_a_folder_without_a_vocoder_says_how_to_get_it(tmp_path):
    for version in ("v3", "v4"):
        with pytest.raises(ModelError) as refusal:
            load_vocoder(version, tmp_path)
        assert refusal.value.code == "missing_part"
        assert f"download {version}" in refusal.value.hint


def test_a_version_without_a_vocoder_says_so(tmp_path):
    with pytest.raises(ModelError, match="v2 needs no vocoder"):
        load_vocoder("v2", tmp_path)
