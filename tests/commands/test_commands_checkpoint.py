"""`main.py checkpoint` and `main.py download`, as people type them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_voices import write_tiny_voice
from toy_hub import running

import core.settings
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, open_checkpoint
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.flow_matching.lora import merge
from main import main

MAIN = Path(__file__).resolve().parents[2] / "main.py"
LAYER = "estimator.transformer_blocks.0.attn.to_q"


@pytest.fixture
def run(capsys):
    """Run a command; return (exit code, what went to stdout, what went to stderr)."""

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        answer = capsys.readouterr()
        return code, answer.out, answer.err

    return command


@pytest.fixture
def lora(tmp_path):
    state = {
        "ref_enc.fc.fc.weight": torch.full((2, 2), 5.0),
        f"cfm.base_model.model.{LAYER}.lora_A.default.weight": torch.ones(4, 2),
        f"cfm.base_model.model.{LAYER}.lora_B.default.weight": torch.ones(2, 4),
    }
    path = tmp_path / "lora.pth"
    write_official(path, Checkpoint("sovits", "v4", {"model": {"n_heads": 2}}, state, {"epoch": 3, "step": 42}))
    return path


@pytest.fixture
def base(tmp_path):
    """Return a whole model; its config says which version it is."""

    def write(version):
        weights = {f"cfm.{LAYER}.weight": torch.zeros(2, 2), "ref_enc.fc.fc.weight": torch.zeros(2, 2)}
        path = tmp_path / "base.pth"
        torch.save({"weight": weights, "config": {"model": {"version": version}}, "info": ""}, path)
        return path

    return write


def test_inspect_says_what_a_file_is(run, lora):
    code, out, _ = run("checkpoint", "inspect", lora)

    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(("lora", "config")))
    assert (lines["kind"], lines["version"], lines["epoch"], lines["step"]) == ("sovits", "v4", "3", "42")
    assert "lora rank     4" in out
    assert 'config.model: {"n_heads": 2, "version": "v4"}' in out


def test_inspect_speaks_json(run, lora):
    code, out, _ = run("checkpoint", "inspect", lora, "--json")

    facts = json.loads(out)
    assert code == 0
    assert facts["sha256"] == hashlib.sha256(lora.read_bytes()).hexdigest()
    assert facts["bytes"] == lora.stat().st_size
    assert facts["dtypes"] == {"float16": 3}
    assert (facts["format"], facts["tensors"], facts["parameters"], facts["lora_rank"]) == ("official", 3, 20, 4)


def test_a_voice_goes_there_and_back(run, tmp_path):
    _, sovits = write_tiny_voice(tmp_path, "v2Pro")

    assert run("checkpoint", "convert", sovits, tmp_path / "voice.pth")[0] == 0
    assert run("checkpoint", "convert", tmp_path / "voice.pth", tmp_path / "back.safetensors")[0] == 0

    before, after = load_checkpoint(sovits), load_checkpoint(tmp_path / "back.safetensors")
    assert (tmp_path / "voice.pth").read_bytes()[:2] == b"05"
    assert (after.kind, after.version) == ("sovits", "v2Pro")
    assert after.state.keys() == before.state.keys()
    assert all(torch.equal(after.state[name], tensor) for name, tensor in before.state.items())


def test_converting_keeps_dtypes_and_what_serves_training(run, tmp_path):
    weights = {"enc_p.text_embedding.weight": torch.full((732, 1), 0.1), "enc_q.pre.weight": torch.ones(1).bfloat16()}
    torch.save({"weight": weights, "config": {"model": {}}, "info": ""}, tmp_path / "base.pth")

    assert run("checkpoint", "convert", tmp_path / "base.pth", tmp_path / "ours.safetensors")[0] == 0

    state = open_checkpoint(tmp_path / "ours.safetensors").state
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        "enc_p.text_embedding.weight": torch.float32,
        "enc_q.pre.weight": torch.bfloat16,
    }


def test_a_lora_is_merged_into_its_base(run, lora, base, tmp_path):
    whole = base("v4")

    code, out, _ = run("checkpoint", "convert", lora, tmp_path / "voice.safetensors", "--base", whole)

    assert code == 0
    assert "holds the v4 sovits weights of lora.pth" in out
    merged = load_checkpoint(tmp_path / "voice.safetensors")
    expected = merge(read_official(whole).state, read_official(lora).state)
    assert merged.info["merged_lora_rank"] == 4
    assert merged.state.keys() == expected.keys()
    assert all(torch.equal(merged.state[name], tensor.half()) for name, tensor in expected.items())
    assert merged.state[f"cfm.{LAYER}.weight"].unique().tolist() == [4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{lora}", "{out}", "--base", "{base}"), "base.pth is a v3 model, and the LoRA needs a v4 base."),
        (("{base}", "{out}", "--base", "{base}"), "Only a LoRA is merged into a base"),
        (("{lora}", "{out}", "--base", "{lora}"), "lora.pth is a LoRA itself"),
        (
            ("{lora}", "{out}", "--version", "v2"),
            "lora.pth holds the sovits weights of v3 or v4, and v2 was asked for.",
        ),
        (("{lora}", "{lora}"), "is there already; --overwrite replaces it."),
        (("{lora}", "{base}/x.pth", "--overwrite"), "base.pth"),
        (("{none}", "{out}"), "There is no checkpoint at"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_exit_code_1(arguments, message, run, lora, base, tmp_path):
    names = {"lora": lora, "base": base("v3"), "out": tmp_path / "out.safetensors", "none": tmp_path / "none.pth"}

    code, out, err = run("checkpoint", "convert", *(argument.format(**names) for argument in arguments))

    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not names["out"].exists()


def test_a_base_that_is_said_to_be_the_right_one_is_taken(run, lora, base, tmp_path):
    out = tmp_path / "out.safetensors"

    assert run("checkpoint", "convert", lora, out, "--base", base("v3"), "--version", "v4")[0] == 0
    assert load_checkpoint(out).version == "v4"


def test_a_cut_file_is_one_sentence(run, lora):
    lora.write_bytes(lora.read_bytes()[:1000])

    code, out, err = run("checkpoint", "inspect", lora)

    assert (code, out) == (1, "")
    assert err == "lora.pth is cut short or damaged: it has no table of contents at its end.\n"


def test_download_without_a_name_lists_what_there_is(run, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_PATH", str(tmp_path))
    core.settings.settings.cache_clear()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "s2G488k.pth").write_bytes(b"x")

    code, out, _ = run("download")

    core.settings.settings.cache_clear()
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["sovits", "v1", "s2G488k.pth"] in rows
    assert ["sovits", "v2", "-"] in rows
    assert ["hubert", "-"] in rows


def test_a_download_that_is_stopped_says_that_it_can_go_on(run, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("GPT_SoVITS.checkpoints.download.fetch", stop)

    code, out, err = run("download", "v2")

    assert (code, out) == (130, "")
    assert err == "Stopped. The same command goes on from here.\n"


@pytest.mark.slow
def test_download_asks_the_mirror_of_the_setting_and_keeps_only_the_published_content(tmp_path):
    name = "sv/pretrained_eres2netv2w24s4ep4.ckpt"
    with running() as hub:
        hub.files[f"lj1995/GPT-SoVITS/{name}"] = b"weights"
        environment = {**os.environ, "DATA_PATH": str(tmp_path), "HF_ENDPOINT": hub.url, "NO_PROXY": "*"}
        answers = [
            subprocess.run(
                [sys.executable, str(MAIN), "download", what],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            for what in ("speaker_vector", "speaker_vector", "v9", "v1")
        ]

    assert [answer.returncode for answer in answers] == [1, 1, 1, 1]
    assert hub.transfers == [(f"lj1995/GPT-SoVITS/{name}", "")] * 2
    assert f"{name} has the SHA-256" in answers[0].stderr
    assert "and the catalogue says 4f5a0bf7" in answers[0].stderr
    assert not (tmp_path / "models" / name).exists()
    assert "There are no official weights named 'v9'." in answers[2].stderr
    assert "There is no s1bert25hz-2kh-longer" in answers[3].stderr
    assert not any("Traceback" in answer.stderr for answer in answers)
