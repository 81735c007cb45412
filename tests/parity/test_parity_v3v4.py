"""The acoustic model of v3 and v4, its losses, mels and LoRA files against the fixtures of parity/v3v4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from parity_fixtures import Fixture, absolute_error, companion, fixtures, has
from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.checkpoints.identify import lora_rank
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.features.mel import LogMelConfig, denormalize, log_mel, normalize, resample, spectrogram
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.cfm import RandomDraws
from GPT_SoVITS.flow_matching.dit import frame_mask
from GPT_SoVITS.flow_matching.embedding import rotate
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe, sizes

NETWORK = 2e-5
MEL = 1e-5
LOSS = 1e-5
GRADIENTS = 1e-4
MERGE = 1e-6
REFERENCE = "reference"


def load(fixture: Fixture) -> FlowMatchingSoVITS:
    """Return the network that a fixture names, strictly."""
    config = fixture.config
    model = build(config.get("version", "v3"), config["model"], config["dims"])
    model.load_state_dict(Fixture(companion(fixture.path, config["weights"])).state())
    return model.eval()


def build(version: str, model: dict[str, Any], dims: dict[str, Any]) -> FlowMatchingSoVITS:
    return FlowMatchingSoVITS.from_config(recipe(version, model, dims))


def is_network(path: Path) -> bool:
    return has(path, "config_json") and "dit" in Fixture(path).config.get("dims", {})


@pytest.mark.parametrize("path", fixtures("weights", where=is_network))
def test_the_reference_weights_fit_and_show_their_sizes(path):
    fixture = Fixture(path)
    expected = recipe("v3", fixture.config["model"], fixture.config["dims"])["model"]

    build("v3", fixture.config["model"], fixture.config["dims"]).load_state_dict(fixture.state(), strict=True)

    compare_sizes(fixture.state(), expected)


def compare_sizes(state: dict[str, Tensor], expected: dict[str, Any]) -> None:
    shown = sizes(state)
    assert shown.pop("dit") == {name: expected["dit"][name] for name in sizes(state)["dit"]}
    assert shown == {name: expected[name] for name in shown}


@pytest.mark.parametrize("path", fixtures("dit_forward"))
def test_the_transformer_and_its_parts_give_the_reference_numbers(path):
    fixture = Fixture(path)
    model = load(fixture)
    dit = model.get_submodule(fixture.config["prefix"].rstrip("."))
    time, step, condition = fixture["time"], fixture["dt"], fixture["text"]
    x, prompt = fixture["x"], fixture["cond"]
    nothing = torch.zeros_like(condition)

    with torch.inference_mode():
        mask = frame_mask(fixture["lens"], x.shape[2], x.device)
        modulation = dit.modulation(dit.time_vector(time, step))
        text, no_text = (dit.embed_condition(c, mask, compat=REFERENCE) for c in (condition, nothing))
        ours = {
            "out": dit(x, prompt, text, modulation, mask, compat=REFERENCE),
            "out_dropped": dit(x, torch.zeros_like(prompt), no_text, modulation, mask, compat=REFERENCE),
            "time_embed": dit.time_embed(time),
            "dt_embed": dit.d_embed(step),
            "text_embed": text,
            "text_embed_dropped": no_text,
            "input_embed": dit.input_embed(x.transpose(1, 2), prompt.transpose(1, 2), text, None),
        }

    checked = [name for name in ours if name in fixture]
    assert checked
    for name in checked:
        assert absolute_error(ours[name], fixture[name]) < NETWORK, name


@pytest.mark.parametrize("path", fixtures("dit_forward", having="rope_out"))
def test_only_the_first_head_is_rotated(path):
    fixture = Fixture(path)
    dit = load(fixture).cfm.estimator
    turned = fixture["rope_in"].clone()
    width = 2 * len(dit.rotary_embed.inv_freq)

    turned[..., :width] = rotate(turned[..., :width], dit.rotary_embed(turned.shape[1]))

    assert absolute_error(turned, fixture["rope_out"]) < NETWORK


@pytest.mark.parametrize("path", fixtures("cfm_inference"))
def test_the_sampler_gives_the_reference_mels(path):
    fixture = Fixture(path)
    model = load(fixture)

    for i, run in enumerate(fixture.config["runs"]):
        mel = model.cfm.sample(
            fixture[f"{i}/mu"].transpose(1, 2),
            fixture[f"{i}/prompt"],
            lengths=fixture[f"{i}/x_lens"],
            steps=run["n_timesteps"],
            guidance=run["inference_cfg_rate"],
            temperature=run["temperature"],
            noise=fixture[f"{i}/noise"],
            compat=REFERENCE,
        )
        assert absolute_error(mel, fixture[f"{i}/out"]) < NETWORK, i


@pytest.mark.parametrize("path", fixtures("decode_encp_v3") + fixtures("decode_encp_v4"))
def test_tokens_and_phonemes_become_the_reference_features(path):
    fixture = Fixture(path)
    model = load(fixture)

    assert torch.equal(model.extract_codes(fixture["ssl"]), fixture["ssl_codes"])
    for i, run in enumerate(fixture.config["runs"]):
        earlier = run["ge_from_run"]
        ge = model.style([fixture["refer"]]) if earlier is None else fixture[f"{earlier}/ge"]
        codes, text = fixture[f"{i}/codes"], fixture[f"{i}/text"]
        features = model.condition(codes, text, ge, speed=run["speed"], compat=REFERENCE)
        assert absolute_error(ge, fixture[f"{i}/ge"]) < NETWORK, i
        assert absolute_error(features, fixture[f"{i}/fea"]) < NETWORK, i


@pytest.mark.parametrize("path", fixtures("train_loss_v3") + fixtures("train_loss_v4"))
def test_both_losses_and_their_gradients_are_those_of_the_reference(path):
    fixture = Fixture(path)
    batch = training_batch(fixture)

    for i, run in enumerate(fixture.config["runs"]):
        model = load(fixture)  # in eval mode, as the fixture was made
        draws = RandomDraws(
            fixture[f"{i}/rand_prompt"], fixture[f"{i}/t"], fixture[f"{i}/x0"], fixture.get(f"{i}/base")
        )
        assert (draws.halvings is None) == (run["branch"] == "flow")

        condition, mel, lengths = model.training_condition(batch)
        loss = model.cfm.loss(mel, lengths, condition, draws, compat=REFERENCE)
        loss.backward()

        assert absolute_error(condition, fixture["mu"]) < NETWORK
        assert torch.equal((draws.prompt * (2 / 3 * lengths)).long(), fixture[f"{i}/prompt_len"])
        assert loss.item() == pytest.approx(float(fixture[f"{i}/loss"]), rel=LOSS)
        compare_gradients(model, fixture, i)


def training_batch(fixture: Fixture) -> FlowMatchingBatch:
    names = ("spec", "spec_lengths", "mel", "mel_lengths", "text", "text_lengths", "ssl")
    return FlowMatchingBatch(**{name: fixture[name] for name in names})


def compare_gradients(model: FlowMatchingSoVITS, fixture: Fixture, run: int) -> None:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    norms = zip(fixture.config["grad_norm_keys"], fixture[f"{run}/grad_norms"].tolist(), strict=True)
    for name, expected in norms:
        assert float(cast(torch.Tensor, gradients[name]).norm()) == pytest.approx(expected, rel=GRADIENTS), name
    for entry in fixture.names(f"{run}/grad/"):
        name = entry.removeprefix(f"{run}/grad/")
        assert absolute_error(cast(torch.Tensor, gradients[name]), fixture[entry]) < GRADIENTS, name
    untaught = ("ref_enc.", "linear_mel.", "enc_p.", "ssl_proj.")
    assert not [name for name, gradient in gradients.items() if name.startswith(untaught) and gradient is not None]


def has_log_mels(path: Path) -> bool:
    return bool(Fixture(path).names("quiet/logmel_"))


def settings_of(fixture: Fixture, version: str) -> dict[str, Any]:
    """Return the entries of a LogMelConfig."""
    settings = fixture.config[version]
    return {"sampling_rate": settings["sr"]} | {name: value for name, value in settings.items() if name != "sr"}


@pytest.mark.parametrize("path", fixtures("mel", where=has_log_mels))
def test_log_mels_and_their_normal_form_are_those_of_the_reference(path):
    fixture = Fixture(path)
    low, high = fixture.config["norm"]["min"], fixture.config["norm"]["max"]
    versions = [name.removesuffix("/logmel") for name in fixture.names() if name.endswith("/logmel")]

    assert versions
    for version in versions:
        mel = log_mel(fixture[f"{version}/wav"][None], LogMelConfig(**settings_of(fixture, version)))

        assert absolute_error(mel, fixture[f"{version}/logmel"]) < MEL
        assert absolute_error(normalize(mel, low, high), fixture[f"{version}/norm"]) < MEL
        assert absolute_error(denormalize(normalize(mel)), mel) < MEL


@pytest.mark.parametrize("path", fixtures("mel", where=has_log_mels))
def test_silence_is_the_floor_of_the_mel(path):
    fixture = Fixture(path)

    for name in fixture.names("quiet/logmel_"):
        settings = settings_of(fixture, name.removeprefix("quiet/logmel_"))
        mel = log_mel(torch.zeros(1, fixture[name].shape[2] * settings["hop"]), LogMelConfig(**settings))
        assert absolute_error(mel, fixture[name]) < MEL


@pytest.mark.parametrize("path", fixtures("mel", where=has_log_mels))
def test_the_recipes_have_the_mels_of_the_reference(path):
    fixture = Fixture(path)

    for version in ("v3", "v4"):
        if version in fixture.config and fixture.config[version]["n_mels"] == 100:
            assert load_config(version)["data"]["mel"] == settings_of(fixture, version)


@pytest.mark.parametrize("path", fixtures("mel", having="lin32k/spec_bins"))
def test_the_linear_spectrogram_has_the_rows_that_the_fixture_shows(path):
    fixture = Fixture(path)
    data = load_config("v4")["data"]
    shape = {"n_fft": data["filter_length"], "hop": data["hop_length"], "win": data["win_length"]}

    spec = spectrogram(fixture["v4/wav"][None], **shape)

    assert absolute_error(spec.mean(dim=1), fixture["lin32k/spec_mean_over_bins"]) < MEL
    for row in fixture["lin32k/spec_bins"][0]:  # the fixture does not say which bins they are
        nearest = (spec[0] - row).abs().amax(dim=1).argmin()
        assert absolute_error(spec[0, nearest], row) < MEL


@pytest.mark.parametrize("path", fixtures("mel", having="resample/wav44100"))
def test_the_resampler_is_that_of_the_reference(path):
    fixture = Fixture(path)
    wave = fixture["resample/wav44100"][None]

    for name in fixture.names("resample/to"):
        rate = int(name.removeprefix("resample/to"))
        assert absolute_error(resample(wave, 44100, rate), fixture[name]) < MEL, name


def beside(path: Path, end: str) -> Path:
    """Return the file of that ending which belongs to the expectations, whatever its prefix."""
    prefix = path.stem.removesuffix("expected")
    candidates = sorted(path.parent.glob(f"*{end}"), key=lambda file: not file.name.startswith(prefix))
    return companion(path, candidates[0].name if candidates else end)


def lora_files(path: Path) -> dict[str, Path]:
    """Version -> its LoRA file."""
    return {version: beside(path, f"{version}_lora.pth") for version in Fixture(path).config["lora_rank"]}


def is_lora(path: Path) -> bool:
    return "lora_rank" in Fixture(path).config


@pytest.mark.parametrize("path", fixtures("expected", where=is_lora))
def test_a_lora_file_read_with_its_base_speaks_as_the_reference_does(path):
    fixture = Fixture(path)
    config = fixture.config
    base = open_checkpoint(beside(path, "base.pth"), version="v3").state

    for version, file in lora_files(path).items():
        changes = open_checkpoint(file).state
        state = lora.merge(base, changes)
        model = build(version, config["model"], config["dims"])
        model.load_state_dict(state)
        model.eval()

        assert lora_rank(changes) == config["lora_rank"][version]
        estimator = model.cfm.estimator
        merged = estimator.transformer_blocks[0].attn.to_q.weight
        assert absolute_error(merged, fixture[f"{version}/merged_to_q0"]) < MERGE
        assert absolute_error(estimator.rotary_embed.inv_freq, fixture[f"{version}/inv_freq"]) == 0
        compare_speech(model, fixture, version)


def compare_speech(model: FlowMatchingSoVITS, fixture: Fixture, version: str) -> None:
    ge = model.style([fixture[f"{version}/refer"]])
    features = model.condition(fixture[f"{version}/codes"], fixture[f"{version}/text"], ge, compat=REFERENCE)
    mel = model.cfm.sample(
        features,
        fixture[f"{version}/prompt"],
        steps=fixture.config["n_timesteps"],
        noise=fixture[f"{version}/noise"],
        compat=REFERENCE,
    )
    assert absolute_error(features, fixture[f"{version}/fea"]) < NETWORK
    assert absolute_error(mel, fixture[f"{version}/out"]) < NETWORK


@pytest.mark.parametrize("path", fixtures("expected", where=is_lora))
def test_an_injected_model_writes_the_names_and_shapes_of_the_reference_file(path):
    config = Fixture(path).config

    for version, file in lora_files(path).items():
        theirs = open_checkpoint(file).state
        model = lora.inject(build(version, config["model"], config["dims"]), lora_rank(theirs))
        assert shapes(lora.lora_state(model)) == shapes(theirs)


def shapes(state: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


def is_of_v3(path: Path) -> bool:
    return "s2_v3" in json.loads(path.read_text())


def official(version: str) -> FlowMatchingSoVITS:
    """At full size, without memory."""
    with torch.device("meta"):
        return FlowMatchingSoVITS.from_config(load_config(version))


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=is_of_v3))
@pytest.mark.parametrize("version", ["v3", "v4"])
def test_every_name_and_shape_is_official(path, version):
    expected = json.loads(path.read_text())

    model = official(version)

    assert shapes(model.state_dict()) == expected["s2_v3"]
    counted = {
        "s2_v3_params": sum(tensor.numel() for tensor in model.parameters()),
        "s2_v3_dit_params": sum(tensor.numel() for tensor in model.cfm.parameters()),
    }
    assert counted == {name: expected["_totals"][name] for name in counted}
    compare_sizes(model.state_dict(), load_config(version)["model"])


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=is_of_v3))
def test_every_name_and_shape_of_a_lora_file_is_official(path):
    expected = json.loads(path.read_text())
    rank = lora_rank({name: torch.empty(shape, device="meta") for name, shape in expected["_lora_r32_file"].items()})

    model = lora.inject(official("v3"), rank)

    assert shapes(lora.lora_state(model)) == expected["_lora_r32_file"]
    learning = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(learning.values()) == expected["_totals"]["lora_r32_trainable"]
    assert sum(n for name, n in learning.items() if "cfm." in name) == expected["_totals"]["lora_r32_lora_only"]
