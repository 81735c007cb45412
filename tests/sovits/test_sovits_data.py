"""Items, their order, and what a recipe says."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.configs import config_names, load_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import resample, spectrogram
from GPT_SoVITS.sovits.data import BucketSampler, SoVITSItemLoader, boundaries, crop, fit_codes
from GPT_SoVITS.sovits.training_set import select_entries


def test_an_item_is_read_once(full_folder, tiny):
    items = SoVITSItemLoader(full_folder.path, tiny)
    entry = select_entries(full_folder.path, tiny).entries[0]
    first = items(entry)
    (full_folder.path / "5-wav32k" / entry.name).unlink()

    assert items(entry) is first


def test_an_item_that_does_not_fit_in_memory_is_read_again(full_folder, tiny):
    items = SoVITSItemLoader(full_folder.path, tiny, cache_bytes=10)
    entry = select_entries(full_folder.path, tiny).entries[0]

    assert items(entry) is not items(entry)


def test_a_silent_recording_is_refused_by_name(full_folder, tiny):
    import numpy as np
    import soundfile

    soundfile.write(full_folder.path / "5-wav32k" / "0.wav", np.zeros(16000), 16000)
    entry = select_entries(full_folder.path, tiny).entries[0]

    with pytest.raises(ModelError, match=r"0\.wav.*silent"):
        SoVITSItemLoader(full_folder.path, tiny)(entry)


def test_a_recording_of_another_rate_is_left_out(full_folder, tiny):
    import numpy as np
    import soundfile

    soundfile.write(full_folder.path / "5-wav32k" / "0.wav", np.ones(32000) / 2, 32000)

    assert "32000 Hz" in select_entries(full_folder.path, tiny).left_out["0.wav"]


def test_a_missing_list_is_an_error(full_folder, tiny):
    (full_folder.path / "6-name2semantic.tsv").unlink()

    with pytest.raises(ModelError, match=r"6-name2semantic\.tsv"):
        select_entries(full_folder.path, tiny)


def test_tokens_cover_every_frame():
    assert fit_codes([1, 2, 3], 7, 10).tolist() == [1, 2, 3, 3]
    assert fit_codes([1, 2, 3, 4], 6, 10).tolist() == [1, 2, 3]


@pytest.mark.parametrize("codes", [[1] * 9, [1, 2, 3, 99]])
def test_tokens_of_another_sound_or_codebook_are_refused(codes):
    with pytest.raises(ValueError, match=r"codebook|tokens"):
        fit_codes(codes, 8, 10)


def test_a_crop_keeps_sound_frames_and_tokens_together(full_folder, tiny):
    torch.manual_seed(0)
    item = SoVITSItemLoader(full_folder.path, tiny)(select_entries(full_folder.path, tiny).entries[1])

    cut = crop(item, 20, 320)

    start = next(i for i in range(item.spec.shape[1]) if torch.equal(item.spec[:, i : i + 20], cut.spec))
    assert start % 2 == 0
    assert torch.equal(cut.codes, item.codes[start // 2 : start // 2 + 10])
    assert torch.equal(cut.wave, item.wave[:, start * 320 : (start + 20) * 320])
    assert torch.equal(cut.text, item.text)


def test_the_sampler_tells_what_no_bucket_takes():
    assert BucketSampler([20, 100, 2000], 1, boundaries()).dropped == [0, 2]


def test_every_recipe_loads_and_is_the_callers_own():
    first = load_config("v2Pro")
    first["model"]["n_heads"] = 99

    assert load_config("v2Pro")["model"]["n_heads"] == 2
    assert {"nano", "v1", "v2", "v2Pro", "v2ProPlus"} <= set(config_names())


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "v9", "", "v2.yaml", "nano\n"])
def test_a_recipe_is_a_name_and_never_a_path(name):
    with pytest.raises(ModelError) as error:
        load_config(name)

    assert error.value.code == "unknown_version"


def test_a_sound_too_short_for_a_spectrogram_is_an_error():
    with pytest.raises(ModelError) as error:
        spectrogram(torch.zeros(1, 704), n_fft=2048, hop=640, win=2048)

    assert error.value.code == "recording_too_short"


@pytest.mark.parametrize(
    ("shape", "before", "after", "length"), [((1000,), 48000, 16000, 334), ((2, 3, 441), 44100, 32000, 320)]
)
def test_resampling_keeps_the_duration_and_a_constant(shape, before, after, length):
    ours = resample(torch.ones(shape), before, after)

    assert ours.shape == (*shape[:-1], length)
    assert torch.allclose(ours[..., 50:-50], torch.ones(()), atol=1e-3)
