"""Stage 1 speaks as the reference does, number for number. `PARITY_DIR` names another folder of fixtures.

A fixture's kind is the end of its stem (`night_infer_batch.npz` is an `infer_batch`); folders may nest.
Tolerances are those of the fixtures' README.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from parity_fixtures import fixtures
from stage_1 import Stage1, generate, upstream_chunks

from GPT_SoVITS.checkpoints.official_files import read_official
from GPT_SoVITS.gpt.decoder import GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.generate import SamplingSettings, generate_batch, stream_tokens
from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility
from GPT_SoVITS.gpt.sampling import apply_repetition_penalty, draw, probabilities
from GPT_SoVITS.noise import SeededNoise


def settings_of(kwargs: dict) -> SamplingSettings:
    names = ("top_k", "top_p", "temperature", "repetition_penalty", "early_stop_num")
    return SamplingSettings(**{name: kwargs[name] for name in names if name in kwargs})


def is_of_stage_1(path: Path) -> bool:
    """Other stages have an `official_shapes.json` of their own; none of them names a `config_model`."""
    return "config_model" in path.read_text()


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=is_of_stage_1))
def test_official_models_have_the_official_tensors(path):
    for name, official in json.loads(path.read_text()).items():
        with torch.device("meta"):
            model = Text2Semantic.from_config(official["config_model"])

        shapes = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]

        assert sorted(shapes) == sorted(official["params"]), name
        assert sum(p.numel() for p in model.parameters()) == official["n_parameters"], name
        assert len(list(model.parameters())) == len(shapes), name


@pytest.mark.parametrize("path", fixtures("", suffix=".ckpt"))
def test_an_official_file_loads_strictly(path):
    official = read_official(path)
    model = Text2Semantic.from_config(official.config)

    model.load_state_dict({name: tensor.float() for name, tensor in official.state.items()}, strict=True)

    assert official.kind == "gpt"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, official.state[name].float()), name


def prompt_row(fixture: Stage1, kwargs: dict) -> GenerationInput:
    return GenerationInput(
        fixture["in/x"], fixture["in/bert"], fixture["in/prompt"] if kwargs.get("use_prompt", True) else None
    )


def generated(fixture: Stage1, kwargs: dict, tokens: torch.Tensor) -> torch.Tensor:
    """Return the reference's tokens without the prompt in front of them."""
    return tokens[len(fixture["in/prompt"]) if kwargs.get("use_prompt", True) else 0 :]


class Recorder(TorchDecoder):
    """A decoder that writes down the logits of every step."""

    def __init__(self, model: Text2Semantic) -> None:
        super().__init__(model)
        self.logits: list[torch.Tensor] = []

    def prefill(self, rows, steps):
        self.logits.append(super().prefill(rows, steps))
        return self.logits[-1]

    def step(self, tokens):
        self.logits.append(super().step(tokens))
        return self.logits[-1]


@pytest.mark.parametrize("path", fixtures("infer_greedy") + fixtures("infer_minlen"))
def test_greedy_tokens_and_logits(path):
    fixture = Stage1(path)
    model = fixture.model()
    for case in [case for case in fixture.cases() if not case.startswith("stream")]:
        kwargs = fixture.json(f"out/{case}/kwargs")
        row, recorder = prompt_row(fixture, kwargs), Recorder(model)

        tokens = generate(model, row, settings_of(kwargs), SeededNoise(0), recorder)

        expected = generated(fixture, kwargs, fixture[f"out/{case}/tokens"])
        assert tokens.tolist() == expected.tolist(), case
        assert len(tokens) == int(fixture[f"out/{case}/n_generated"]), case
        for name, ours in (("first3", torch.cat(recorder.logits[:3])), ("last", recorder.logits[-1])):
            if f"out/{case}/step_logits_{name}" in fixture:
                theirs = fixture[f"out/{case}/step_logits_{name}"]
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0, msg=f"{case}, {name}")


PREFILLED = fixtures("infer_greedy", having="out/prefill/embedded")
PREFILLED += fixtures("infer_minlen", having="out/prefill/embedded")


@pytest.mark.parametrize("path", PREFILLED)
def test_the_prompt_pass(path):
    fixture = Stage1(path)
    model = fixture.model()
    row, decoder = prompt_row(fixture, {}), TorchDecoder(model)

    with torch.no_grad():
        text = model.model.embed_text(row.phonemes[None], row.bert[None])
        embedded = torch.cat([text, model.model.embed_tokens(row.prompt[None])], dim=1)[0]
        decoder.prefill([row], steps=1)

    length = len(embedded)
    keys, values = decoder.cache[0, 0, 0, :, :length], decoder.cache[-1, 0, 1, :, :length]  # (H, S, d)
    hidden = ~fixture["out/prefill/mask_true_is_hidden"]
    assert torch.equal(prefix_visibility(len(row.phonemes), length), hidden)
    torch.testing.assert_close(embedded, fixture["out/prefill/embedded"], atol=1e-4, rtol=0)
    torch.testing.assert_close(decoder.hidden[0], fixture["out/prefill/hidden"], atol=1e-4, rtol=0)
    torch.testing.assert_close(keys.transpose(0, 1).flatten(1), fixture["out/prefill/k0"], atol=1e-4, rtol=0)
    torch.testing.assert_close(values.transpose(0, 1).flatten(1), fixture["out/prefill/v_last"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("path", fixtures("infer_greedy"))
def test_streamed_chunks_of_the_reference(path):
    fixture = Stage1(path)
    for case in [case for case in fixture.cases() if case.startswith("stream")]:
        kwargs = fixture.json(f"out/{case}/kwargs")
        likeness = kwargs.get("mute_emb_sim_matrix")
        chunks = list(
            upstream_chunks(
                fixture.model(),
                prompt_row(fixture, kwargs),
                settings_of(kwargs),
                SeededNoise(0),
                chunk_length=kwargs.get("chunk_length", 24),
                similarity=None if likeness is None else fixture[likeness],
                threshold=kwargs.get("chunk_split_thershold", 0.3),
            )
        )

        lengths = fixture[f"out/{case}/chunk_lens"].tolist()
        rows = fixture[f"out/{case}/chunks"].tolist()
        assert [tokens for tokens, _ in chunks] == [row[:n] for row, n in zip(rows, lengths, strict=True)], case
        assert [final for _, final in chunks] == fixture[f"out/{case}/is_final"].tolist(), case


@pytest.mark.parametrize("path", fixtures("infer_greedy"))
def test_streamed_tokens_are_those_of_the_whole(path):
    fixture = Stage1(path)
    for case in [case for case in fixture.cases() if case.startswith("stream")]:
        kwargs = fixture.json(f"out/{case}/kwargs")
        arguments = fixture.model(), prompt_row(fixture, kwargs), settings_of(kwargs)
        whole = generate(*arguments, SeededNoise(0))

        assert list(stream_tokens(*arguments, SeededNoise(0))) == whole.tolist(), case


@pytest.mark.parametrize("path", fixtures("infer_sample"))
def test_sampled_tokens(path):
    fixture = Stage1(path)
    model = fixture.model()
    for case in fixture.cases():
        kwargs = fixture.json(f"out/{case}/kwargs")
        row = prompt_row(fixture, kwargs)

        tokens = generate(model, row, settings_of(kwargs), fixture["in/noise"][:, 0])

        assert tokens.tolist() == generated(fixture, kwargs, fixture[f"out/{case}/tokens"]).tolist(), case


@pytest.mark.parametrize("path", fixtures("infer_batch"))
def test_batched_tokens(path):
    fixture = Stage1(path)
    model = fixture.model()
    prompt, noise = fixture["in/prompt"], fixture["in/noise"]
    rows = [
        GenerationInput(fixture["in/x"][i, :length], fixture[f"in/bert{i}"], prompt)
        for i, length in enumerate(fixture["in/x_lens"].tolist())
    ]
    for case in fixture.cases():
        kwargs = fixture.json(f"out/{case}/kwargs")
        settings = settings_of(kwargs)

        together = generate_batch(model, rows, [settings] * len(rows), list(noise.unbind(1)))
        alone = [generate(model, row, settings, noise[:, i]) for i, row in enumerate(rows)]

        assert [t.tolist() for t in together] == [t.tolist() for t in alone], case
        for i, tokens in enumerate(together):
            single = [t for t in fixture[f"out/{case}/single_tokens"][i, len(prompt) :].tolist() if t >= 0]
            assert tokens.tolist() == single, (case, i)
            # The reference drops the last token of a row that it stops early (specification s1-gpt §5.3).
            stopped = len(tokens) == settings.early_stop_num + 1
            length = int(fixture[f"out/{case}/lens"][i])
            batched = fixture[f"out/{case}/tokens"][i, len(prompt) : length].tolist()
            assert (tokens.tolist()[:-1] if stopped else tokens.tolist()) == batched, (case, i)


@pytest.mark.parametrize("path", fixtures("sampler"))
def test_sampling_rules(path):
    fixture = Stage1(path)
    for case in sorted({name.split("/")[0] for name in fixture.names()}):
        settings = settings_of(fixture.json(f"{case}/kwargs"))
        logits = fixture[f"{case}/logits"]
        factor = torch.ones_like(logits).scatter(1, fixture[f"{case}/prev"], settings.repetition_penalty)

        z = apply_repetition_penalty(logits, factor)
        p = probabilities(z, settings)
        token = draw(p, fixture[f"{case}/noise"])

        torch.testing.assert_close(z, fixture[f"{case}/logits_after_inplace_penalty"], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(p, fixture[f"{case}/probs"], atol=1e-6, rtol=0)
        assert token.tolist() == fixture[f"{case}/token"].flatten().tolist(), case
        assert z.argmax(-1).tolist() == fixture[f"{case}/argmax_for_stop_test"].flatten().tolist(), case
