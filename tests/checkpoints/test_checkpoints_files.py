"""Checkpoints are exact, atomic, and never run what they hold."""

from __future__ import annotations

import pickle
import sys
import zipfile
from types import ModuleType

import pytest
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.identify import identify
from GPT_SoVITS.checkpoints.official_files import read_official
from GPT_SoVITS.checkpoints.resume_files import load_resume, save_resume
from GPT_SoVITS.errors import ModelError


@pytest.fixture
def state():
    return {"a.weight": torch.randn(3, 4), "b.count": torch.tensor([3])}


@pytest.fixture
def saved(state, tmp_path):
    def save(name="voice.safetensors", *, half=True, **changes):
        path = tmp_path / name
        content = {"kind": "sovits", "version": "nano", "config": {"z": 1, "a": [1, 2]}, "state": state}
        content |= {"info": {"epoch": 3}} | changes
        return path, save_checkpoint(path, Checkpoint(**content), half=half)

    return save


def test_what_is_saved_is_what_is_loaded(saved, state):
    path, _ = saved()

    checkpoint = load_checkpoint(path)

    assert (checkpoint.kind, checkpoint.version) == ("sovits", "nano")
    assert checkpoint.config == {"z": 1, "a": [1, 2]}
    assert checkpoint.info == {"epoch": 3}
    assert torch.equal(checkpoint.state["a.weight"], state["a.weight"].half())
    assert torch.equal(checkpoint.state["b.count"], state["b.count"])


def test_single_precision_is_kept_when_asked(saved, state):
    path, _ = saved(half=False)

    assert torch.equal(load_checkpoint(path).state["a.weight"], state["a.weight"])


def test_equal_content_has_equal_bytes_and_the_digest_is_that_of_the_file(saved):
    import hashlib

    first, digest = saved("first.safetensors")
    _, again = saved("second.safetensors")

    assert digest == again == hashlib.sha256(first.read_bytes()).hexdigest()


def test_nothing_but_the_file_is_left(saved, tmp_path):
    saved()

    assert [path.name for path in tmp_path.iterdir()] == ["voice.safetensors"]


def test_a_failed_save_leaves_the_old_file(saved, state, tmp_path):
    path, _ = saved()
    before = path.read_bytes()

    with pytest.raises(ModelError) as error:
        saved(state={"a.weight": torch.full((2,), 1e6)})

    assert error.value.code == "not_finite"
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_tied_tensors_are_stored_apart(saved):
    tensor = torch.ones(4)

    path, _ = saved(state={"a": tensor, "b": tensor})

    assert torch.equal(load_checkpoint(path).state["b"], tensor.half())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 100])
def test_a_file_that_is_none_is_a_bad_checkpoint(content, tmp_path):
    path = tmp_path / "none.safetensors"
    path.write_bytes(content)

    with pytest.raises(ModelError) as error:
        open_checkpoint(path)

    assert error.value.code == "bad_checkpoint"


@pytest.mark.parametrize("read", [load_checkpoint, open_checkpoint, read_official])
def test_a_missing_file_is_said(read, tmp_path):
    with pytest.raises(ModelError) as error:
        read(tmp_path / "missing.safetensors")

    assert error.value.code == "no_checkpoint"


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Write a file as the official saver does, the configuration an object of a class in a module `utils`."""
    utils = ModuleType("utils")
    utils.HParams = type("HParams", (), {"__module__": "utils", "__qualname__": "HParams"})
    monkeypatch.setitem(sys.modules, "utils", utils)

    def write(state, *, header=b"PK", **model):
        config, section = utils.HParams(), utils.HParams()
        section.__dict__.update(model)
        config.model = section
        path = tmp_path / "voice.pth"
        torch.save({"weight": state, "config": config, "info": "8epoch_144iteration"}, path)
        path.write_bytes(header + path.read_bytes()[2:])
        return path

    return write


def test_an_official_file_opens_and_its_config_is_plain(official, state):
    checkpoint = open_checkpoint(official(state, version="v2", n_heads=2, betas=(0.8, 0.99)))

    assert checkpoint.config["model"] == {"version": "v2", "n_heads": 2, "betas": [0.8, 0.99]}
    assert checkpoint.info == {"official": "8epoch_144iteration"}
    assert torch.equal(checkpoint.state["a.weight"], state["a.weight"])


@pytest.mark.parametrize(("header", "version"), [(b"01", "v2"), (b"05", "v2Pro"), (b"06", "v2ProPlus")])
def test_the_header_tells_the_version_where_the_tensors_do_not(official, state, header, version):
    assert read_official(official(state, header=header)).version == version


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"enc_p.text_embedding.weight": (322, 4)}, ("sovits", "v1")),
        ({"enc_p.text_embedding.weight": (732, 4)}, ("sovits", "v2")),
        ({"sv_emb.weight": (4, 4), "dec.conv_pre.weight": (512, 4, 7)}, ("sovits", "v2Pro")),
        ({"sv_emb.weight": (4, 4), "dec.conv_pre.weight": (768, 4, 7)}, ("sovits", "v2ProPlus")),
        ({"enc_p.text_embedding.weight": (732, 4), "cfm.estimator.x": (1,)}, ("sovits", "")),
        ({"model.ar_text_embedding.word_embeddings.weight": (512, 4)}, ("gpt", "v1")),
        ({"model.ar_text_embedding.word_embeddings.weight": (732, 4)}, ("gpt", "v2")),
        ({"discriminators.5.conv_post.bias": (1,)}, ("discriminator", "v2")),
        ({"discriminators.7.conv_post.bias": (1,)}, ("discriminator", "v2Pro")),
    ],
)
def test_the_tensors_tell_kind_and_version(shapes, expected):
    assert identify({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}) == expected


def test_a_lost_header_does_not_matter_when_the_tensors_tell(official):
    state = {"sv_emb.weight": torch.zeros(2, 2), "dec.conv_pre.weight": torch.zeros(768, 1, 1)}

    assert read_official(official(state, header=b"PK", version="v2")).version == "v2ProPlus"


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/a-checkpoint-ran-code",)


def test_a_file_that_would_run_code_is_refused(tmp_path, state):
    path = tmp_path / "evil.pth"
    torch.save({"weight": state, "config": Evil(), "info": ""}, path)

    with pytest.raises(ModelError) as error:
        read_official(path)

    assert error.value.code == "unsafe_checkpoint"


def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))

    with pytest.raises(ModelError) as error:
        read_official(path)

    assert error.value.code == "bad_checkpoint"


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1_000_000)

    with pytest.raises(ModelError) as error:
        read_official(path)

    assert error.value.code == "unsafe_checkpoint"


@pytest.mark.parametrize("length", [100, 400])
def test_a_cut_file_is_a_bad_checkpoint(official, state, length):
    path = official(state)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(ModelError) as error:
        read_official(path)

    assert error.value.code == "bad_checkpoint"


def test_a_training_state_comes_back(tmp_path):
    save_resume(tmp_path / "resume.pt", {"step": 3, "tensor": torch.ones(2)})

    state = load_resume(tmp_path / "resume.pt")

    assert state["step"] == 3
    assert torch.equal(state["tensor"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]


def test_no_training_state_is_none(tmp_path):
    assert load_resume(tmp_path / "resume.pt") is None


def test_an_unreadable_training_state_is_kept_aside(tmp_path, caplog):
    path = tmp_path / "resume.pt"
    path.write_bytes(b"torn")

    assert load_resume(path) is None
    assert (tmp_path / "resume.pt.unreadable").read_bytes() == b"torn"
    assert "cannot be read" in caplog.text
