"""Whole runs of v1 to v2ProPlus as upstream makes them; tolerances are those of the fixtures' README.

Random numbers and tokens are given, so the second stage, the joints and the splitting of tokens are what is compared.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from parity_fixtures import Fixture, absolute_error, companion, find, fixtures
from stage_1 import upstream_chunks
from upstream_streaming import UpstreamStream
from upstream_synthesis import consecutive_batches, decode_joined, join_sentences, length_batches, to_int16

from GPT_SoVITS.audio import limit_peak
from GPT_SoVITS.gpt.generate import GenerationInput, SamplingSettings
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.official import recipe
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.length_batching import restore_order
from GPT_SoVITS.synthesis.streaming_decoder import NOISE_SCALE
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

INT16 = 2
"""Steps by which the README lets 16-bit samples differ."""
WAVE = 2e-4

for run in (*find("run_v2_batch"), *find("run_v2_stream")):
    companion(run, Fixture(run).config["weights"])  # counted as read, whether or not the tests below are chosen


def voice(fixture: Fixture) -> SoVITS:
    weights = Fixture(companion(fixture.path, fixture.config["weights"]))
    model = SoVITS.from_config(
        recipe(weights.config["version"], weights.config["model"], weights.config.get("dims")), posterior=False
    )
    model.load_state_dict(weights.state())
    return model.eval().fold_weight_norm()


@torch.inference_mode()
def style(fixture: Fixture, model: SoVITS) -> torch.Tensor:
    return model.style([fixture[name] for name in fixture.names("refer_")])


def assert_same_samples(ours: np.ndarray, theirs: torch.Tensor) -> None:
    assert len(ours) == len(theirs)
    assert np.abs(ours.astype(np.int32) - theirs.numpy().astype(np.int32)).max(initial=0) <= INT16


@pytest.mark.parametrize("path", fixtures("run_v2_batch"))
def test_a_batch_joined_into_one_sentence_sounds_as_upstreams(path: Path) -> None:
    fixture = Fixture(path)
    model = voice(fixture)
    ge = style(fixture, model)
    assert fixture.config["noise_scale"] == NOISE_SCALE
    texts = [
        (fixture[f"text_{i}/tokens"], fixture[f"text_{i}/phones"]) for i in range(len(fixture.config["norm_text"]))
    ]

    for index, run in enumerate(fixture.config["runs"]):
        request = run["request"]
        speed = request.get("speed_factor", 1.0)
        noises = iter([fixture[f"{index}/noise_{i}"] for i in range(run["n_noise"])])
        groups = upstream_batches(fixture.config["norm_text"], request, speed)
        batches = []
        for group in groups:
            joined = next(noises) if speed == 1 else None
            tokens, phones = zip(*(texts[i] for i in group), strict=True)
            conditions = [
                AcousticConditions(ids, ge, next(noises) if joined is None else joined, speed=speed) for ids in phones
            ]
            if speed == 1:
                waves = decode_joined(model, tokens, conditions, fixture.config["noise_scale"])
            else:
                waves = WaveformDecoder(model, run["sr"]).decode(tokens, conditions)
            batches.append([wave.numpy() for wave in waves])

        interval = request["fragment_interval"]
        if request.get("return_fragment"):
            outputs = [join_sentences(batch, interval) for batch in batches]
        else:
            outputs = [join_sentences(restore_order(groups, batches), interval)]

        assert len(outputs) == run["n_out"]
        for i, output in enumerate(outputs):
            assert_same_samples(to_int16(output), fixture[f"{index}/out_{i}"])


def upstream_batches(norm_text: list[str], request: dict, speed: float) -> list[list[int]]:
    lengths = [len(text) for text in norm_text]
    if request.get("return_fragment") or speed != 1 or not request.get("split_bucket", True):
        return consecutive_batches(len(lengths), request["batch_size"])
    return length_batches(lengths, request["batch_size"], request.get("batch_threshold", 0.75))


@pytest.mark.parametrize("path", fixtures("run_v2_stream"))
def test_a_stream_in_upstreams_way_has_its_chunks_latents_offsets_and_emissions(path: Path) -> None:
    fixture = Fixture(path)
    model = voice(fixture)
    ge = style(fixture, model)
    defaults = fixture.config["defaults"]

    for index, run in enumerate(fixture.config["runs"]):
        request = defaults | run["request"]
        stream = UpstreamStream(
            model,
            fixture["phones"],
            ge,
            speed=request.get("speed_factor", 1.0),
            overlap=request["overlap_length"],
            noise_scale=fixture.config["noise_scale"],
        )
        chunks = len(fixture.names(f"{index}/tokens_"))
        for i, final in enumerate(run["finals"]):
            ends_empty = run["last_is_none"] and i == len(run["finals"]) - 1
            tokens = None if ends_empty else fixture[f"{index}/tokens_{i}"]
            noise = None if ends_empty else fixture[f"{index}/noise_{i}"]

            emitted = stream.push(tokens, final=final, noise=noise)

            assert_same_samples(to_int16(limit_peak(emitted.numpy())), fixture[f"{index}/out_{i}"])
        pause = fixture[f"{index}/out_{run['n_out'] - 1}"]
        assert_same_samples(np.zeros(int(run["sr"] * request["fragment_interval"]), np.int16), pause)
        assert len(fixture.names(f"{index}/out_")) == run["n_out"] == len(run["finals"]) + 1
        assert stream.offsets == run["sola_offsets"]
        assert_same_raw_chunks(fixture, model, ge, index, chunks, request)


def assert_same_raw_chunks(
    fixture: Fixture, model: SoVITS, ge: torch.Tensor, index: int, chunks: int, request: dict
) -> None:
    """Compare the waves before anything is cut off them, where the overlap was not raised, and all latents."""
    speed, overlap = request.get("speed_factor", 1.0), request["overlap_length"]
    again = UpstreamStream(
        model, fixture["phones"], ge, speed=speed, overlap=overlap, noise_scale=fixture.config["noise_scale"]
    )
    for i in range(chunks):
        chunk = again.decode(fixture[f"{index}/tokens_{i}"], fixture[f"{index}/noise_{i}"])

        expected = fixture[f"{index}/raw_{i}"]
        assert absolute_error(chunk.latent, fixture[f"{index}/latent_{i}"]) < 2e-5
        assert absolute_error(chunk.wave[0, 0], expected[-chunk.wave.shape[2] :]) < WAVE


@pytest.mark.parametrize("path", fixtures("stream_split", suffix=".json"))
def test_tokens_are_split_where_upstream_splits_them(path: Path) -> None:
    for case in json.loads(path.read_text()):
        script = torch.tensor(case["tokens"])
        model = indifferent_gpt(tokens=int(script.max()) + 1)
        likeness = None if case["sim"] is None else torch.tensor(case["sim"])

        yields = upstream_chunks(
            model,
            GenerationInput(torch.tensor([1, 2]), None, None),
            SamplingSettings(top_k=None, repetition_penalty=1.0),
            dictated(script, int(script.max()) + 1),
            chunk_length=case["chunk_length"],
            similarity=likeness,
            threshold=case["threshold"],
        )

        assert [[tokens or None, final] for tokens, final in yields] == case["yields"]


def indifferent_gpt(tokens: int) -> Text2Semantic:
    """Return a GPT to which every token is as likely as any other, so that noise alone decides."""
    sizes = {"embedding_dim": 8, "hidden_dim": 8, "head": 2, "n_layer": 1, "dropout": 0}
    model = Text2Semantic.from_config(sizes | {"vocab_size": tokens, "EOS": tokens - 1, "phoneme_vocab_size": 4}).eval()
    model.model.ar_predict_layer.weight.data.zero_()
    return model


def dictated(script: torch.Tensor, tokens: int) -> torch.Tensor:
    """Return (steps, V) draws that make each step choose what is written."""
    noise = torch.ones(len(script), tokens)
    return noise.scatter_(1, script[:, None], 1e-6)
