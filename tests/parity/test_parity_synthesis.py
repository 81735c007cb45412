"""Chunks, joints, batches and samples against the fixtures of parity/v3v4/pipeline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import upstream_chunks
from parity_fixtures import Fixture, absolute_error, companion, find, fixtures
from torch import Tensor
from upstream_synthesis import consecutive_batches, join_sentences, join_waves, length_batches, to_int16

from GPT_SoVITS import audio
from GPT_SoVITS.features.mel import LogMelConfig, log_mel, normalize, resample
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe
from GPT_SoVITS.synthesis.length_batching import restore_order
from GPT_SoVITS.synthesis.mel_synthesis import ChunkSizes, MelPrompt, mel_prompt
from GPT_SoVITS.vocoders import Vocoder
from GPT_SoVITS.vocoders.load import bigvgan, hifigan

WAVE = 2e-4
SAMPLES = 1e-6
ROUNDING = 2
"""Steps of int16."""
REFERENCE = "reference"
CHUNKED = fixtures("chunked_v3") + fixtures("chunked_v4")
for chunked in find("chunked_v3") + find("chunked_v4"):
    for network in ("weights", "vocoder"):  # counted as read before any test runs
        companion(chunked, Fixture(chunked).config[network])


@pytest.mark.parametrize("path", fixtures("bucketing", suffix=".json"))
def test_sentences_are_put_into_the_reference_batches(path):
    for case in json.loads(path.read_text()):
        lengths, size = case["lengths"], case["batch_size"]

        if case["split_bucket"]:
            batches = length_batches(lengths, size, case["threshold"])
        else:
            batches = consecutive_batches(len(lengths), size)

        assert batches == case["batches"]
        longest = [max(lengths[i] for i in batch) for batch in batches]
        surplus = {theirs - ours for theirs, ours in zip(case["max_len"], longest, strict=True)}
        assert len(surplus) == 1, "the longest of every batch, to which the fixture adds the same everywhere"


@pytest.mark.parametrize("path", fixtures("sola"))
def test_waves_are_joined_where_the_reference_joins_them(path):
    fixture = Fixture(path)

    for index, run in enumerate(fixture.config["runs"]):
        fragments = [fixture[f"{index}/frag_{i}"] for i in range(run["fragments"])]
        joined = join_waves(fragments, run["overlap_len"], search=run["search_len"])

        assert joined.offsets == fixture[f"{index}/offsets"].tolist()
        assert absolute_error(joined.wave, fixture[f"{index}/out"]) < SAMPLES


@pytest.mark.parametrize("path", fixtures("postprocess"))
def test_sentences_become_the_reference_samples(path):
    fixture = Fixture(path)

    for index, run in enumerate(fixture.config["runs"]):
        batches = run["batch_index_list"]
        waves = [[fixture[f"{index}/in_{b}_{i}"].numpy() for i in range(len(batch))] for b, batch in enumerate(batches)]
        ordered = restore_order(batches, waves) if run["split_bucket"] else [wave for batch in waves for wave in batch]
        samples = to_int16(join_sentences(ordered, run["fragment_interval"]))

        apart = np.abs(samples.astype(int) - fixture[f"{index}/out"].numpy().astype(int))
        assert apart.max() <= ROUNDING


@pytest.mark.parametrize("path", fixtures("postprocess"))
def test_no_sample_wraps_by_default(path):
    fixture = Fixture(path)

    for name in [name for name in fixture.arrays if "/in_" in name]:
        wave = fixture[name].numpy()
        samples = audio.to_int16(audio.limit_peak(wave))

        loud = np.abs(wave) > 1e-3
        assert (np.sign(samples[loud]) == np.sign(wave[loud])).all()


class Stage:
    """What a chunked fixture names: both networks, the reference recording and its sentences."""

    def __init__(self, path) -> None:
        self.fixture = Fixture(path)
        self.config = self.fixture.config
        self.model = self._model()
        self.vocoder = self._vocoder()
        self.sizes = ChunkSizes(self.config["T_ref"], self.config["T_chunk"])
        self.ge = self.model.style([self.fixture["refer"]])
        self.prompt = self._prompt()

    def features(self, codes: Tensor, phones: Tensor) -> Tensor:
        """Condition features (1, C, T) of one sentence."""
        shaped = codes.reshape(1, 1, -1), phones.reshape(1, -1)
        return self.model.condition(*shaped, self.ge, speed=self.config.get("speed", 1.0), compat=REFERENCE)

    def batch(self) -> list[Tensor]:
        """Features of the sentences of the batched run; the new tokens are the last of those that are given."""
        counts = self.config["batch_tokens"]
        return [
            self.features(self.fixture[f"batch_semantic_{i}"][-count:], self.fixture[f"batch_phones_{i}"])
            for i, count in enumerate(counts)
        ]

    def _model(self) -> FlowMatchingSoVITS:
        weights = Fixture(companion(self.fixture.path, self.config["weights"]))
        sections = self.config if "model" in self.config else weights.config
        config = recipe(self.config["version"], sections["model"], sections["dims"])
        self.mel = LogMelConfig(**config["data"]["mel"])
        model = FlowMatchingSoVITS.from_config(config)
        model.load_state_dict(weights.state())
        return model.eval()

    def _vocoder(self) -> Vocoder:
        vocoder = Fixture(companion(self.fixture.path, self.config["vocoder"]))
        if "activation" in vocoder.config:
            return bigvgan(vocoder.config, vocoder.state())
        return hifigan(vocoder.state(), vocoder.config)

    def _prompt(self) -> MelPrompt:
        mono = self.fixture["raw_audio"].mean(dim=0, keepdim=True)
        wave = resample(mono, self.config["ref_sr"], self.config["mel_sr"])
        mel = normalize(log_mel(wave, self.mel))
        codes, phones = self.fixture["prompt_semantic"], self.fixture["prompt_phones"]
        condition = self.model.condition(codes.reshape(1, 1, -1), phones.reshape(1, -1), self.ge, compat=REFERENCE)
        return mel_prompt(condition, mel, self.sizes)


@pytest.mark.parametrize("path", CHUNKED)
def test_serial_chunks_give_the_reference_wave(path):
    stage = Stage(path)
    fixture = stage.fixture
    noises = [fixture[f"serial_noise_{i}"] for i in range(stage.config["serial_chunks"])]

    features = stage.features(fixture["serial_semantic"], fixture["serial_phones"])
    steps = stage.config["sample_steps"]
    wave = upstream_chunks.synthesize_serially(
        stage.model, stage.vocoder, stage.sizes, features, stage.prompt, steps=steps, noises=noises
    )

    assert absolute_error(wave, fixture["serial_audio"]) < WAVE


@pytest.mark.parametrize("path", CHUNKED)
def test_batched_chunks_give_the_reference_waves_and_offsets(path):
    stage = Stage(path)
    noise, steps = stage.fixture["batched_noise"], stage.config["sample_steps"]

    waves, offsets = upstream_chunks.synthesize_batched(
        stage.model,
        stage.vocoder,
        stage.sizes,
        stage.batch(),
        stage.prompt,
        steps=steps,
        noise=noise,
        overlap=stage.config["overlapped_len"],
    )

    assert offsets == stage.fixture["batched_sola_offsets"].tolist()
    for i, wave in enumerate(waves):
        assert absolute_error(wave, stage.fixture[f"batched_audio_{i}"]) < WAVE
