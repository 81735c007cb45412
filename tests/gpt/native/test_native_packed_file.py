"""Packed weights that all processes of a host share."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gpt_generation import row
from native_models import model_of

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.gpt.decoder_choice import new_decoder, packed_bytes, share_packed_weights
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native.library import load_library
from GPT_SoVITS.gpt.native.packed_file import PackedFile
from GPT_SoVITS.gpt.native.weights import Kind, packed_tensors
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.synthesis.model_store import memory_of

pytestmark = pytest.mark.skipif(
    load_library() is None, reason="the native decoder was not built: there is no C++ compiler"
)
POINTERS = ((1, 0), (2, 3))


@pytest.fixture
def file(tmp_path: Path) -> PackedFile:
    """Return where the weights of a checkpoint are kept, which nothing has used yet."""
    save_checkpoint(tmp_path / "gpt.safetensors", Checkpoint("gpt", "nano", {}, model_of().state_dict()))
    return PackedFile(tmp_path / "cache", tmp_path / "gpt.safetensors", 1 << 30)


def packed(model: Text2Semantic, kind: Kind = "half") -> Callable[[], list[torch.Tensor]]:
    return lambda: packed_tensors(model, kind)


def never() -> list[torch.Tensor]:
    raise AssertionError("the weights are in the file")


def only_file(file: PackedFile) -> Path:
    (path,) = file.folder.iterdir()
    return path


@torch.inference_mode()
@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_mapped_weights_give_the_logits_of_packed_ones(file: PackedFile, precision: Precision) -> None:
    plain, first, second = model_of(pointers=POINTERS), model_of(pointers=POINTERS), model_of(pointers=POINTERS)
    second.load_state_dict(plain.state_dict())
    first.load_state_dict(plain.state_dict())
    expected = new_decoder(plain, precision).prefill([row(1)], 5)
    for model in (first, second):
        share_packed_weights(model, file)

    assert torch.equal(new_decoder(first, precision).prefill([row(1)], 5), expected)
    written = only_file(file).stat().st_ino
    assert torch.equal(new_decoder(second, precision).prefill([row(1)], 5), expected)
    assert only_file(file).stat().st_ino == written


def test_what_another_process_packed_is_mapped_and_not_made_again(file: PackedFile) -> None:
    tensors = file.load("half", packed(model_of()))

    again = file.load("half", never)

    assert [tensor.dtype for tensor in again] == [tensor.dtype for tensor in tensors]
    assert all(torch.equal(new, old) for new, old in zip(again, tensors, strict=True))
    assert all(tensor.data_ptr() % 64 == 0 for tensor in again if tensor.numel())
    assert str(only_file(file)) in Path("/proc/self/maps").read_text()


def test_only_the_owner_may_read_the_files(file: PackedFile) -> None:
    file.load("half", packed(model_of()))

    assert stat.S_IMODE(file.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_file(file).stat().st_mode) == 0o600


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut_the_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 64)


def write_of_another_model(path: Path) -> None:
    first, rest = path.read_bytes().split(b"\n", 1)
    header = json.loads(first) | {"key": "0" * len(path.stem)}
    path.write_bytes(json.dumps(header).encode() + b"\n" + rest)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        cut_the_end,
        write_of_another_model,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 10_000),
        lambda path: path.write_text("[]\n"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_made_again(file: PackedFile, damage: Callable[[Path], object]) -> None:
    expected = packed_tensors(model_of(), "half")
    file.load("half", packed(model_of()))
    damage(only_file(file))

    repaired = file.load("half", packed(model_of()))

    assert all(torch.equal(new, old) for new, old in zip(repaired, expected, strict=True))
    assert all(torch.equal(new, old) for new, old in zip(file.load("half", never), expected, strict=True))


def test_another_checkpoint_and_another_kind_have_files_of_their_own(file: PackedFile) -> None:
    file.load("half", packed(model_of()))
    file.load("int8", packed(model_of(), "int8"))
    save_checkpoint(file.checkpoint, Checkpoint("gpt", "nano", {}, model_of(192).state_dict()))
    file.load("half", packed(model_of(192)))

    assert len(list(file.folder.iterdir())) == 3


def test_weights_that_were_changed_after_loading_are_not_those_of_the_file(file: PackedFile) -> None:
    model = model_of()
    share_packed_weights(model, file)
    before = new_decoder(model).prefill([row(1)], 5)
    with torch.no_grad():
        model.model.ar_predict_layer.weight.mul_(2)

    torch.testing.assert_close(new_decoder(model).prefill([row(1)], 5), 2 * before)


def test_the_files_that_were_not_used_for_longest_make_room(file: PackedFile) -> None:
    file.load("half", packed(model_of()))
    oldest = only_file(file)
    os.utime(oldest, (1, 1))
    small = PackedFile(file.folder, file.checkpoint, oldest.stat().st_size)

    small.load("int8", packed(model_of(), "int8"))

    assert [path.name.split(".")[1] for path in file.folder.iterdir()] == ["int8"]


def test_a_folder_that_cannot_be_made_leaves_the_weights_to_the_process(file: PackedFile) -> None:
    file.folder.write_text("A file is in the way.")

    assert len(file.load("half", packed(model_of()))) == len(packed_tensors(model_of(), "half"))


PROCESS = """
import sys
sys.path += sys.argv[3:]
from pathlib import Path
from test_native_packed_file import PackedFile, model_of, packed
file = PackedFile(Path(sys.argv[1]), Path(sys.argv[2]), 1 << 30)
weights = packed(model_of())
print("ready", flush=True)
input()
tensors = file.load("half", weights)
print(*{line.split()[4] for line in Path("/proc/self/maps").read_text().splitlines() if ".packed" in line}, flush=True)
input()
"""


@pytest.mark.slow
def test_processes_that_begin_at_the_same_time_share_one_file(file: PackedFile) -> None:
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    command = [sys.executable, "-c", PROCESS, str(file.folder), str(file.checkpoint), *folders]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        assert [read_line(process) for process in processes] == ["ready"] * 3
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        mapped = [read_line(process) for process in processes]
    finally:
        for process in processes:
            process.communicate("\n", timeout=60)

    assert mapped == [str(only_file(file).stat().st_ino)] * 3


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_budget_counts_the_weights_as_they_are_packed() -> None:
    model = model_of()
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    estimate = sum(memory_of(model).values())
    new_decoder(model, "int8")

    assert estimate >= 2 * parameters
    assert sum(memory_of(model).values()) - packed_bytes(model) == estimate - parameters
    assert packed_bytes(model) == sum(tensor.nbytes for tensor in packed_tensors(model, "int8"))
