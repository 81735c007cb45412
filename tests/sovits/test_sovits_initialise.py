"""A model from nothing has a codebook made for the recordings at hand."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.checkpoint import load_checkpoint, save_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.initialise import cluster, initial_generator
from GPT_SoVITS.sovits.model import SoVITS


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    places = 5 * torch.randn(16, 30, generator=generator)
    return [
        places[:, torch.randint(30, (frames // 2,), generator=generator).repeat_interleave(2)][None]
        + 0.1 * torch.randn(1, 16, frames // 2 * 2, generator=generator)
        for frames in (80, 120, 60)
    ]


def test_the_same_seed_gives_the_same_model(tiny, features):
    first = initial_generator(tiny, features, 3).state_dict()
    second = initial_generator(tiny, features, 3).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(tiny, features):
    name = "enc_p.proj.weight"

    assert not torch.equal(
        initial_generator(tiny, features, 3).state_dict()[name],
        initial_generator(tiny, features, 4).state_dict()[name],
    )


def test_a_stored_model_finds_the_same_tokens(tiny, features, tmp_path):
    model = initial_generator(tiny, features, 3)
    path = tmp_path / "initial.safetensors"
    save_checkpoint(path, kind="sovits", version="nano", config=tiny, state=model.voice_state(), info={})

    stored = SoVITS.from_config(tiny, posterior=False)
    stored.load_state_dict({name: t.float() for name, t in load_checkpoint(path).state.items()})

    for feature in features:
        assert torch.equal(stored.extract_codes(feature), model.extract_codes(feature))


def test_the_tokens_use_the_whole_codebook(tiny, features):
    model = initial_generator(tiny, features, 3)

    tokens = torch.cat([model.extract_codes(feature).flatten() for feature in features])

    assert len(tokens.unique()) == tiny["model"]["codebook_bins"]


def test_fewer_vectors_than_codes_still_make_a_codebook(tiny):
    model = initial_generator(tiny, [torch.randn(1, 16, 10)], 3)

    assert model.extract_codes(torch.randn(1, 16, 8)).max() < 5


def test_no_sound_is_an_error(tiny):
    with pytest.raises(ModelError, match="no sound"):
        initial_generator(tiny, [torch.zeros(1, 16, 1)], 3)


def test_clusters_are_found():
    generator = torch.Generator().manual_seed(0)
    places = 10 * torch.randn(8, 4, generator=generator)
    vectors = places.repeat(50, 1) + 0.01 * torch.randn(400, 4, generator=generator)

    centres = cluster(vectors, 8, seed=1)

    assert torch.cdist(places, centres).min(dim=1).values.max() < 0.05
