"""Synthesis on a pretended GPU: nothing mixes devices, and decoding hardly ever waits for the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretended_cuda import DeviceTensor, mixed, pretended_cuda, waits
from tiny_voices import write_tiny_voice, write_voice
from torch import nn

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.gpt.continuous_batching import READ_INTERVAL, ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.graphs import registry
from GPT_SoVITS.gpt.graphs.buckets import REPLAY_STEPS
from GPT_SoVITS.gpt.graphs.registry import graph_decoder, graph_preparations, release_graph_decoders
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.graphs.registry import GraphRegistry
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, SynthesisRequest
from GPT_SoVITS.sovits.graphs import registry as chunk_registry
from GPT_SoVITS.sovits.graphs.network import WORK
from GPT_SoVITS.sovits.graphs.registry import voice_graphs
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, generate
from GPT_SoVITS.synthesis.mel_synthesis import MelPrompt
from GPT_SoVITS.synthesis.streaming_decoder import StreamingDecoder
from GPT_SoVITS.vocoders.hifigan import HiFiGAN
from GPT_SoVITS.vocoders.sizes import VocoderSizes

LORA = Path(__file__).parent.parent / "parity" / "fixtures" / "v3v4" / "lora"
VERSIONS = ("nano", "v1", "v2", "v2Pro", "v2ProPlus", "v3")
STEPS = 64


def load(version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Load a small voice of random weights, on the CPU."""
    if version == "nano":
        return Pipeline.load(*write_voice(folder, "nano", load_config("nano_gpt"), load_config("nano")))
    if version != "v3":
        return Pipeline.load(*write_tiny_voice(folder, version))
    (folder / "s2Gv3.pth").write_bytes((LORA / "tiny_base.pth").read_bytes())
    torch.manual_seed(1)
    sizes = {"embedding_dim": 16, "hidden_dim": 16, "head": 2, "n_layer": 1, "vocab_size": 33, "EOS": 32}
    config = merge_config(load_config("v2_gpt"), {"model": sizes})
    gpt = folder / "gpt.safetensors"
    save_checkpoint(gpt, Checkpoint("gpt", "v2", config, Text2Semantic.from_config(config).state_dict()))
    monkeypatch.setattr("GPT_SoVITS.pipeline.load_vocoder", lambda version, where, device: tiny_vocoder())
    return Pipeline.load(gpt, LORA / "tiny_v3_lora.pth", models=folder)


def tiny_vocoder() -> HiFiGAN:
    mels = 12
    sizes = VocoderSizes(
        mels=mels, width=16, rates=(4, 2), kernels=(8, 4), block_kernels=(3,), block_dilations=((1, 3),)
    )
    return HiFiGAN(sizes).eval().requires_grad_(False)


def move(value: Any) -> Any:
    """Move tensors, and the tensors of modules, to the pretended device."""
    if isinstance(value, torch.Tensor):
        return DeviceTensor(value.detach())
    if isinstance(value, nn.Module):
        for module in value.modules():
            groups: tuple[Any, ...] = (module._parameters, module._buffers)
            for tensors in groups:
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = DeviceTensor(tensor.detach())
            if isinstance(getattr(module, "_table", None), torch.Tensor):
                module._table = DeviceTensor(module._table)
    return value


def on_device(pipeline: Pipeline) -> Pipeline:
    """Return the same voice on the pretended device."""
    move(pipeline.gpt)
    decoder: Any = pipeline.decoder
    for name in ("sovits", "model"):
        if hasattr(decoder, name):
            move(getattr(decoder, name))
    if hasattr(decoder, "synthesis"):
        move(decoder.synthesis.vocoder)
    return Pipeline(
        pipeline.gpt, decoder, pipeline.helpers, version=pipeline.version, spectrograms=pipeline.spectrograms
    )


def prompt_of(pipeline: Pipeline) -> EncodedPrompt:
    """Return a prompt of random numbers."""
    decoder: Any = pipeline.decoder
    generator = torch.Generator().manual_seed(2)
    network = decoder.sovits if hasattr(decoder, "sovits") else decoder.model
    style = torch.randn(1, network.config.gin_channels, 1, generator=generator)
    tokens = torch.arange(0 if pipeline.version == "nano" else 20)
    phones = torch.arange(5, 5 + len(tokens) // 2)
    mel = None
    if pipeline.version == "v3":
        bands = network.cfm.bands
        width = network.condition(tokens[None, None], phones[None], style).shape[1]
        mel = MelPrompt(torch.randn(1, width, 30, generator=generator), torch.randn(1, bands, 30, generator=generator))
    return EncodedPrompt(tokens, phones, style, None, mel)


def moved(prompt: EncodedPrompt) -> EncodedPrompt:
    mel = prompt.mel and MelPrompt(move(prompt.mel.condition), move(prompt.mel.mel))
    return replace(prompt, tokens=move(prompt.tokens), phones=move(prompt.phones), style=move(prompt.style), mel=mel)


def speak(pipeline: Pipeline, prompt: EncodedPrompt) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the chunks of a stream, and the samples of two utterances of a batch."""
    sampling = SamplingSettings(early_stop_num=24, min_tokens=24)
    requests = [
        SynthesisRequest(text, "en", prompt, seed, speed, sampling=sampling, steps=2)
        for seed, (text, speed) in enumerate((("Hello to you.", 1.0), ("Good evening, friends.", 1.2)))
    ]
    stream = [speech.samples for request in requests for speech in pipeline.stream(request, chunks=ChunkSettings())]
    return stream, [speech.samples for speech in pipeline.speak_batch(requests)]


def test_the_pretended_device_notices_what_a_real_one_would_not_allow():
    with pretended_cuda():
        there, here = move(torch.arange(4)), torch.arange(4)
        assert int(there.sum()) == 6
        assert (there.to("cpu") + here).tolist() == [0, 2, 4, 6]
        assert not mixed
        assert sum(waits.values()) == 2
        assert (there + here).device.type == "cuda"
        assert sum(mixed.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_no_version_mixes_devices_and_a_seed_sounds_as_on_a_cpu(version, tmp_path, monkeypatch):
    pipeline = load(version, tmp_path, monkeypatch)
    prompt = prompt_of(pipeline)
    expected = speak(pipeline, prompt)

    with pretended_cuda():
        spoken = speak(on_device(pipeline), moved(prompt))

    assert not mixed, mixed
    if version == "nano":  # its pointers magnify the last digit
        return
    for there, here in zip(spoken, expected, strict=True):
        assert [len(samples) for samples in there] == [len(samples) for samples in here]
        for samples, same in zip(there, here, strict=True):
            np.testing.assert_allclose(samples, same, atol=2e-3)


@pytest.mark.parametrize("version", ["nano", "v2"])
def test_chunks_that_share_a_generator_s_run_do_not_mix_devices(version, tmp_path, monkeypatch):
    decoder: Any = load(version, tmp_path, monkeypatch).decoder
    config, random = decoder.sovits.config, torch.Generator().manual_seed(3)
    rows = [
        GeneratorRow(
            decoder.sovits.dec,
            torch.randn(1, config.inter_channels, frames, generator=random),
            torch.randn(1, config.gin_channels, 1, generator=random),
        )
        for frames in (20, 31, 20)
    ]
    alone = [generate([row])[0].numpy() for row in rows]

    with pretended_cuda():
        move(decoder.sovits)
        waves = generate([row._replace(latent=move(row.latent), style=move(row.style)) for row in rows])
        together = [wave.cpu().numpy() for wave in waves]

    assert not mixed, mixed
    for samples, same in zip(together, alone, strict=True):
        np.testing.assert_allclose(samples, same, atol=2e-3)


def gpt_of(recipe: str) -> Text2Semantic:
    """Return a GPT of random weights with few layers, as many as its pointers need."""
    torch.manual_seed(1)
    config = load_config(recipe)
    layers = 1 + max([1, *(layer for layer, _ in config["model"].get("pointers", []))])
    return Text2Semantic.from_config(merge_config(config, {"model": {"n_layer": layers}})).eval()


def tiny_gpt() -> Text2Semantic:
    torch.manual_seed(1)
    sizes = {"embedding_dim": 16, "hidden_dim": 16, "head": 2, "n_layer": 1, "vocab_size": 33, "EOS": 32}
    return Text2Semantic.from_config(merge_config(load_config("v2_gpt"), {"model": sizes})).eval()


def add_rows(batch: ContinuousBatch) -> None:
    """Add two rows of at least 400 tokens, one of them with every sampling rule."""
    settings = [
        SamplingSettings(early_stop_num=500, min_tokens=400),
        SamplingSettings(early_stop_num=500, min_tokens=400, top_p=0.9, temperature=0.7, repetition_penalty=1.0),
    ]
    for seed, sampling in enumerate(settings):
        batch.add_request(GenerationInput(move(torch.arange(90) % 60)), sampling, SeededNoise(seed))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["nano_gpt", "v2_gpt"])
def test_decoding_waits_for_the_device_at_most_once_in_eight_steps(recipe):
    model = gpt_of(recipe)
    with pretended_cuda(), torch.inference_mode():
        move(model)
        batch = ContinuousBatch(model)
        add_rows(batch)
        batch.step()
        waits.clear()
        for _ in range(STEPS):
            batch.step()

    assert 0 < sum(waits.values()) <= STEPS // READ_INTERVAL, waits
    assert not mixed, mixed


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["nano_gpt", "v2_gpt"])
def test_graphs_wait_for_the_device_at_most_once_in_eight_tokens(recipe):
    model = gpt_of(recipe)
    with pretended_cuda(), torch.inference_mode():
        move(model)
        decoder = graph_decoder(model)
        assert decoder is not None
        batch = ContinuousBatch(model, graphs=decoder)
        add_rows(batch)
        batch.step()
        (tokens, _) = batch.known_tokens().values()
        first = len(tokens)
        waits.clear()
        while len(tokens) < first + 4 * REPLAY_STEPS:
            batch.step()
        release_graph_decoders()
        assert graph_decoder(model) is decoder, "it has rows"
        del batch
        release_graph_decoders()
        assert graph_decoder(model) is not decoder
        release_graph_decoders()

    assert 0 < sum(waits.values()) <= 4, waits
    assert not mixed, mixed


@pytest.mark.parametrize("version", ["v2", "v2Pro"])
def test_chunks_of_graphs_mix_no_devices_and_wait_for_little_else_than_the_path_and_the_joint(
    version, tmp_path, monkeypatch
):
    monkeypatch.setattr(chunk_registry, "_networks", GraphRegistry(WORK))
    decoder: Any = load(version, tmp_path, monkeypatch).decoder
    sovits = decoder.sovits
    style = torch.randn(1, sovits.config.gin_channels, 1, generator=torch.Generator().manual_seed(2))
    conditions = AcousticConditions(torch.arange(5, 45), style, SeededNoise(1))
    tokens = [number * 37 % 1000 for number in range(60)]
    alone = StreamingDecoder(sovits, conditions)
    expected = [alone.push(tokens[:20]).numpy(), alone.push(tokens[20:], final=True).numpy()]

    with pretended_cuda(), torch.inference_mode():
        move(sovits)
        decoder.use_graphs()
        stream = StreamingDecoder(sovits, replace(conditions, style=move(style)), graphs=decoder.graphs)
        waves = [stream.push(tokens[:20])]
        waits.clear()
        waves.append(stream.push(tokens[20:], final=True))
        count = waits.total()
        samples = [wave.cpu().numpy() for wave in waves]
        (network,) = chunk_registry._networks.kept.values()
        assert len(network.voices) == 1
        del decoder, stream
        assert voice_graphs(sovits) is not None
        assert not chunk_registry._networks.kept, "no voice uses it any longer"

    assert not mixed, mixed
    assert count <= 8, waits
    for wave, same in zip(samples, expected, strict=True):
        np.testing.assert_allclose(wave, same, atol=2e-3)


def test_nano_is_decoded_without_graphs(tmp_path, monkeypatch):
    decoder: Any = load("nano", tmp_path, monkeypatch).decoder
    with pretended_cuda():
        move(decoder.sovits)
        decoder.use_graphs()

    assert decoder.graphs is None


def test_a_device_without_graphs_generates_without_them_and_says_why_once(monkeypatch, caplog):
    monkeypatch.setattr(registry._decoders, "_failed", {})
    model = tiny_gpt()
    with pretended_cuda(), torch.inference_mode():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # this torch can capture nothing
        move(model)
        assert graph_decoder(model) is None
        assert graph_preparations(model) == []

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("CUDA graphs cannot be used here, so tokens are generated without: ")


def test_graphs_that_lacked_memory_are_tried_again_once_some_was_freed_and_others_are_not(monkeypatch):
    monkeypatch.setattr(registry._decoders, "_failed", {})
    model = tiny_gpt()
    exhausted = torch.OutOfMemoryError("CUDA out of memory.")
    with pretended_cuda(), torch.inference_mode():
        move(model)
        for try_again in (release_graph_decoders, lambda: graph_preparations(model)):
            decoder = graph_decoder(model)
            assert decoder is not None
            decoder.replays.fail(exhausted)
            assert graph_decoder(model) is None
            try_again()
            assert graph_decoder(model) is not None
        decoder = graph_decoder(model)
        assert decoder is not None
        decoder.replays.fail(RuntimeError("operation not permitted when stream is capturing"))
        release_graph_decoders()
        assert graph_preparations(model) == []
        assert graph_decoder(model) is None
