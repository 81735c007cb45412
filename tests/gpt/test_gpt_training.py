from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig
from GPT_SoVITS.train import main
from GPT_SoVITS.training.precision import choose_precision


class Listener:
    """Collects a training's events, and asks it to stop at one of its steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.events: list[dict] = []
        self.stop = threading.Event()
        self.stop_at = stop_at

    def __call__(self, event: str, /, **fields: object) -> None:
        self.events.append({"event": event, **fields})
        if event == "progress" and fields["step"] == self.stop_at:
            self.stop.set()

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["event"] == kind]


def train(plan_file: Path, stop_at: int | None = None) -> tuple[bool, Listener]:
    listener = Listener(stop_at)
    training = GPTTrainer(GPTTrainingConfig.read(plan_file), listener, listener.stop)
    ended = training.fit()
    if ended:
        training.finish()
    return ended, listener


def curve(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(first: Path, second: Path) -> None:
    first_lines, second_lines = curve(first), curve(second)
    assert [line["step"] for line in first_lines] == [line["step"] for line in second_lines]
    for a, b in zip(first_lines, second_lines, strict=True):
        assert a == pytest.approx(b, rel=1e-5), a["step"]


def test_a_training_learns_and_reports(plan_file, tmp_path):
    ended, listener = train(plan_file())

    assert ended
    done = listener.of("done")[0]
    progress = listener.of("progress")
    assert progress[-1]["fraction"] == 1.0
    assert progress[-1]["step"] == progress[-1]["total_steps"] == done["metrics"]["steps"]
    assert [event["epoch"] for event in listener.of("checkpoint")] == [2, 3]
    assert done["metrics"]["best_epoch"] == 3
    assert done["metrics"]["updates"] == -(-done["metrics"]["steps"] // 3)
    lines = curve(tmp_path / "output")
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize(("minutes", "first"), [(1e-9, 6), (0.0, 5), (60.0, 5)])
def test_a_training_that_crashed_within_an_epoch_goes_on_from_the_state_of_some_minutes_before(
    plan_file, tmp_path, minutes, first
):
    class Crash(Exception):
        """The end of a program without warning."""

    class Crashing(Listener):
        def __call__(self, event: str, /, **fields: object) -> None:
            super().__call__(event, **fields)
            if event == "progress" and fields["step"] == 6:
                raise Crash

    plan = GPTTrainingConfig.read(plan_file(output="crashed", save_minutes=minutes))
    with pytest.raises(Crash):
        GPTTrainer(plan, Crashing(), threading.Event()).fit()

    _, listener = train(plan_file(output="crashed"))
    train(plan_file(output="whole"))

    assert listener.of("progress")[0]["step"] == first
    assert_same_curve(tmp_path / "crashed", tmp_path / "whole")


@pytest.mark.parametrize("minutes", [-1, "ten", float("nan")])
def test_minutes_between_states_that_are_none_are_refused(plan_file, minutes):
    with pytest.raises(ModelError, match="save_minutes"):
        GPTTrainingConfig.read(plan_file(save_minutes=minutes))


def test_the_checkpoint_holds_a_model_that_loads_strictly(plan_file):
    _, listener = train(plan_file(epochs=1))

    saved = load_checkpoint(Path(listener.of("done")[0]["checkpoint"]))

    assert (saved.kind, saved.version) == ("gpt", "nano")
    assert saved.info["epoch"] == 1
    Text2Semantic.from_config(saved.config).load_state_dict({k: t.float() for k, t in saved.state.items()}, strict=True)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 8])
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(plan_file, tmp_path, stop_at):
    train(plan_file(output="whole"))

    stopped, _ = train(plan_file(output="parts"), stop_at=stop_at)
    ended, _ = train(plan_file(output="parts"))

    assert not stopped
    assert ended
    assert_same_curve(tmp_path / "whole", tmp_path / "parts")
    weights = [load_checkpoint(tmp_path / name / "gpt-e3.safetensors").state for name in ("whole", "parts")]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_finished_training_that_is_run_again_only_says_so(plan_file, tmp_path):
    _, first = train(plan_file())

    _, second = train(plan_file())

    assert second.events == first.of("done")
    assert_same_curve(tmp_path / "output", tmp_path / "output")


def test_an_unreadable_state_is_set_aside_and_said(plan_file, tmp_path, caplog):
    train(plan_file(output="whole"))
    train(plan_file(), stop_at=5)
    state = tmp_path / "output" / "resume.pt"
    whole = state.read_bytes()
    for torn in (whole[: len(whole) // 2], b"\x00garbage", b""):
        state.write_bytes(torn)

        ended, _ = train(plan_file(), stop_at=None)

        assert ended
        assert "cannot be read" in caplog.text
        assert (tmp_path / "output" / "resume.pt.unreadable").read_bytes() == torn
        assert_same_curve(tmp_path / "whole", tmp_path / "output")


def test_a_state_of_other_data_is_not_gone_on_from(plan_file, tmp_path, training_set, caplog):
    train(plan_file(), stop_at=5)
    with (training_set / "6-name2semantic.tsv").open("a") as tokens:
        tokens.write("00.wav\t" + " ".join(["7"] * 50) + "\n")

    ended, listener = train(plan_file())

    assert ended
    assert "begins anew" in caplog.text
    assert listener.of("progress")[0]["step"] == 1


def test_a_preference_is_reported_apart(plan_file, tmp_path):
    train(plan_file(epochs=1, dpo=True))

    assert all(line["preference_loss"] > 0 for line in curve(tmp_path / "output"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_coarse_arithmetic_learns_as_well(plan_file, tmp_path, precision):
    train(plan_file(output="exact"))
    train(plan_file(output="coarse", precision=precision))

    exact, coarse = (curve(tmp_path / name)[-1]["loss"] for name in ("exact", "coarse"))
    assert coarse == pytest.approx(exact, rel=0.05)


def test_the_asked_precision_is_taken():
    assert choose_precision("bf16", torch.device("cpu"), 32) == "bf16"
    assert choose_precision("auto", torch.device("cpu"), 256) in ("fp32", "bf16")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epochs": 0}, "no_updates"),
        ({"compat": "reference", "batch_size": 100}, "no_updates"),
        ({"epochs": "three"}, "bad_plan"),
        ({"version": "v9"}, "unknown_version"),
        ({"device": "tpu"}, "bad_plan"),
        ({"base": "/nowhere.safetensors"}, "no_checkpoint"),
    ],
)
def test_a_plan_that_cannot_work_is_an_error_event(plan_file, capsys, changes, code):
    exit_code = main([str(plan_file(**changes))])

    event = json.loads(capsys.readouterr().out)
    assert exit_code == 1
    assert (event["event"], event["code"], event["permanent"]) == ("error", code, True)


def test_too_few_recordings_say_what_was_left_out(plan_file, training_set):
    path = training_set / "6-name2semantic.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "unknown.wav\t1 2 3"]) + "\n")

    with pytest.raises(ModelError, match=r"1 usable recordings.*1 for no transcript") as refused:
        train(plan_file())

    assert refused.value.code == "dataset_too_small"


def test_tokens_beyond_the_model_are_named(plan_file, training_set):
    with (training_set / "6-name2semantic.tsv").open("a") as tokens:
        tokens.write("00.wav\t" + " ".join(["64"] * 50) + "\n")

    with pytest.raises(ModelError, match="tokens up to 64") as refused:
        train(plan_file())

    assert refused.value.code == "wrong_base"


def start(plan_file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "GPT_SoVITS.train", str(plan_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def send_at_step(process: subprocess.Popen[str], step: int, number: signal.Signals) -> int:
    """Let the program reach a step, signal it, and wait for its end."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == step:
            process.send_signal(number)
            break
    process.stdout.read()
    process.stdout.close()
    return process.wait()


@pytest.mark.slow
def test_nano_begins_from_nothing(plan_file, tmp_path):
    ended, listener = train(plan_file(base=None, epochs=1, batch_size=8, precision="auto", train={}))

    assert ended
    lines = curve(tmp_path / "output")
    assert len(lines) == listener.of("done")[0]["metrics"]["updates"] == 12
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_a_program_that_was_ended_from_outside_goes_on(plan_file, tmp_path, number, code):
    train(plan_file(output="whole", epochs=6))
    plan = plan_file(output="parts", epochs=6)

    ended = send_at_step(start(plan), 10, number)
    output, _ = start(plan).communicate()

    events = [json.loads(line) for line in output.splitlines()]
    assert ended == code
    assert events[0]["step"] > 8, "two whole epochs were saved"
    assert events[-1]["event"] == "done"
    assert_same_curve(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_stop_before_the_first_step_is_heard(plan_file):
    process = start(plan_file())
    # The handler stands before torch is loaded; the pause between is what this test is about.
    while b"SIGTERM" not in _caught(process.pid):
        pass
    process.send_signal(signal.SIGTERM)

    process.stdout.read()
    process.stdout.close()
    assert process.wait() == 75


def _caught(pid: int) -> bytes:
    """b"SIGTERM" once the process handles it, by its mask in /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt") and int(line.split()[1], 16) & (1 << (signal.SIGTERM - 1)):
            return b"SIGTERM"
    return b""
