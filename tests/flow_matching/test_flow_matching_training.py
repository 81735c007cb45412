"""A training of v3 or v4 learns, reports, stops and goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, open_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.build import build_model
from GPT_SoVITS.flow_matching.cfm import RandomDraws
from GPT_SoVITS.flow_matching.optimizer_step import FlowMatchingOptimizerStep
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.sovits.training_set import CODES_FILE
from GPT_SoVITS.train import main


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_training_tells_its_progress_and_leaves_a_voice(plan, run, load, method):
    training, events, finished = run(plan, method=method)

    done = events.of("done")[0]
    voice = load_checkpoint(plan.output / "sovits-e2.safetensors")
    lines = run.metrics(plan.output)
    assert finished
    assert [event["epoch"] for event in events.of("checkpoint")] == [1, 2]
    assert events.of("progress")[-1]["fraction"] == 1.0
    assert voice.version == "v4"
    assert voice.info["step"] == done["metrics"]["steps"] == training.total_steps == len(lines) == 6
    assert all(line.keys() >= {"epoch", "step", "loss", "grad_norm", "learning_rate"} for line in lines)
    assert {"flow", "consistency"} <= set().union(*lines)
    assert lora.is_lora(voice.state) == (method == "lora")
    model = load(plan.output / "sovits-e2.safetensors", plan.base if method == "lora" else None)
    assert model.cfm.sample(torch.zeros(1, 16, 20), torch.zeros(1, 12, 4), steps=1).isfinite().all()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_only_what_should_learn_does(plan, run, model, method):
    training, _, _ = run(plan, method=method)

    base = {name: tensor.half().float() for name, tensor in model.state_dict().items()}
    trained = load_model_state(training, base, method)
    moved = {name for name, tensor in trained.items() if not torch.equal(tensor, base[name])}
    assert {name.split(".")[0] for name in moved} == {"bridge", "wns1", "cfm"}
    assert all(".attn." in name and "weight" in name for name in moved if name.startswith("cfm") and method == "lora")
    assert any(".ff." in name for name in moved) == (method == "full")


def load_model_state(training, base, method):
    weights = training.weights()
    return lora.merge(base, weights) if method == "lora" else weights


@pytest.mark.parametrize(("method", "steps"), [("lora", 1), ("lora", 5), ("full", 3)])
def test_a_stopped_training_ends_like_one_that_never_stopped(plan, run, method, steps, tmp_path):
    plan = replace(plan, method=method)
    whole, _, _ = run(plan, output=tmp_path / "whole")

    _, _, finished = run(plan, stop_after=steps)
    resumed, _, _ = run(plan)

    assert not finished
    lines, expected = run.metrics(plan.output), run.metrics(tmp_path / "whole")
    assert [line["step"] for line in lines] == list(range(1, whole.total_steps + 1))
    for ours, theirs in zip(lines, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    for name, parameter in whole.optimizer_step.trained.items():
        assert torch.allclose(resumed.optimizer_step.trained[name], parameter, atol=1e-5), name


def test_a_finished_training_run_again_only_says_so(plan, run):
    run(plan)

    _, events, finished = run(plan)

    assert finished
    assert [event["event"] for event in events] == ["done"]


def test_another_rank_begins_anew(plan, run, caplog):
    run(plan, stop_after=2)

    training, _, _ = run(plan, lora_rank=2)

    assert "begins anew" in caplog.text
    assert len(training.progress.history) == 2


def test_v3_learns_from_content_features(plan, run, folder, base_of):
    folder.use_features()

    training, _, _ = run(plan, version="v3", base=base_of("v3"))

    ((item,),) = training.batches.load([training.batches.entries[:1]], None)
    assert item.codes is None
    assert item.mel.shape == (12, int(item.spec.shape[1] * 1.875))
    assert training.recipe["data"]["mel"]["sampling_rate"] == 24000


def test_several_small_batches_learn_like_one(plan, run):
    plan = replace(plan, method="full")  # a LoRA begins from random weights
    training, _, _ = run(plan, stop_after=0)
    (items,) = training.batches.load([training.batches.entries[:3]], None)
    items = sorted(items, key=lambda item: -item.spec.shape[1])
    draws = training.optimizer_step.draw(training.collate(items))
    parts = [RandomDraws(draws.prompt[i, None], draws.time[i, None], draws.noise[i, None], None) for i in range(3)]
    together, apart = (FlowMatchingOptimizerStep(build_model(plan)[1].eval(), training.settings) for _ in range(2))
    together.set_rate(0.0)
    apart.set_rate(0.0)

    whole = together([training.collate(items)], [replace(draws, halvings=None)])
    summed = apart([training.collate([item]) for item in items], parts)

    assert summed == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(("version", "method", "name"), [("v4", "lora", "_l4"), ("v3", "full", "")])
def test_the_originals_files_are_written_too(plan, run, base_of, load, version, method, name):
    plan = replace(plan, version=version, base=base_of(version), method=method)

    training, _, _ = run(plan, export_official=True, name="anna")

    exported = plan.output / f"anna_e2_s6{name}.pth"
    file = open_checkpoint(exported)
    ours = load_checkpoint(plan.output / "sovits-e2.safetensors").state
    assert (file.kind, file.version, file.info["official"]) == ("sovits", version, "2epoch_6iteration")
    assert file.info.get("lora_rank") == training.config.rank
    assert file.state.keys() == ours.keys()
    assert all(torch.equal(file.state[key], tensor) for key, tensor in ours.items())


def test_what_the_originals_would_mistake_is_not_begun(plan, run):
    with pytest.raises(ModelError) as error:
        run(plan, method="full", export_official=True)

    assert error.value.code == "no_official_form"


def test_accumulated_batches_make_fewer_updates(plan, run):
    training, _, _ = run(plan, accumulate=2, epochs=1)

    assert training.progress.step == training.steps_per_epoch == 2


def test_computing_layers_again_changes_no_loss(plan, run, tmp_path):
    run(plan, epochs=1)

    run(plan, epochs=1, grad_ckpt=True, output=tmp_path / "again")

    losses = [line["loss"] for line in run.metrics(plan.output)]
    assert [line["loss"] for line in run.metrics(tmp_path / "again")] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(plan, run, precision):
    training, events, _ = run(plan, precision=precision, epochs=1)

    assert events.of("done")[0]["metrics"]["precision"] == precision
    assert all(parameter.dtype == torch.float32 for parameter in training.optimizer_step.trained.values())


def test_what_cannot_be_learned_from_is_named(plan, run, folder):
    folder.add("short.wav", 0.4)
    folder.add("fleeting.wav", 0.62)
    folder.add("long.wav", 20.1)

    _, events, _ = run(plan, epochs=1)

    left_out = events.of("done")[0]["metrics"]["left_out"]
    assert left_out.keys() == {"short.wav", "fleeting.wav", "long.wav"}
    assert "1005 frames" in left_out["long.wav"]


def test_a_training_needs_a_base(plan, run):
    with pytest.raises(ModelError) as error:
        run(plan, base=None)

    assert error.value.code == "no_base"
    assert "download v4" in error.value.hint


def test_a_base_of_the_other_version_is_refused(plan, run):
    with pytest.raises(ModelError, match="holds v4, and v3"):
        run(plan, version="v3")


def test_a_lora_is_no_base(plan, run):
    run(plan, epochs=1)

    with pytest.raises(ModelError, match="is a LoRA"):
        run(plan, base=plan.output / "sovits-e1.safetensors")


def test_no_epochs_are_an_error(plan, run):
    with pytest.raises(ModelError) as error:
        run(plan, epochs=0)

    assert error.value.code == "no_updates"


def test_one_usable_recording_is_not_enough(plan, run, folder):
    lines = (folder.path / CODES_FILE).read_text().splitlines()
    (folder.path / CODES_FILE).write_text("\n".join(lines[:2]) + "\n")

    with pytest.raises(ModelError) as error:
        run(plan)

    assert error.value.code == "dataset_too_small"


@pytest.mark.parametrize("wrong", [{"version": "v2"}, {"lora_rank": 0}, {"method": "some"}])
def test_a_plan_that_cannot_be_followed_is_refused(plan, tmp_path, wrong):
    path = tmp_path / "RUN.json"
    path.write_text(json.dumps(as_run(plan) | wrong))

    with pytest.raises(ModelError) as error:
        FlowMatchingTrainingConfig.read(path)

    assert error.value.code == "bad_plan"


def as_run(plan):
    names = ("version", "data", "output", "base", "epochs", "batch_size", "save_every_epoch", "lora_rank", "train")
    return {
        name: str(v) if name in FlowMatchingTrainingConfig.PATHS else v
        for name in names
        if (v := getattr(plan, name)) is not None
    }


def test_the_program_runs_a_plan_to_its_end(plan, tmp_path, capsys):
    path = tmp_path / "RUN.json"
    path.write_text(json.dumps(as_run(plan) | {"precision": "fp32", "epochs": 1}))

    assert main([str(path)]) == 0

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["metrics"]["lora_rank"] == 4
