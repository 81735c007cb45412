"""v3 and v4 speak: rows and seeds, lengths, precision, files."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, save_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe_of
from GPT_SoVITS.noise import NoisePurpose, SeededNoise
from GPT_SoVITS.sovits.layers import WeightNorm

CODES = torch.tensor([[[1, 5, 9, 3, 2, 2, 7]]])
TEXT = torch.tensor([[10, 20, 30]])
STEPS = 3


def draw_noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeds(*numbers):
    """Noise (B, M, frames and more), a seed for each row."""
    return torch.stack([SeededNoise(number).normal(NoisePurpose.MEL, 0, 40, 12).T for number in numbers])


@pytest.fixture
def prompt():
    return draw_noise(1, 12, 6, seed=2)


@pytest.fixture
def style(model):
    return model.style([draw_noise(1, 1025, 20).abs()])


def padded(rows, size):
    return torch.cat([torch.nn.functional.pad(row, (0, size - row.shape[2])) for row in rows])


def test_a_row_in_a_batch_is_what_it_is_alone(model, prompt):
    rows = [draw_noise(1, 16, size, seed=size) for size in (30, 17, 23)]
    lengths = torch.tensor([row.shape[2] for row in rows])
    trash = draw_noise(3, 16, 33, seed=9)
    together = torch.where(torch.arange(33) < lengths[:, None, None], padded(rows, 33), trash)

    batch = model.cfm.sample(together, prompt, lengths=lengths, steps=STEPS, noise=seeds(4, 5, 6))

    for i, row in enumerate(rows):
        alone = model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(4 + i))
        assert torch.allclose(batch[i : i + 1, :, : row.shape[2]], alone, atol=1e-5)
        assert not batch[i, :, row.shape[2] :].any()


def test_the_original_lets_padding_act(model, prompt):
    row, lengths = draw_noise(1, 16, 30), torch.tensor([20])

    ours = model.cfm.sample(row, prompt, lengths=lengths, steps=STEPS, noise=draw_noise(1, 12, 30))
    theirs = model.cfm.sample(
        row, prompt, lengths=lengths, steps=STEPS, noise=draw_noise(1, 12, 30), compat="reference"
    )

    assert not torch.allclose(ours[:, :, :20], theirs[:, :, :20], atol=1e-3)


def test_guided_rows_are_what_they_are_alone(model, prompt):
    rows = draw_noise(2, 16, 20)
    options = {"steps": STEPS, "guidance": 0.7}

    batch = model.cfm.sample(rows, prompt, lengths=torch.tensor([20, 14]), noise=seeds(4, 5), **options)

    alone = model.cfm.sample(rows[1:, :, :14], prompt, noise=seeds(5), **options)
    assert torch.allclose(batch[1:, :, :14], alone, atol=1e-5)


def test_the_same_seed_gives_the_same_sample_whatever_else_is_drawn(model, prompt):
    row = draw_noise(1, 16, 20)

    first = model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(3))
    torch.randn(100)

    assert torch.equal(first, model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(3)))
    assert not torch.equal(first, model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(4)))


def test_the_prompt_comes_out_as_nothing(model, prompt):
    mel = model.cfm.sample(draw_noise(1, 16, 20), prompt, steps=STEPS)

    assert not mel[:, :, :6].any()
    assert mel[:, :, 6:].abs().min() > 0


@pytest.mark.parametrize(
    ("frames", "options", "complaint"),
    [(20, {"steps": 0}, "0 steps"), (5, {"steps": 1}, "6 frames")],
)
def test_what_cannot_be_sampled_is_refused(model, prompt, frames, options, complaint):
    with pytest.raises(ModelError, match=complaint):
        model.cfm.sample(draw_noise(1, 16, frames), prompt, **options)


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 28), (1.25, 24), (0.8, 36)])
def test_the_length_follows_the_speed_and_no_frame_is_silenced(model, style, speed, frames):
    condition = model.condition(CODES, TEXT, style, speed=speed)

    assert condition.shape == (1, 16, frames)
    assert condition.abs().amax(dim=1).min() > 0


def test_the_original_silences_frames_at_other_speeds(model, style):
    ours = model.condition(CODES, TEXT, style, speed=1.25)
    theirs = model.condition(CODES, TEXT, style, speed=1.25, compat="reference")

    assert ours.shape == theirs.shape
    assert not theirs[:, :, -1].any()


def test_a_style_is_the_mean_of_its_references(model):
    specs = [draw_noise(1, 1025, size, seed=size).abs() for size in (9, 14)]

    both = model.style(specs)

    assert torch.allclose(both, (model.style(specs[:1]) + model.style(specs[1:])) / 2)
    with pytest.raises(ModelError, match="at least one reference"):
        model.style([])


def test_folding_weight_norm_changes_no_condition(model, style):
    before = model.condition(CODES, TEXT, style)

    model.fold_weight_norm()

    assert not any(isinstance(module, WeightNorm) for module in model.modules())
    assert torch.allclose(model.condition(CODES, TEXT, style), before, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_the_memory_gives_nearly_the_same_mel_and_exact_angles(model, prompt, dtype):
    row = draw_noise(1, 16, 20)
    whole = model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(3))
    angles = model.cfm.estimator.rotary_embed.inv_freq.clone()

    model.halve(dtype)

    assert torch.equal(model.cfm.estimator.rotary_embed.inv_freq, angles)
    mel = model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(3))
    assert mel.dtype == torch.float32
    assert torch.allclose(mel, whole, atol=0.1)


def test_a_saved_model_loads_and_saves_to_the_same_bytes(tiny, model, prompt, load, tmp_path):
    def save(name, state):
        save_checkpoint(tmp_path / name, Checkpoint("sovits", "v4", tiny, state), half=False)
        return (tmp_path / name).read_bytes()

    first = save("a.safetensors", model.state_dict())
    again = FlowMatchingSoVITS.from_config(tiny)
    again.load_state_dict(load_checkpoint(tmp_path / "a.safetensors").state)

    row = draw_noise(1, 16, 20)
    assert save("b.safetensors", again.state_dict()) == first
    ours = load(tmp_path / "a.safetensors").cfm.sample(row, prompt, steps=STEPS, noise=seeds(3))
    assert torch.equal(ours, model.cfm.sample(row, prompt, steps=STEPS, noise=seeds(3)))


def test_a_recipe_keeps_a_files_sizes_but_not_its_ratios(tiny, model):
    for config in (tiny, {"model": {"n_heads": 2}}):
        file = Checkpoint("sovits", "v3", config, model.state_dict())

        recipe = recipe_of(file)

        assert recipe["model"]["frame_ratio"] == 1.875
        assert recipe["model"]["dit"] == tiny["model"]["dit"]
        assert recipe["data"]["mel"]["n_mels"] == 12


def test_only_v3_and_v4_have_such_a_recipe(tiny, model):
    with pytest.raises(ModelError, match="not v2"):
        recipe_of(Checkpoint("sovits", "v2", tiny, model.state_dict()))
    with pytest.raises(ModelError, match="not the whole weights"):
        recipe_of(Checkpoint("sovits", "v3", {}, {}))
