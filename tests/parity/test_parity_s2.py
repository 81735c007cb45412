"""Stage 2 speaks and hears as the reference does; tolerances are those of the fixtures' README."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from parity_fixtures import Fixture, error, fixtures
from torch import nn
from upstream_decode import decode_chunk

from GPT_SoVITS.configs import load_config
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.official import recipe
from GPT_SoVITS.sovits.quantizer import Quantizer

FAMILY = ("v1", "v2", "v2Pro", "v2ProPlus")


def is_of_stage_2(path: Path) -> bool:
    """Other stages have an `official_shapes.json` of their own; this one names the generators."""
    return "G_v2" in path.read_text()


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=is_of_stage_2))
@pytest.mark.parametrize("version", FAMILY)
def test_every_parameter_has_its_official_name_and_shape(path, version):
    official = json.loads(path.read_text())
    config = load_config(version)
    judge = "D_v1_v2" if version in ("v1", "v2") else "D_v2Pro_v2ProPlus"

    with torch.device("meta"):
        generator = SoVITS.from_config(config)
        discriminator = Discriminator.from_config(config)

    for model, name in ((generator, f"G_{version}"), (discriminator, judge)):
        assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == official[name]
    voice = sum(tensor.numel() for tensor in generator.voice_state().values())
    assert voice == official["_totals"][f"G_{version}_no_enc_q"]


@pytest.mark.parametrize("path", fixtures("decode"))
def test_decoding_gives_the_reference_waveform(path):
    fixture = Fixture(path)
    config = fixture.config
    model = SoVITS.from_config(
        recipe(config["version"], config["model"], config.get("dims")), posterior="weight_seed" in config
    )
    if "weight_seed" in config:
        fixture.fill(model, config["weight_seed"])
    else:
        model.load_state_dict(fixture.state())
    model.eval().fold_weight_norm()

    for name, call in config.items():
        if re.fullmatch(r"call\d*", name):
            decode_and_compare(fixture, model, name.replace("call", "out"), call)


def decode_and_compare(fixture: Fixture, model: SoVITS, out: str, call: dict) -> None:
    config = fixture.config
    seeded = "noise_seed" in config
    tolerance, wave_tolerance = (1e-4, 1e-4) if seeded else (1e-5, 5e-5)
    refers, speakers = references(fixture, call["refs"])
    options = {"noise_scale": call["noise_scale"]}
    if seeded:
        array = fixture.seeds.noise(config["noise_seed"], config["noise_name"], tuple(config["noise_shape"]))
        options["noise"] = torch.from_numpy(array)
    else:
        options["noise"] = fixture[f"{out}/noise"]
    seen = watch(model)

    with torch.inference_mode():
        ge = model.style(refers, speakers)
    if call["speed"] == 1:
        wave = model.decode(fixture["in/codes"], fixture["in/text"], ge, **options)
    else:
        chunk = decode_chunk(model, fixture["in/codes"], fixture["in/text"], ge, speed=call["speed"], **options)
        wave, prior = chunk.wave, chunk.prior
        seen |= {"m_p": prior.mean, "logs_p": prior.logs, "y_mask": prior.mask}

    assert error(ge, fixture[f"{out}/ge"]) < tolerance
    for name, tensor in seen.items():
        if f"{out}/{name}" in fixture:
            assert error(tensor, fixture[f"{out}/{name}"]) < tolerance, name
        if f"{out}/{name}_digest" in fixture:
            assert error(*fixture.digests(tensor, f"{out}/{name}_digest")) < tolerance, name
    if f"{out}/wav" in fixture:
        assert error(wave, fixture[f"{out}/wav"]) < wave_tolerance
    else:
        assert list(wave.shape) == fixture[f"{out}/wav_shape"].tolist()
        assert error(*fixture.digests(wave, f"{out}/wav_digest")) < wave_tolerance
        assert error(wave.flatten()[:4096], fixture[f"{out}/wav_head"].flatten()) < wave_tolerance


def references(fixture: Fixture, count: int) -> tuple[list[torch.Tensor], list[torch.Tensor] | None]:
    refers = [fixture[f"in/refer{i}"] for i in range(count)]
    return refers, [fixture[f"in/sv{i}"] for i in range(count)] if "in/sv0" in fixture else None


def watch(model: SoVITS) -> dict[str, torch.Tensor]:
    """Collect what the fixtures call by these names while the model runs."""
    seen: dict[str, torch.Tensor] = {}
    modules = {
        "encoder_ssl": model.enc_p.encoder_ssl,
        "encoder_text": model.enc_p.encoder_text,
        "mrte": model.enc_p.mrte,
        "z": model.flow,
    }
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    model.enc_p.register_forward_hook(lambda _, __, out: seen.update(m_p=out.mean, logs_p=out.logs, y_mask=out.mask))
    return seen


@pytest.mark.parametrize("path", fixtures("decode", having="stream1/wav"))
def test_streaming_decode_gives_the_reference_chunks(path):
    fixture = Fixture(path)
    stream = fixture.config["stream"]
    model = SoVITS.from_config(
        recipe(fixture.config["version"], fixture.config["model"], fixture.config["dims"]), posterior=False
    )
    model.load_state_dict(fixture.state())
    model.eval()
    refers, speakers = references(fixture, fixture.config["call"]["refs"])
    overlap = 2 * stream["overlap_tokens"]
    options = {"noise_scale": stream["noise_scale"], "speed": stream["speed"]}
    codes = fixture["in/codes"]
    with torch.inference_mode():
        ge = model.style(refers, speakers)

    first = decode_chunk(
        model,
        codes[:, :, : stream["first_tokens"]],
        fixture["in/text"],
        ge,
        noise=fixture["stream1/noise"],
        **options,
    )
    second = decode_chunk(
        model,
        codes,
        fixture["in/text"],
        ge,
        noise=fixture["stream2/noise"],
        result_length=stream["chunk2_new_tokens"] + stream["overlap_tokens"],
        overlap=first.latent[:, :, -overlap:],
        **options,
    )

    for chunk, name in ((first, "stream1"), (second, "stream2")):
        assert error(chunk.latent, fixture[f"{name}/latent"]) < 1e-5
        assert error(chunk.wave, fixture[f"{name}/wav"]) < 5e-5


@pytest.mark.parametrize("path", fixtures("extract_latent"))
def test_semantic_tokens_are_the_reference_tokens(path):
    fixture = Fixture(path)
    state = fixture.state("small/state/")
    ssl = fixture["small/ssl"]

    projection, quantizer = small_tokenizer(state)
    projected = projection(ssl)
    codes = quantizer.encode(projected).transpose(0, 1)

    assert error(projected.detach(), fixture["small/ssl_proj_out"]) < 1e-5
    assert torch.equal(codes, fixture["small/codes"])
    assert torch.equal(quantizer.decode(codes.transpose(0, 1)), fixture["small/decoded"])


def small_tokenizer(state: dict[str, torch.Tensor]) -> tuple[nn.Conv1d, Quantizer]:
    embed = state["quantizer.vq.layers.0._codebook.embed"]
    width = embed.shape[1]
    projection = nn.Conv1d(width, width, 2, stride=2)
    projection.load_state_dict({name: state[f"ssl_proj.{name}"] for name in ("weight", "bias")})
    quantizer = Quantizer(width, len(embed)).eval()
    prefix = "quantizer."
    book = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    assert not quantizer.load_state_dict(book, strict=False).unexpected_keys
    return projection, quantizer


@pytest.mark.parametrize("path", fixtures("extract_latent"))
def test_semantic_tokens_of_the_official_size_are_the_reference_tokens(path):
    fixture = Fixture(path)
    full = fixture.config["full"]
    config = load_config("v2")["model"]
    width, bins = config["ssl_dim"], config["codebook_bins"]
    book = {"inited": (1,), "cluster_size": (bins,), "embed": (bins, width), "embed_avg": (bins, width)}
    shapes = {f"quantizer.vq.layers.0._codebook.{name}": shape for name, shape in book.items()}
    shapes |= {"ssl_proj.weight": (width, width, 2), "ssl_proj.bias": (width,)}
    state = {n: torch.from_numpy(a) for n, a in fixture.seeds.state(full["weight_seed"], shapes).items()}
    ssl = fixture.seeds.tensor(full["input_seed"], full["input_name"], full["shape"], full["input_half_width"])

    projection, quantizer = small_tokenizer(state)
    projected = projection(torch.from_numpy(ssl)).detach()

    assert error(*fixture.digests(projected, "full/ssl_proj_digest")) < 1e-5
    assert torch.equal(quantizer.encode(projected).transpose(0, 1), fixture["full/codes"].long())


@pytest.mark.parametrize("path", fixtures("extract_latent"))
def test_a_learning_codebook_moves_as_the_reference_does(path):
    fixture = Fixture(path)
    before, after = fixture.state("ema/before/"), fixture.state("ema/after/")
    bins, width = before["vq.layers.0._codebook.embed"].shape
    quantizer = Quantizer(width, bins).train()
    quantizer.load_state_dict(before)
    x = fixture["ema/x"].requires_grad_()

    result = quantizer(x)
    (result.commitment + result.vectors.sum()).backward()

    assert torch.equal(result.codes, fixture["ema/codes"])
    assert error(result.vectors.detach(), fixture["ema/quantized"]) < 1e-5
    assert result.commitment.item() == pytest.approx(float(fixture["ema/commit_loss"]), rel=1e-5)
    for name, tensor in quantizer.state_dict().items():
        assert error(tensor, after[name]) < 1e-5, name
    assert error(x.grad, fixture["ema/grad_x"]) < 1e-5
