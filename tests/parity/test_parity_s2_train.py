"""One training step of stage 2 moves every parameter as the reference does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from parity_fixtures import Fixture, error, fixtures
from torch import nn

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.adversarial_step import AdversarialOptimizerStep
from GPT_SoVITS.sovits.discriminator import Discriminator, DiscriminatorOutput
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, SoVITSOutput, slice_segments
from GPT_SoVITS.sovits.official import recipe
from GPT_SoVITS.sovits.preview import preview

ROUNDING_ONLY = ("conv_k.bias", "w_ks.bias")
"""Their gradients are zero in exact arithmetic, so their steps are noise (specification s2-sovits §12.3)."""


class Trial:
    """A fixture's models, batch and draws."""

    def __init__(self, fixture: Fixture) -> None:
        config = fixture.config
        changes = {"data": config["data"], "train": config["train"], "model": {"p_dropout": 0.0}}
        self.config = merge_config(recipe(config["version"], config["model"], config["dims"]), changes)
        self.generator = SoVITS.from_config(self.config)
        self.discriminator = Discriminator.from_config(self.config)
        if config["generator_seed"] is None:
            self.generator.load_state_dict(fixture.state())
        else:
            fixture.fill(self.generator, config["generator_seed"], f16=bool(config["generator_f16"]))
        fixture.fill(self.discriminator, config["discriminator_seed"])
        self.generator.train()
        for module in self.generator.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.step = AdversarialOptimizerStep(self.generator, self.discriminator, self.config, compat="reference")
        self.step.set_rate(config["train"]["learning_rate"])
        self.batch = SoVITSBatch(
            spec=fixture["in/spec"],
            spec_lengths=fixture["in/spec_lengths"],
            wave=fixture["in/wav_int16"].float() / 32768,
            text=fixture["in/text"],
            text_lengths=fixture["in/text_lengths"],
            ssl=fixture["in/ssl"],
            speaker=fixture.get("in/sv_emb"),
        )
        self.draws = {"slice_u": fixture["in/slice_u"], "noise": fixture["out/posterior_noise"]}

    def forward(self) -> SoVITSOutput:
        return self.generator(self.batch, segment=self.step.segment, **self.draws)

    def named_parameters(self) -> dict[str, dict[str, nn.Parameter]]:
        return {
            "g": dict(self.generator.named_parameters()),
            "d": dict(self.discriminator.named_parameters()),
        }


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures("train_step"))
def test_the_training_forward_computes_what_the_reference_computes(path):
    fixture = Fixture(path)
    trial = Trial(fixture)

    out = trial.forward()

    step = trial.step
    start_samples = out.starts * trial.config["data"]["hop_length"]
    ours = {
        "y_hat": out.wave,
        "z": out.z,
        "z_p": out.z_p,
        "m_p": out.prior.mean,
        "logs_p": out.prior.logs,
        "m_q": out.mean_q,
        "logs_q": out.logs_q,
        "z_mask": out.mask,
        "quantized": out.quantized,
        "y_mel": slice_segments(step.mel(trial.batch.spec), out.starts, step.segment),
        "y_hat_mel": step.wave_mel(out.wave),
        "y_slice": slice_segments(trial.batch.wave, start_samples, trial.config["train"]["segment_size"]),
    }
    assert torch.equal(out.starts, fixture["out/ids_slice"])
    assert float(out.commitment) == float(fixture["out/kl_ssl"]) == 0.0
    for name, tensor in ours.items():
        assert error(tensor, fixture[f"out/{name}"]) < 5e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures("train_step"))
def test_one_step_has_the_reference_losses_gradients_and_changes(path):
    fixture = Fixture(path)
    trial = Trial(fixture)
    before = {w: {n: p.detach().clone() for n, p in ps.items()} for w, ps in trial.named_parameters().items()}
    gradients = collect_gradients(trial)

    losses = trial.step([trial.batch], draws=[trial.draws])

    compare_losses(losses, fixture.config["losses"], trial.config["train"])
    for who, parameters in trial.named_parameters().items():
        compare_gradients(gradients[who], fixture.config[f"grad_norm_{who}"])
        if f"out/grad_norm_{who}_total" in fixture:
            assert total(gradients[who]) == pytest.approx(float(fixture[f"out/grad_norm_{who}_total"]), rel=1e-4)
        for name, expected in fixture.config[f"mean_abs_delta_{who}"].items():
            if not name.endswith(ROUNDING_ONLY):
                change = float((parameters[name].detach() - before[who][name]).abs().mean())
                assert change == pytest.approx(expected, rel=0.05), name


def collect_gradients(trial: Trial) -> dict[str, dict[str, float]]:
    """Return a dictionary filled with the norm of every gradient at the moment in which its optimiser uses it."""
    norms: dict[str, dict[str, float]] = {"g": {}, "d": {}}
    for who, optimizer in (("g", "generator"), ("d", "discriminator")):
        parameters = trial.named_parameters()[who]
        trial.step.optimizers[optimizer].register_step_pre_hook(
            lambda *_, who=who, parameters=parameters: norms[who].update(
                {n: float(p.grad.norm()) for n, p in parameters.items() if p.grad is not None}
            )
        )
    return norms


def compare_losses(losses: dict[str, float], expected: dict, settings: dict) -> None:
    ours = losses | {
        "mel": losses["mel"] * settings["c_mel"],
        "kl": losses["kl"] * settings["c_kl"],
        "total_g": losses["total"],
    }
    for name in ("disc", "gen", "fm", "mel", "kl", "kl_ssl", "total_g"):
        assert ours[name] == pytest.approx(expected[name], rel=5e-5), name


def compare_gradients(ours: dict[str, float], upstream: dict[str, float | None]) -> None:
    """Compare norms; None says that no gradient reaches the parameter."""
    expected = {name: norm for name, norm in upstream.items() if norm is not None}
    assert set(ours) == set(expected)
    assert total(ours) == pytest.approx(total(expected), rel=1e-4)
    for name, norm in expected.items():
        assert ours.get(name, 0.0) == pytest.approx(norm, rel=0.01, abs=1e-6 * total(expected)), name


def total(norms: dict[str, float]) -> float:
    return sum(norm**2 for norm in norms.values()) ** 0.5


@pytest.mark.parametrize("path", fixtures("train_step", having="infer/noise"))
def test_the_training_preview_gives_the_reference_waveform(path):
    fixture = Fixture(path)
    trial = Trial(fixture)

    spoken = preview(trial.generator, trial.batch, noise=fixture["infer/noise"])

    for name, tensor in (("z", spoken.latent), ("wav", spoken.wave)):
        if f"infer/{name}" in fixture:
            assert error(tensor, fixture[f"infer/{name}"]) < 5e-5, name
        if f"infer/{name}_digest" in fixture:
            assert error(*fixture.digests(tensor, f"infer/{name}_digest")) < 5e-5, name


def is_judged(path: Path) -> bool:
    return re.search(r"discriminator_v\w+$", path.stem) is not None


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures("", where=is_judged))
def test_the_discriminator_judges_as_the_reference_does(path):
    fixture = Fixture(path)
    config = fixture.config
    model = Discriminator.from_config(load_config(config["version"]))
    fixture.fill(model, config["weight_seed"])
    verdicts = {}

    with torch.inference_mode():
        for name in ("real", "fake"):
            shape = (config["batch"], 1, config["samples"])
            wave = fixture.seeds.tensor(config["input_seed"], name, shape, config[f"{name}_half_width"])
            verdicts[name] = model(torch.from_numpy(wave))

    for name, ours in verdicts.items():
        for i, verdict in enumerate(ours):
            compare_verdict(fixture, verdict, name, i)


def compare_verdict(fixture: Fixture, verdict: DiscriminatorOutput, name: str, index: int) -> None:
    assert error(verdict.logits, fixture[f"{name}{index}"]) < 2e-5
    shapes, digests = fixture[f"fmap_shapes{index}"], fixture[f"fmap_{name}{index}"]
    assert len(verdict.features) == len(digests)
    for feature, shape, digest in zip(verdict.features, shapes, digests, strict=True):
        assert list(feature.shape) == [size for size in shape.tolist() if size > 0]
        ours = torch.from_numpy(fixture.seeds.digest(feature.numpy(), len(digest) - 5))
        assert error(ours[5:], digest[5:]) < 2e-5
