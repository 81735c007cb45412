"""Every version from its files to sound, in miniature; what is missing or does not belong together is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_super_resolution import write_small_super_resolution

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.official_files import write_official
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.pipeline import Pipeline, SamplingSettings, SynthesisRequest
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.synthesis.model_loading import check_sizes
from GPT_SoVITS.synthesis.prompt import ReferenceRecording, limit_peak
from GPT_SoVITS.synthesis.utterance_ends import one_line, with_sentence_end

LORA = Path(__file__).parent.parent / "parity" / "fixtures" / "v3v4" / "lora"
SHORT = SamplingSettings(early_stop_num=20, min_tokens=20)


class StandIns(HelperNetworks):
    """Helper networks that answer with noise of the right shape."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sample_counts: list[int] = []

    def content_features(self, samples: np.ndarray) -> torch.Tensor:
        self.sample_counts.append(len(samples))
        return torch.randn(1, 16, (len(samples) - 80) // 320, generator=torch.Generator().manual_seed(1))

    def speaker_vector(self, samples: np.ndarray) -> torch.Tensor:
        return torch.full((1, 12), float(np.abs(samples).mean()))

    def text_features(self, pieces: Sequence) -> torch.Tensor | None:
        count = sum(len(piece.phonemes) for piece in pieces)
        return torch.ones(1024, count) if any(piece.language == "zh" for piece in pieces) else None


class Hum:
    """A vocoder that only knows how loud each frame is."""

    sample_rate, hop, context = 24_000, 256, 0

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        return mel.mean(dim=1, keepdim=True).tanh().repeat_interleave(self.hop, dim=2)


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "v2ProPlus"])
def test_a_version_speaks_alike_from_our_files_and_from_official_ones(
    tiny_voice: Callable, recording: Path, tmp_path: Path, version: str
) -> None:
    ours = tiny_voice(version)
    official = tmp_path / "gpt.ckpt", tmp_path / "sovits.pth"
    for path, copy in zip(ours, official, strict=True):
        write_official(copy, open_checkpoint(path))
    helpers = StandIns()
    speeches = []
    for files in (ours, official):
        pipeline = Pipeline.load(*files, helpers=helpers)
        prompt = pipeline.prepare_prompt(recording, "Good morning", "en")
        speeches.append(pipeline.speak_batch([SynthesisRequest("Hello.", "en", prompt, 3, sampling=SHORT)])[0])

    assert pipeline.version == version
    assert speeches[0].sample_rate == 32_000
    assert len(speeches[0].samples) == 1280 * speeches[0].tokens
    np.testing.assert_allclose(speeches[0].samples, speeches[1].samples, atol=1e-5)
    assert helpers.sample_counts == 2 * [56_000 + 9_600]


def test_several_recordings_give_the_mean_of_their_styles(tiny_voice: Callable, recording: Path, tmp_path: Path):
    other = tmp_path / "other.wav"
    write_wav(other, 0.1 * np.sin(np.arange(200_000) ** 1.1 / 9).astype(np.float32), 44_100)
    pipeline = Pipeline.load(*tiny_voice("v2Pro"), helpers=StandIns())

    styles = [pipeline.prepare_prompt(path, "", "en").style for path in (recording, other)]
    both = pipeline.prepare_prompt(recording, "", "en", others=[other]).style

    torch.testing.assert_close(both, (styles[0] + styles[1]) / 2)


@pytest.mark.parametrize("version", ["v2", "v2Pro"])
def test_the_timbre_is_of_one_recording_and_the_manner_of_another(
    tiny_voice: Callable, recording: Path, tmp_path: Path, version: str
) -> None:
    other = tmp_path / "other.wav"
    write_wav(other, 0.1 * np.sin(np.arange(200_000) ** 1.1 / 9).astype(np.float32), 44_100)
    pipeline = Pipeline.load(*tiny_voice(version), helpers=StandIns())

    prompt, timbre = (pipeline.prepare_prompt(path, "Good morning.", "en") for path in (recording, other))
    both = pipeline.prepare_prompt(recording, "Good morning.", "en", timbre=other)

    torch.testing.assert_close(both.style, timbre.style)
    assert not torch.equal(both.style, prompt.style)
    assert torch.equal(both.tokens, prompt.tokens)
    assert torch.equal(both.phones, prompt.phones)


def test_mandarin_text_features_reach_the_first_stage(tiny_voice: Callable, recording: Path) -> None:
    pipeline = Pipeline.load(*tiny_voice("v2"), helpers=StandIns())
    prompt = pipeline.prepare_prompt(recording, "Good morning.", "en")

    row = pipeline.conditioner.condition(SynthesisRequest("今天天气很好。", "zh", prompt, 3)).gpt_input

    english = len(prompt.phones)
    assert row.bert is not None
    assert row.bert.shape == (1024, len(row.phonemes))
    assert not row.bert[:, :english].any()
    assert row.bert[:, english:].all()


@pytest.mark.parametrize(
    ("text", "language", "part"), [("你好，世界。", "zh", "roberta"), ("Good morning.", "en", "hubert")]
)
def test_a_part_that_is_not_installed_is_named(
    tiny_voice: Callable, recording: Path, tmp_path: Path, text: str, language: str, part: str
) -> None:
    pipeline = Pipeline.load(*tiny_voice("v2"), models=tmp_path)

    with pytest.raises(ModelError, match=part) as caught:
        pipeline.prepare_prompt(recording, text, language, tokens=[1, 2] if part == "roberta" else None)

    assert caught.value.code == "missing_part"
    assert "main.py download" in caught.value.hint


def test_official_versions_want_a_prompt_of_three_to_ten_seconds(tiny_voice: Callable, tmp_path: Path) -> None:
    pipeline = Pipeline.load(*tiny_voice("v2"), helpers=StandIns())
    write_wav(tmp_path / "long.wav", np.zeros(11 * 16_000, np.float32), 16_000)

    with pytest.raises(ModelError, match=r"lasts 11\.0 s") as caught:
        pipeline.prepare_prompt(tmp_path / "long.wav", "", "en")

    assert caught.value.hint == "3 to 10 s work; v2 was trained on prompts of that length."


def test_a_gpt_of_another_codebook_is_refused(tiny_voice: Callable, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="speaks 32 semantic tokens, the SoVITS checkpoint knows 1024"):
        Pipeline.load(small_gpt(tmp_path), tiny_voice("v2")[1])


@pytest.mark.parametrize(("which", "name"), [(0, "n_layer"), (0, "hidden_dim"), (1, "flow_layers")])
def test_settings_that_ask_for_more_than_the_tensors_hold_are_refused_before_anything_is_built(
    tiny_voice: Callable, tmp_path: Path, which: int, name: str
) -> None:
    files = list(tiny_voice("v2"))
    honest = open_checkpoint(files[which])
    files[which] = tmp_path / "greedy.safetensors"
    save_checkpoint(
        files[which],
        Checkpoint(
            kind=honest.kind,
            version=honest.version,
            config=merge_config(honest.config, {"model": {name: 10**7}}),
            state=honest.state,
            info={},
        ),
    )

    with pytest.raises(ModelError, match=f"{name} is 10000000") as refused:
        Pipeline.load(*files)

    assert refused.value.code == "bad_checkpoint"


@pytest.mark.parametrize("model", [{"dit": {"depth": 10**7}}, {"upsample_rates": [10, 10**7]}])
def test_settings_within_settings_are_held_to_the_tensors_too(model: dict) -> None:
    with pytest.raises(ModelError, match="is 10000000"):
        check_sizes(Checkpoint("sovits", "v3", {"model": model}, {"weight": torch.zeros(3)}))


def test_half_precision_on_a_cpu_is_refused(voice: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="A CPU has no fast float16"):
        Pipeline.load(*voice, precision="fp16")


@pytest.fixture
def lora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Pipeline]:
    """v3 in miniature: a LoRA and its base."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "s2Gv3.pth").write_bytes((LORA / "tiny_base.pth").read_bytes())
    monkeypatch.setattr("GPT_SoVITS.pipeline.load_vocoder", lambda version, where, device: Hum())
    gpt = small_gpt(tmp_path)
    return lambda: Pipeline.load(gpt, LORA / "tiny_v3_lora.pth", models=models, helpers=StandIns())


def small_gpt(folder: Path) -> Path:
    """With the codebook of the tiny v3 network."""
    torch.manual_seed(1)
    sizes = {"embedding_dim": 16, "hidden_dim": 16, "head": 2, "n_layer": 1, "vocab_size": 33, "EOS": 32}
    config = merge_config(load_config("v2_gpt"), {"model": sizes})
    path = folder / "gpt.safetensors"
    save_checkpoint(
        path,
        Checkpoint(
            kind="gpt", version="v2", config=config, state=Text2Semantic.from_config(config).state_dict(), info={}
        ),
    )
    return path


def test_a_lora_of_v3_speaks_with_its_base_and_streams_what_it_speaks(lora: Callable, recording: Path) -> None:
    pipeline = lora()
    prompt = pipeline.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(30)))
    utterances = [
        SynthesisRequest(text, "en", prompt, seed=3, sampling=SHORT, steps=2)
        for text in ("Hello.", "Hello, my friend.")
    ]

    together = pipeline.speak_batch(utterances)

    assert pipeline.sample_rate == 24_000
    for utterance, among_others in zip(utterances, together, strict=True):
        alone = pipeline.speak_batch([utterance])[0]
        chunks = list(pipeline.stream(utterance))
        assert len(alone.samples) == int(2 * alone.tokens * 1.875) * 256
        assert sum(chunk.tokens for chunk in chunks) == alone.tokens
        np.testing.assert_allclose(among_others.samples, alone.samples, atol=1e-4)
        np.testing.assert_allclose(np.concatenate([chunk.samples for chunk in chunks]), alone.samples, atol=1e-4)


def test_v3_is_extended_to_48_khz_on_request_where_the_network_is_installed(
    lora: Callable, recording: Path, tmp_path: Path
) -> None:
    pipeline = lora()
    prompt = pipeline.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(30)))
    plain = SynthesisRequest("Hello.", "en", prompt, seed=3, sampling=SHORT, steps=2)
    fine = replace(plain, super_sampling=True)
    pipeline.helpers = HelperNetworks(tmp_path)

    assert pipeline.output_rate(fine) == 24_000
    (not_installed,) = pipeline.speak_batch([fine])
    write_small_super_resolution(tmp_path / "tools" / "AP_BWE_main" / "24kto48k")
    pipeline.helpers = HelperNetworks(tmp_path)
    assert [pipeline.output_rate(request) for request in (fine, plain)] == [48_000, 24_000]
    extended, untouched = pipeline.speak_batch([fine, plain])
    (streamed,) = pipeline.stream(fine)

    assert not_installed.sample_rate == untouched.sample_rate == 24_000
    assert extended.sample_rate == 48_000
    assert len(extended.samples) == 2 * len(untouched.samples)
    np.testing.assert_array_equal(streamed.samples, extended.samples)


def test_v3_wants_one_recording_with_its_transcript(lora: Callable, recording: Path) -> None:
    pipeline = lora()

    with pytest.raises(ModelError, match="needs the transcript"):
        pipeline.prepare_prompt(recording, "", "en", tokens=[1])
    with pytest.raises(ModelError, match="1 more were given"):
        pipeline.prepare_prompt(recording, "Good morning.", "en", others=[recording], tokens=[1])


def test_a_lora_without_its_base_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sovits") as caught:
        Pipeline.load(small_gpt(tmp_path), LORA / "tiny_v3_lora.pth", models=tmp_path)

    assert caught.value.code == "missing_part"


def test_a_text_ends_with_a_mark_before_it_is_read() -> None:
    assert with_sentence_end(one_line("Hello\nthere "), "en") == "Hello there."
    assert with_sentence_end("你好", "zh") == "你好。"
    assert with_sentence_end("Really?", "en") == "Really?"


def test_a_recording_that_is_too_loud_is_scaled_to_full_scale() -> None:
    loud = torch.tensor([[0.5, -3.0]])

    assert limit_peak(loud).abs().max() == 1.0
    assert torch.equal(limit_peak(loud / 4), loud / 4)


def test_rates_without_a_common_divisor_are_resampled_too() -> None:
    recording = ReferenceRecording(np.sin(np.arange(44_101) / 30).astype(np.float32), 44_101)

    assert recording.resampled(32_000).shape == (1, 32_000)
