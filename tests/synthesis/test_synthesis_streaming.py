"""Speech in chunks: what it says, what it costs, and that it is the speech of one piece."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import numpy as np
import pytest
import torch

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.pipeline import ChunkSettings, EncodedPrompt, Pipeline, SamplingSettings, Speech, SynthesisRequest
from GPT_SoVITS.sovits.layers import NormedConv1d, NormedConvTranspose1d
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.streaming_decoder import StreamingDecoder
from GPT_SoVITS.synthesis.token_chunking import NANO_CHUNKS, TokenChunker
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

SENTENCE = "A sentence that is long enough to be spoken in several chunks, one after the other."
LOUD, QUIET = 0, 1
SIMILARITY = [-0.5, 0.5]
SMALL = {
    "codebook_bins": 512,
    "inter_channels": 32,
    "hidden_channels": 32,
    "filter_channels": 64,
    "n_layers": 2,
    "gin_channels": 128,
    "mrte_hidden": 128,
    "flow_layers": 2,
    "listener_width": 0,
    "frames": None,
    "upsample_initial_channel": 32,
    "upsample_rates": [8, 5, 4, 2],
    "upsample_kernel_sizes": [16, 11, 8, 4],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
}


def cut(tokens: list[int], settings: ChunkSettings, similarity: list[float] | None = SIMILARITY) -> list[list[int]]:
    chunker = TokenChunker(settings, similarity)
    return [chunk for chunk in (*map(chunker.add, tokens), chunker.flush()) if chunk]


def test_every_token_is_in_one_chunk_and_none_is_too_long():
    tokens = torch.randint(2, (500,), generator=torch.Generator().manual_seed(1)).tolist()
    similarity = torch.randn(2, generator=torch.Generator().manual_seed(2)).tolist()

    for most in (16, 17, 30):
        chunks = cut(tokens, ChunkSettings(first=8, least=16, most=most), similarity)

        assert [token for chunk in chunks for token in chunk] == tokens
        assert max(map(len, chunks)) <= most
        assert all(len(chunk) >= 16 for chunk in chunks[1:-1])
        assert len(chunks[0]) >= 8


def test_a_chunk_ends_behind_the_first_quiet_token_that_is_far_enough():
    tokens = [LOUD] * 20 + [QUIET, QUIET] + [LOUD] * 30

    chunks = cut(tokens, ChunkSettings(first=16, least=16, most=40))

    assert [len(chunk) for chunk in chunks] == [21, 31]


def test_quiet_tokens_that_come_too_early_block_no_later_cut():
    tokens = [QUIET] * 5 + [LOUD] * 15 + [QUIET] * 3 + [LOUD] * 10

    chunks = cut(tokens, ChunkSettings(first=16, least=16, most=40))

    assert [len(chunk) for chunk in chunks] == [21, 12]


def test_where_nothing_is_quiet_the_bound_cuts():
    chunks = cut([LOUD] * 70, ChunkSettings(first=16, least=16, most=24))

    assert all(16 <= len(chunk) <= 24 for chunk in chunks[:-1])


def test_the_first_chunk_is_bounded_apart_so_that_audio_begins_early():
    chunks = cut([LOUD] * 150, ChunkSettings(first=10, least=16, growth=1, first_most=20, most=60))

    assert len(chunks[0]) <= 20
    assert max(map(len, chunks)) > 40


def test_without_a_silent_token_length_alone_cuts():
    chunks = cut([LOUD] * 50, ChunkSettings(first=10, least=16, growth=1, most=40), None)

    assert [len(chunk) for chunk in chunks] == [10, 16, 16, 8]


def test_chunks_grow_up_to_the_bound_as_the_listener_has_more_to_hear():
    settings = ChunkSettings(first=10, least=16, growth=1.5, most=40)

    assert [len(chunk) for chunk in cut([LOUD] * 180, settings, None)] == [10, 16, 24, 36, 40, 40, 14]


def test_chunks_that_grow_keep_some_tokens_to_find_a_pause_in():
    tokens = ([LOUD] * 31 + [QUIET] * 2) * 7

    chunks = cut(tokens, ChunkSettings(first=10, least=16, growth=1.5, most=40))

    assert [len(chunk) for chunk in chunks] == [32, *[33] * 6, 1]


def second_stage() -> SoVITS:
    """v2's at nano's rate, with few channels, and with couplings that do something."""
    torch.manual_seed(1)
    model = SoVITS.from_config(merge_config(load_config("nano"), {"model": SMALL}), posterior=False).eval()
    for coupling in cast(torch.nn.ModuleList, model.flow.flows)[::2]:
        torch.nn.init.normal_(coupling.get_parameter("post.weight"), std=0.05)
    with torch.no_grad():
        model.enc_p.get_parameter("proj.bias")[SMALL["inter_channels"] :] -= 1
    for layer in [*model.dec.get_submodule("ups").modules(), *model.dec.get_submodule("resblocks").modules()]:
        if isinstance(layer, NormedConv1d | NormedConvTranspose1d):
            layer.reset(0.05)
    return model.requires_grad_(False).fold_weight_norm()


@pytest.fixture(scope="module")
def sovits() -> SoVITS:
    return second_stage()


@pytest.fixture
def near_sighted() -> SoVITS:
    """Return the same without the encoder's attention to distant frames, the one thing that chunks cannot have."""
    model = second_stage()
    for stack in (model.enc_p.encoder_ssl, model.enc_p.encoder2):
        for attention in stack.attn_layers:
            attention.get_parameter("conv_o.weight").zero_()
            attention.get_parameter("conv_o.bias").zero_()
    return model


@dataclass(frozen=True)
class Sentence:
    """Random tokens, and conditions of one seed."""

    tokens: torch.Tensor
    phones: torch.Tensor
    style: torch.Tensor
    speed: float

    @property
    def conditions(self) -> AcousticConditions:
        return AcousticConditions(self.phones, self.style, SeededNoise(6), self.speed)


def sentence(tokens: int, speed: float = 1.0) -> Sentence:
    generator = torch.Generator().manual_seed(5)
    return Sentence(
        tokens=torch.randint(512, (tokens,), generator=generator),
        phones=torch.randint(700, (30,), generator=generator),
        style=torch.randn(1, 128, 1, generator=generator) / 2,
        speed=speed,
    )


def decode(model: SoVITS, whole: Sentence) -> torch.Tensor:
    return WaveformDecoder(model, 16_000).decode([whole.tokens], [whole.conditions])[0]


def in_chunks(model: SoVITS, whole: Sentence, size: int, settings: ChunkSettings | None = None) -> list[torch.Tensor]:
    decoder = StreamingDecoder(model, whole.conditions, settings)
    chunks = whole.tokens.split(size)
    return [decoder.push(chunk.tolist(), final=chunk is chunks[-1]) for chunk in chunks]


def test_speech_in_chunks_is_the_speech_of_one_piece_outside_the_joints(near_sighted: SoVITS):
    whole = decode(near_sighted, sentence(160))
    chunks = in_chunks(near_sighted, sentence(160), size=40)

    wave = torch.cat(chunks)
    reach, hop = near_sighted.flow.reach + near_sighted.dec.reach, near_sighted.dec.hop
    outside = torch.ones(len(wave), dtype=torch.bool)
    for joint in torch.tensor([len(chunk) for chunk in chunks[:-1]]).cumsum(0).tolist():
        outside[joint - reach * hop : joint + reach * hop] = False

    assert len(wave) == len(whole)
    assert outside.sum() > len(whole) / 4
    torch.testing.assert_close(wave[outside], whole[outside], atol=1e-5, rtol=0)
    torch.testing.assert_close(wave, whole, atol=0.2 * float(whole.abs().max()), rtol=0)


def test_a_chunk_that_is_the_whole_sentence_is_its_speech(sovits: SoVITS):
    whole = decode(sovits, sentence(30))

    chunks = in_chunks(sovits, sentence(30), size=30)

    torch.testing.assert_close(chunks, [whole], atol=1e-5, rtol=0)


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.3])
def test_speech_in_chunks_takes_the_time_of_speech_in_one_piece(sovits: SoVITS, speed: float):
    whole = decode(sovits, sentence(101, speed))

    wave = torch.cat(in_chunks(sovits, sentence(101, speed), size=17))

    assert len(wave) == len(whole)
    assert float(torch.corrcoef(torch.stack([wave, whole]))[0, 1]) > 0.9


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_an_empty_end_returns_what_was_held_back(sovits: SoVITS, speed: float):
    whole = sentence(40, speed)
    decoder = StreamingDecoder(sovits, whole.conditions)
    first = decoder.push(whole.tokens.tolist())

    end = decoder.push([], final=True)

    wave = decode(sovits, whole)
    assert len(first) + len(end) == len(wave)
    assert 3 * sovits.dec.hop <= len(end) <= 5 * sovits.dec.hop
    torch.testing.assert_close(torch.cat([first, end]), wave, atol=1e-5 if speed == 1 else 0.1, rtol=0)


def test_fewer_tokens_than_one_frame_of_fast_speech_wait_for_the_next(sovits: SoVITS):
    whole = sentence(9, speed=3.0)
    decoder = StreamingDecoder(sovits, whole.conditions)
    tokens = whole.tokens.tolist()

    pieces = [decoder.push([token], final=number == 8) for number, token in enumerate(tokens)]

    assert sum(map(len, pieces)) == len(decode(sovits, sentence(9, speed=3.0)))


def test_a_sentence_without_tokens_has_no_sound(sovits: SoVITS):
    decoder = StreamingDecoder(sovits, sentence(1, speed=1.3).conditions)

    assert len(decoder.push([], final=True)) == 0


def test_the_cost_of_a_sentence_grows_with_its_length_and_not_with_its_square(sovits: SoVITS):
    frames: list[int] = []
    modules = (sovits.enc_p.encoder2, sovits.flow, sovits.dec)
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: frames.append(inputs[0].shape[2])) for module in modules
    ]
    costs = []
    for tokens in (112, 224, 448):
        frames.clear()
        in_chunks(sovits, sentence(tokens), size=16)
        costs.append(sum(frames))
    for hook in hooks:
        hook.remove()

    assert costs[2] - costs[1] == pytest.approx(2 * (costs[1] - costs[0]), rel=0.05)


def utterance(prompt: EncodedPrompt, seed: int) -> SynthesisRequest:
    return SynthesisRequest(SENTENCE, "en", prompt, seed, sampling=SamplingSettings(early_stop_num=90, min_tokens=90))


def test_a_stream_makes_the_tokens_that_speaking_makes(tiny: Pipeline, tiny_prompt: EncodedPrompt):
    whole = tiny.speak_batch([utterance(tiny_prompt, seed=3)])[0]

    chunks = list(tiny.stream(utterance(tiny_prompt, seed=3)))

    assert len(chunks) > 2
    assert sum(chunk.tokens for chunk in chunks) == whole.tokens
    assert sum(len(chunk.samples) for chunk in chunks) == len(whole.samples)
    assert max(chunk.tokens for chunk in chunks) <= ChunkSettings().most


def test_nano_streams_by_length_as_no_token_of_its_is_known_to_be_silence(pipeline: Pipeline, prompt: EncodedPrompt):
    chunks = list(pipeline.stream(utterance(prompt, seed=3)))

    assert [chunk.tokens for chunk in chunks] == [NANO_CHUNKS.first, NANO_CHUNKS.least, 41]


def test_a_stream_of_nano_encodes_a_third_and_generates_a_fifth_more_frames_than_speaking(
    pipeline: Pipeline, prompt: EncodedPrompt
):
    decoder = pipeline.decoder
    assert isinstance(decoder, WaveformDecoder)
    frames: dict[str, int] = {}

    def count(name: str, shape: torch.Size) -> None:
        frames[name] = frames.get(name, 0) + shape[2]

    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: count(name, inputs[0].shape))
        for name, module in (("encoder", decoder.sovits.enc_p.encoder2), ("generator", decoder.sovits.dec))
    ]
    whole = pipeline.speak_batch([utterance(prompt, seed=3)])[0]
    spoken = dict(frames)
    frames.clear()
    streamed = list(pipeline.stream(utterance(prompt, seed=3)))
    for hook in hooks:
        hook.remove()

    assert spoken == {"encoder": 2 * whole.tokens, "generator": 2 * whole.tokens}
    assert len(streamed) > 2
    assert frames["encoder"] < 1.36 * spoken["encoder"]
    assert frames["generator"] < 1.2 * spoken["generator"]


def mel(wave: np.ndarray) -> torch.Tensor:
    """Return the loudness of sixteen bands, smoothed, (16, frames): what an ear hears of a wave, without its phase."""
    spectrum = torch.stft(torch.from_numpy(wave), 1024, 128, window=torch.hann_window(1024), return_complex=True)
    power = spectrum.abs().square()[:512].unflatten(0, (16, 32)).mean(1)
    return (torch.nn.functional.avg_pool1d(power[None], 9, 1, 4)[0] + 1e-3).log()


def test_the_joints_of_nano_sound_like_what_lies_between_them():
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    request = SynthesisRequest(SENTENCE, "en", neutral_prompt(pipeline), 3)
    whole = pipeline.speak_batch([request])[0].samples
    chunks = [speech.samples for speech in pipeline.stream(request)]

    difference = (mel(np.concatenate(chunks)) - mel(whole)).abs().mean(0)
    joints = np.cumsum([len(chunk) for chunk in chunks])[:-1] // 128

    assert len(joints) >= 2
    for joint in joints:
        assert difference[joint - 15 : joint + 15].mean() < 2 * difference.mean()


def test_two_streams_that_take_turns_on_one_thread_do_not_mix(tiny: Pipeline, tiny_prompt: EncodedPrompt):
    alone = [list(tiny.stream(utterance(tiny_prompt, seed))) for seed in (3, 4)]

    together: list[list[Speech]] = [[], []]
    for pair in zip_longest(*(tiny.stream(utterance(tiny_prompt, seed)) for seed in (3, 4))):
        assert not torch.is_inference_mode_enabled()
        for chunks, chunk in zip(together, pair, strict=True):
            chunks += [chunk] if chunk is not None else []

    for mine, theirs in zip(together, alone, strict=True):
        assert [chunk.tokens for chunk in mine] == [chunk.tokens for chunk in theirs]
        for first, second in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(first.samples, second.samples, atol=1e-6)


def test_a_stream_may_be_left_before_its_end(tiny: Pipeline, tiny_prompt: EncodedPrompt):
    stream = cast(Generator[Speech], tiny.stream(utterance(tiny_prompt, seed=3)))
    next(stream)

    stream.close()

    assert next(stream, None) is None
    assert not torch.is_inference_mode_enabled()
