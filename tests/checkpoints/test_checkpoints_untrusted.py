"""Whatever a stranger puts into a file: it is refused with a sentence, names what it asked for, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.errors import ModelError

REFUSALS = {"bad_checkpoint", "unsafe_checkpoint", "wrong_checkpoint", "unknown_version"}
fuzz = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the bytes of a small v2Pro voice in the official layout."""
    path = tmp_path_factory.mktemp("whole") / "voice.pth"
    state = {"sv_emb.weight": torch.ones(2, 3), "enc_p.text_embedding.weight": torch.zeros(732, 1)}
    write_official(path, Checkpoint("sovits", "v2Pro", {"model": {"n_heads": 2}, "train": {}}, state))
    return path.read_bytes()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Return the bytes of a small checkpoint of this program."""
    path = tmp_path_factory.mktemp("ours") / "voice.safetensors"
    save_checkpoint(
        path, Checkpoint(kind="sovits", version="nano", config={"a": 1}, state={"w": torch.ones(64)}, info={})
    )
    return path.read_bytes()


def refused_or_read(path: Path, content: bytes) -> str:
    """Return the code of the refusal, or empty; anything but a checkpoint or a refusal fails the test."""
    path.write_bytes(content)
    refusal = None
    try:
        state = open_checkpoint(path).state
    except ModelError as error:
        refusal = error
    if refusal is None:
        for tensor in state.values():
            tensor.float().sum()
        return ""
    assert refusal.code in REFUSALS
    assert path.name in refusal.message
    assert refusal.message.isprintable()
    return refusal.code


@fuzz
@given(data=st.data())
def test_a_cut_official_file_is_never_read(data, whole, tmp_path):
    length = data.draw(st.integers(0, len(whole) - 1))

    assert refused_or_read(tmp_path / "cut.pth", whole[:length]) == "bad_checkpoint"


@fuzz
@given(data=st.data())
def test_a_cut_file_of_ours_is_never_read(data, ours, tmp_path):
    length = data.draw(st.integers(0, len(ours) - 1))

    assert refused_or_read(tmp_path / "cut.safetensors", ours[:length]) == "bad_checkpoint"


@fuzz
@given(places=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bits_are_refused_or_do_no_harm(places, whole, tmp_path):
    content = bytearray(whole)
    for place, mask in places:
        content[place % len(content)] ^= mask

    refused_or_read(tmp_path / "flipped.pth", bytes(content))


@fuzz
@given(places=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bits_of_a_file_of_ours_are_refused_or_do_no_harm(places, ours, tmp_path):
    content = bytearray(ours)
    for place, mask in places:
        content[place % len(content)] ^= mask

    refused_or_read(tmp_path / "flipped.safetensors", bytes(content))


@fuzz
@given(data=st.data())
def test_flipped_bits_of_the_pickle_are_refused_or_do_no_harm(data, whole, tmp_path):
    with zipfile.ZipFile(io.BytesIO(b"PK" + whole[2:])) as archive:
        pickled = bytearray(archive.read("archive/data.pkl"))
    for _ in range(data.draw(st.integers(1, 4))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))

    refused_or_read(tmp_path / "flipped.pth", archived(bytes(pickled)))


@fuzz
@given(content=st.binary(max_size=300), header=st.sampled_from([b"", b"PK", b"05", b"PK\x03\x04"]))
def test_noise_is_refused(content, header, tmp_path):
    assert refused_or_read(tmp_path / "noise.pth", header + content)


def archived(pickled: bytes, storages: dict[str, bytes] | None = None, **options) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in (storages or {"0": bytes(12), "1": bytes(4 * 732)}).items():
            archive.writestr(f"archive/data/{key}", content)
    return stream.getvalue()


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda mark: Call(os.system, f"touch {mark}"), "posix.system"),
        (lambda mark: Call(eval, f"open({mark!r}, 'w')"), "eval"),
        (lambda mark: Call(getattr, torch.nn.Linear, "forward"), "getattr"),
        (lambda mark: Call(torch.load, mark), "torch.serialization.load"),
        (lambda mark: Call(torch.UntypedStorage, 1 << 50), "torch.storage.UntypedStorage"),
        (lambda mark: Call(torch._utils._rebuild_sparse_tensor, torch.strided, ()), "_rebuild_sparse_tensor"),
        (lambda mark: Call(bytearray, 1 << 50), "bytearray"),
    ],
    ids=["system", "eval", "getattr", "load", "storage", "sparse", "bytearray"],
)
def test_a_file_that_asks_for_more_is_refused_by_the_names(call, name, protocol, tmp_path):
    mark = str(tmp_path / "ran")
    pickled = pickle.dumps({"weight": {}, "config": call(mark)}, protocol)
    path = tmp_path / "evil.pth"
    path.write_bytes(archived(pickled))

    with pytest.raises(ModelError) as error:
        read_official(path)

    assert error.value.code == "unsafe_checkpoint"
    assert name in error.value.message
    assert not Path(mark).exists()


def test_a_name_that_is_computed_is_refused_as_one(tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(archived(b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R."))

    with pytest.raises(ModelError, match=r"asks for os\.system,"):
        read_official(path)


def saved(content) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def test_an_expanded_tensor_is_refused_before_it_is_laid_out(tmp_path):
    path = tmp_path / "bomb.pth"
    path.write_bytes(saved({"weight": {"sv_emb.weight": torch.zeros(1).expand(1 << 40)}, "config": {"model": {}}}))

    with pytest.raises(
        ModelError, match=r"bomb\.pth holds 4 bytes for sv_emb\.weight, whose shape is \[1099511627776\]"
    ):
        read_official(path)


def test_a_tensor_that_is_longer_than_its_record_is_refused(tmp_path):
    content = saved({"weight": {"sv_emb.weight": torch.ones(1000, dtype=torch.float16)}, "config": {"model": {}}})
    path = tmp_path / "overlong.pth"
    path.write_bytes(content.replace(struct.pack("<H", 1000), struct.pack("<H", 60000)))

    with pytest.raises(ModelError, match="holds 2000 bytes for sv_emb"):
        read_official(path)


def test_lists_that_hold_each_other_without_end_are_refused(tmp_path):
    many: list = []
    for _ in range(40):
        many = [many, many]
    endless: list = []
    endless.append(endless)
    path = tmp_path / "endless.pth"
    for value in (many, endless):
        path.write_bytes(saved({"weight": {"sv_emb.weight": torch.ones(1)}, "config": {"model": value}}))

        with pytest.raises(ModelError, match="settings without end"):
            read_official(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused_before_it_is_unpacked(compression, tmp_path):
    path = tmp_path / "bomb.pth"
    path.write_bytes(archived(b"\0" * (16 << 20), compression=compression))

    with pytest.raises(ModelError, match="compressed"):
        read_official(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"7z\xbc\xaf\x27\x1c", "7z archive"),
        (b"RIFF\x24\0\0\0WAVE", "WAV"),
        (pickle.dumps({"weight": {}}, 2), "bare pickle"),
        (archived(pickle.dumps([], 2)), "holds a list"),
        (saved({"epoch": 3}), "holds 'epoch'"),
        (saved({"a": torch.ones(1)}), "no model of this family: a"),
        (saved({"weight": {"a": 3}, "config": {}}), "holds a int among its weights, named 'a'"),
        (saved({"weight": {}, "config": {}}), "has no weights"),
        (b"PK" + bytes(30), "cut short or damaged"),
    ],
)
def test_a_foreign_file_is_named_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "foreign.pth"
    path.write_bytes(content)

    with pytest.raises(ModelError) as error:
        open_checkpoint(path)

    assert error.value.code == "bad_checkpoint"
    assert message in error.value.message
    assert error.value.message.startswith("foreign.pth ")
    assert error.value.message.endswith(".")


def test_another_programs_zip_is_named(tmp_path):
    path = tmp_path / "book.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")

    with pytest.raises(ModelError, match=r"a zip archive, but none that torch wrote: it has no data\.pkl"):
        read_official(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data.pkl", pickle.dumps(Call(os.getcwd), 2))

    with pytest.raises(ModelError, match="two of a name"):
        read_official(path)


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        "3",
        '{"kind": "poem", "version": "v2", "config": {}, "info": {}}',
        '{"kind": "gpt", "version": 2, "config": {}, "info": {}}',
        '{"kind": "gpt", "version": "v2", "config": [], "info": {}}',
        '{"kind": "gpt", "version": "v2", "config": {}, "info": 3}',
    ],
)
def test_a_header_of_other_types_is_refused(header, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"w": torch.ones(1)}, path, {"sovitsd": header})

    with pytest.raises(ModelError, match=r"odd\.safetensors"):
        open_checkpoint(path)


def test_another_programs_safetensors_file_is_named(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(1)}, path)

    with pytest.raises(ModelError, match="of another program: it does not say what model it holds"):
        open_checkpoint(path)
