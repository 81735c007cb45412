"""A training of stage 2 learns, reports, stops and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, save_checkpoint
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.config import SoVITSTrainSettings
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.trainer import SoVITSTrainer, learning_rate


class Events(list):
    def __call__(self, event, **fields):
        self.append({"event": event, **fields})

    def of(self, kind):
        return [event for event in self if event["event"] == kind]


def run(plan, stop=None):
    events = Events()
    training = SoVITSTrainer(replace(plan, precision="fp32"), events, stop or threading.Event())
    finished = training.fit()
    if finished:
        training.finish()
    return training, events, finished


def test_a_training_tells_its_progress_and_leaves_a_voice(plan, metrics):
    training, events, finished = run(plan)

    done = events.of("done")[0]
    voice = load_checkpoint(plan.output / "sovits-e2.safetensors")
    assert finished
    assert [event["epoch"] for event in events.of("checkpoint")] == [1, 2]
    assert events.of("progress")[-1]["fraction"] == 1.0
    assert done["checkpoint"] == str(plan.output / "sovits-e2.safetensors")
    assert done["metrics"]["best_epoch"] in (1, 2)
    assert voice.info["step"] == done["metrics"]["steps"] == training.total_steps == len(metrics(plan.output))
    assert metrics(plan.output)[0].keys() >= {"epoch", "step", "mel", "kl", "total", "learning_rate"}


def test_a_voice_is_stored_without_the_posterior_encoder_and_speaks(plan):
    run(plan)

    voice = load_checkpoint(plan.output / "sovits-e2.safetensors")
    model = SoVITS.from_config(voice.config, posterior=False)
    model.load_state_dict({name: tensor.float() for name, tensor in voice.state.items()}, strict=True)
    model.eval().fold_weight_norm()
    style = model.style([torch.rand(1, 513, 20)])
    wave = model.decode(torch.tensor([[[1, 2, 3]]]), torch.tensor([[5, 6]]), style)

    assert not any(name.startswith("enc_q") for name in voice.state)
    assert wave.shape == (1, 1, 3 * 640)
    assert wave.isfinite().all()


def test_the_codebook_does_not_move_in_training(plan, model):
    training, _, _ = run(plan)

    trained = training.optimizer_step.generator.state_dict()
    for name, tensor in model.state_dict().items():
        if name.startswith(("ssl_proj.", "quantizer.")):
            assert torch.equal(trained[name], tensor.half().float()), name
    assert not torch.equal(trained["enc_p.proj.weight"], model.state_dict()["enc_p.proj.weight"])


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_stopped_training_ends_like_one_that_never_stopped(plan, steps, stop_after, metrics, tmp_path):
    whole, _, _ = run(replace(plan, output=tmp_path / "whole"))

    _, _, finished = run(plan, stop_after(steps))
    resumed, _, _ = run(plan)

    assert not finished
    assert [line["step"] for line in metrics(plan.output)] == list(range(1, whole.total_steps + 1))
    for ours, theirs in zip(metrics(plan.output), metrics(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    for name, tensor in whole.optimizer_step.generator.state_dict().items():
        assert torch.allclose(resumed.optimizer_step.generator.state_dict()[name], tensor, atol=1e-5), name


def test_updates_of_several_batches_are_gone_on_with_too(plan, stop_after, metrics, tmp_path):
    plan = replace(plan, accumulate=2)
    whole, _, _ = run(replace(plan, output=tmp_path / "whole"))

    run(plan, stop_after(3))
    run(plan)

    assert whole.total_steps == 4, "two updates an epoch, of two batches and of the one that is left"
    for ours, theirs in zip(metrics(plan.output), metrics(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_a_published_voice_as_base_lacks_the_posterior_encoder_and_that_is_said(plan, tmp_path, model, tiny, caplog):
    voice = tmp_path / "voice.safetensors"
    save_checkpoint(voice, Checkpoint(kind="sovits", version="nano", config=tiny, state=model.voice_state(), info={}))

    _, _, finished = run(replace(plan, base=voice, epochs=1))

    assert finished
    assert "voice.safetensors has no enc_q, which begins from random weights" in caplog.text


def test_what_was_recorded_and_what_is_spoken_can_be_listened_to(plan):
    training, _, _ = run(replace(plan, epochs=1))

    sounds = {name: (wave, rate) for name, wave, rate in training.audio_samples()}

    assert sounds.keys() == {"recorded", "spoken"}
    assert sounds["spoken"][0].shape == sounds["recorded"][0].shape
    assert sounds["spoken"][1] == 16000
    assert list((plan.output / "events").iterdir())
    assert training.optimizer_step.generator.training


def test_a_finished_training_run_again_only_says_so(plan):
    run(plan)
    before = (plan.output / "sovits-e2.safetensors").read_bytes()

    _, events, finished = run(plan)

    assert finished
    assert [event["event"] for event in events] == ["done"]
    assert (plan.output / "sovits-e2.safetensors").read_bytes() == before


def test_more_epochs_go_on_from_the_last(plan):
    run(plan)

    training, events, _ = run(replace(plan, epochs=3))

    assert [event["epoch"] for event in events.of("checkpoint")] == [3]
    assert training.progress.step == training.total_steps


def test_other_recordings_begin_anew(plan, full_folder, stop_after, caplog):
    run(plan, stop_after(2))
    full_folder.add("new.wav", 1.0)

    training, _, _ = run(plan)

    assert "begins anew" in caplog.text
    assert len(training.progress.history) == 2


def test_a_torn_state_is_set_aside_and_said(plan, stop_after, caplog):
    run(plan, stop_after(2))
    state = plan.output / "resume.pt"
    state.write_bytes(state.read_bytes()[:1000])

    _, _, finished = run(plan)

    assert finished
    assert "set aside" in caplog.text
    assert (plan.output / "resume.pt.unreadable").exists()


def test_no_epochs_are_an_error(plan):
    with pytest.raises(ModelError) as error:
        run(replace(plan, epochs=0))

    assert error.value.code == "no_updates"


def test_what_cannot_be_learned_from_is_named(plan, full_folder):
    full_folder.add("short.wav", 0.4)
    full_folder.add("long.wav", 39.0)
    full_folder.add("strange.wav", 1.0, phones="HH QQ7")
    full_folder.add("apart.wav", 1.0, codes=5)
    full_folder.add_text("lost.wav", "HH")

    training, events, _ = run(replace(plan, epochs=1))

    left_out = events.of("done")[0]["metrics"]["left_out"]
    assert left_out.keys() == {"short.wav", "long.wav", "strange.wav", "apart.wav", "lost.wav"}
    assert "QQ7" in left_out["strange.wav"]
    assert {entry.name for entry in training.batches.entries} == {"0.wav", "1.wav", "2.wav"}


def test_one_usable_recording_is_not_enough(plan, full_folder):
    for name in ("0.wav", "1.wav"):
        (full_folder.path / "5-wav32k" / name).write_bytes(b"no sound at all")

    with pytest.raises(ModelError) as error:
        run(plan)

    assert error.value.code == "dataset_too_small"
    assert "0.wav" in error.value.message


def test_a_base_of_another_version_is_refused(plan):
    with pytest.raises(ModelError) as error:
        run(replace(plan, version="v2"))

    assert error.value.code == "wrong_base"


def test_the_rate_rises_decays_and_falls(tiny):
    changes = {"learning_rate": 1.0, "lr_decay": 0.5, "warmup_steps": 2, "final_lr_fraction": 1.0}
    settings = read_section(SoVITSTrainSettings, tiny["train"] | changes, extra=True)

    assert learning_rate(settings, epoch=1, step=0, total=100) == 0.25
    assert learning_rate(settings, epoch=1, step=50, total=100) == 0.5
    assert learning_rate(settings, epoch=2, step=50, total=100) == 0.25
    settings = replace(settings, final_lr_fraction=0.0)
    assert learning_rate(settings, epoch=1, step=100, total=100) == pytest.approx(0.0, abs=1e-9)


def start(run_file):
    return subprocess.Popen(
        [sys.executable, "-m", "GPT_SoVITS.train", str(run_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        text=True,
    )


@pytest.fixture
def run_file(plan, tmp_path):
    path = tmp_path / "RUN.json"
    content = {
        "trainer": "sovits",
        "version": plan.version,
        "data": str(plan.data),
        "output": str(plan.output),
        "base": str(plan.base),
        "epochs": 4,
        "batch_size": 4,
        "save_every_epoch": 2,
        "precision": "fp32",
        "train": plan.train,
    }
    path.write_text(json.dumps(content))
    return path


def until_step(process, step):
    """Read events until a step; returns them."""
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1].get("step", 0) >= step:
            return events
    raise AssertionError(f"the training ended before step {step}: {events[-1:]}")


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_75_and_the_same_command_goes_on(run_file, metrics, plan):
    with start(run_file) as process:
        until_step(process, 3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    stopped_at = len(metrics(plan.output))

    with start(run_file) as again:
        output, _ = again.communicate(timeout=120)

    events = [json.loads(line) for line in output.splitlines()]
    assert (process.returncode, again.returncode) == (75, 0)
    assert events[0]["step"] == stopped_at + 1
    assert events[-1]["event"] == "done"


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_epoch(run_file, metrics, plan):
    with start(run_file) as process:
        events = until_step(process, 1)
        an_epoch = events[0]["total_steps"] // 4
        until_step(process, an_epoch + 1)
        process.kill()

    with start(run_file) as again:
        output, _ = again.communicate(timeout=120)

    first = json.loads(output.splitlines()[0])
    steps = [line["step"] for line in metrics(plan.output)]
    assert again.returncode == 0
    assert first["step"] == an_epoch + 1
    assert steps == list(range(1, first["total_steps"] + 1))


@pytest.mark.slow
def test_a_run_file_that_cannot_be_used_is_an_error_event(tmp_path):
    (tmp_path / "RUN.json").write_text('{"version": "nano"}')

    with start(tmp_path / "RUN.json") as process:
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert json.loads(output)["code"] == "bad_plan"
