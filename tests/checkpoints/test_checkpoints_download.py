"""Official weights come from a hub: resumed, verified, whole. The hub is one of our own; nothing leaves the machine."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download
from toy_hub import running

from GPT_SoVITS.checkpoints.catalog import OfficialFile
from GPT_SoVITS.checkpoints.download import fetch
from GPT_SoVITS.checkpoints.modelscope import is_modelscope
from GPT_SoVITS.errors import ModelError

NAME = "gsv-v4-pretrained/s2Gv4.pth"
REMOTE = f"lj1995/GPT-SoVITS/{NAME}"
CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
def hub(monkeypatch):
    """Yield a hub with one large file; transfers are written in small pieces, and a retry comes at once."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _seconds: None))
    huggingface_hub.close_session()
    with running() as hub:
        hub.files[REMOTE] = CONTENT
        yield hub
        huggingface_hub.close_session()


@pytest.fixture
def get(hub, tmp_path):
    """Fetch files into a folder and return what was printed."""

    def run(*files, folder=tmp_path):
        lines = []
        fetch(files or [OfficialFile(NAME, "v4")], folder, endpoint=hub.url, say=lines.append)
        return lines

    return run


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_file_arrives_whole_under_its_name(get, hub, tmp_path):
    assert get() == [f"{NAME} is there: 300,000 bytes, verified."]

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) <= {NAME, "gsv-v4-pretrained/.s2Gv4.pth.lock", "checksums.json", ".checksums.json.lock"}
    assert hub.transfers == [(REMOTE, "")]


def test_a_file_that_is_there_asks_nothing_of_the_network(get, hub, tmp_path):
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).write_bytes(b"mine")

    assert get() == [f"{NAME} is there."]

    assert (tmp_path / NAME).read_bytes() == b"mine"
    assert hub.authorizations == []


def test_a_transfer_that_breaks_goes_on_where_it_broke(get, hub, tmp_path):
    hub.break_after = [100_000, 50_500]

    get()

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert hub.transfers == [(REMOTE, ""), (REMOTE, "bytes=100000-"), (REMOTE, "bytes=150000-")]


def test_a_transfer_that_was_given_up_goes_on_with_the_next_command(get, hub, tmp_path):
    hub.break_after = [100_000] + [0] * 100
    with pytest.raises(ModelError) as error:
        get()
    assert error.value.code == "download_failed"
    assert not error.value.permanent
    assert not (tmp_path / NAME).exists()
    hub.break_after.clear()
    hub.transfers.clear()

    get()

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert hub.transfers == [(REMOTE, "bytes=100000-")]
    assert names(tmp_path) <= {NAME, "gsv-v4-pretrained/.s2Gv4.pth.lock", "checksums.json", ".checksums.json.lock"}


def test_a_part_of_another_content_is_not_gone_on_with(get, hub, tmp_path):
    hub.break_after = [100_000] + [0] * 100
    with pytest.raises(ModelError):
        get()
    hub.files[REMOTE] = CONTENT[::-1]
    hub.break_after.clear()
    hub.transfers.clear()

    get()

    assert (tmp_path / NAME).read_bytes() == CONTENT[::-1]
    assert hub.transfers == [(REMOTE, "")]
    assert not list(tmp_path.rglob("*.part"))


def test_what_differs_from_the_hubs_sum_is_not_kept(get, hub, tmp_path):
    hub.wrong_sums = True

    with pytest.raises(ModelError, match="and the hub says") as error:
        get()

    assert error.value.code == "bad_download"
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"sha256": "0" * 64}, "and the catalogue says 0000"),
        ({"first_md5": "0" * 32}, "begins with other bytes"),
        ({"size": 300_001}, "has 300000 bytes there, and the original's has 300001"),
    ],
)
def test_what_differs_from_the_catalogue_is_not_kept(facts, message, get, tmp_path):
    with pytest.raises(ModelError, match=message) as error:
        get(OfficialFile(NAME, "v4", **facts))

    assert error.value.code == "bad_download"
    assert not (tmp_path / NAME).exists()


def test_what_agrees_with_the_catalogue_is_kept(get, tmp_path):
    sums = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "first_md5": hashlib.md5(CONTENT[:8192]).hexdigest()}

    get(OfficialFile(NAME, "v4", size=300_000, **sums))

    assert (tmp_path / NAME).exists()


def test_the_first_checksum_is_recorded_and_another_one_is_rejected_later(get, hub, tmp_path):
    get()
    recorded = json.loads((tmp_path / "checksums.json").read_bytes())
    (tmp_path / NAME).unlink()
    hub.files[REMOTE] = CONTENT[::-1]

    with pytest.raises(ModelError, match="was recorded at the first download") as error:
        get()

    assert recorded == {NAME: hashlib.sha256(CONTENT).hexdigest()}
    assert error.value.code == "bad_download"
    assert recorded[NAME] in error.value.message
    assert "checksums.json" in error.value.hint
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.rglob("*.part"))
    assert json.loads((tmp_path / "checksums.json").read_bytes()) == recorded


def test_a_file_that_changed_where_it_lies_is_rejected(get, tmp_path):
    get()
    (tmp_path / NAME).write_bytes(b"changed")

    with pytest.raises(ModelError, match="was recorded at the first download"):
        get()

    assert (tmp_path / NAME).read_bytes() == b"changed", "nothing of the user's is deleted"


def test_a_change_that_is_meant_is_accepted_once_its_line_is_removed(get, hub, tmp_path):
    get()
    (tmp_path / NAME).unlink()
    hub.files[REMOTE] = CONTENT[::-1]
    (tmp_path / "checksums.json").write_text("{}")

    get()

    assert (tmp_path / NAME).read_bytes() == CONTENT[::-1]


def test_a_file_of_another_content_than_the_published_one_is_rejected_also_where_it_lies(get, tmp_path):
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).write_bytes(b"mine")

    with pytest.raises(ModelError, match="the catalogue says"):
        get(OfficialFile(NAME, "v4", sha256="0" * 64))


def test_a_record_that_cannot_be_read_is_named(get, tmp_path):
    (tmp_path / "checksums.json").write_text("[")

    with pytest.raises(ModelError, match=r"checksums\.json is no list") as error:
        get()

    assert error.value.code == "bad_record"


@pytest.mark.parametrize("wrong", [False, True])
def test_a_small_file_is_verified_by_gits_sum(wrong, get, hub, tmp_path):
    hub.files["nvidia/bigvgan/config.json"] = b'{"a": 1}'
    hub.small.add("nvidia/bigvgan/config.json")
    hub.wrong_sums = wrong
    file = OfficialFile("bigvgan/config.json", "sizes", "nvidia/bigvgan", "config.json")

    if wrong:
        with pytest.raises(ModelError):
            get(file)
    else:
        get(file)

    assert (tmp_path / "bigvgan/config.json").exists() is not wrong


def test_a_name_with_signs_in_it_is_asked_for_rightly(get, hub, tmp_path):
    name = "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt"
    hub.files[f"lj1995/GPT-SoVITS/{name}"] = b"weights"

    get(OfficialFile(name, "v1"))

    assert (tmp_path / name).read_bytes() == b"weights"


def test_a_token_is_never_sent(get, hub):
    get()

    assert set(hub.authorizations) == {""}


def test_a_file_that_the_repository_lacks_is_said(get):
    with pytest.raises(ModelError, match=r"There is no s2Gv9\.pth at http") as error:
        get(OfficialFile("s2Gv9.pth", ""))

    assert error.value.code == "no_repository"


def test_a_host_that_is_no_hub_is_said(get, hub):
    hub.url += "/elsewhere"
    hub.files["lj1995/GPT-SoVITS/resolve/main/page"] = b"<html>"

    with pytest.raises(ModelError, match="no sum, size or commit") as error:
        get(OfficialFile("page", ""))

    assert error.value.code == "download_failed"


def test_a_host_that_does_not_answer_is_said(tmp_path, hub):
    with pytest.raises(ModelError, match=r"could not be fetched: .*refused") as error:
        fetch([OfficialFile(NAME, "")], tmp_path, endpoint="http://127.0.0.1:1")

    assert "--mirror" in error.value.hint


def test_a_full_disk_is_noticed_before_the_transfer(get, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))

    with pytest.raises(ModelError, match=r"0\.00 GB are to be fetched") as error:
        get(folder=tmp_path / "not" / "there")

    assert error.value.code == "disk_full"
    assert hub.transfers == []


def test_a_file_of_no_repository_is_put_there_by_hand(get):
    with pytest.raises(ModelError, match=r"No repository is known to have G2PWModel/g2pW\.onnx") as error:
        get(OfficialFile("G2PWModel/g2pW.onnx", "g2pW", ""))

    assert "by hand" in error.value.hint


@pytest.mark.slow
def test_of_several_processes_one_transfers(hub, tmp_path):
    program = (
        "import sys, pathlib; from GPT_SoVITS.checkpoints.download import fetch;"
        "from GPT_SoVITS.checkpoints.catalog import OfficialFile;"
        f"fetch([OfficialFile({NAME!r}, '')], pathlib.Path(sys.argv[1]), endpoint=sys.argv[2])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), hub.url], stdout=subprocess.PIPE)
        for _ in range(3)
    ]

    answers = [process.communicate(timeout=60)[0].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(f"{NAME} is there" in answer for answer in answers)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(hub.transfers) == 1


def test_modelscope_has_the_same_file_under_another_repository(hub, tmp_path):
    file = OfficialFile("sensevoice/tokens.txt", "tokens", "someone/repository", "tokens.txt", modelscope="other/name")
    hub.files["other/name/tokens.txt"] = CONTENT
    hub.break_after = [100_000]

    fetch([file], tmp_path, endpoint=hub.url, modelscope=True, say=lambda _line: None)

    assert (tmp_path / "sensevoice/tokens.txt").read_bytes() == CONTENT
    assert hub.transfers == [("other/name/tokens.txt", ""), ("other/name/tokens.txt", "bytes=100000-")]


@pytest.mark.parametrize(
    ("file", "wrong_sums", "code"),
    [
        (OfficialFile("v4.pth", "v4", "someone/repository"), False, "no_repository"),
        (OfficialFile("v4.pth", "v4", "someone/repository", modelscope="no/such"), False, "no_repository"),
        (OfficialFile("v4.pth", "v4", "someone/repository", modelscope="other/empty"), False, "no_repository"),
        (OfficialFile("v4.pth", "v4", "someone/repository", "w.pth", modelscope="other/name"), True, "bad_download"),
    ],
)
def test_what_modelscope_lacks_or_sends_wrong_is_not_kept(hub, tmp_path, file, wrong_sums, code):
    hub.files |= {"other/name/w.pth": CONTENT, "other/empty/something": b"else"}
    hub.wrong_sums = wrong_sums

    with pytest.raises(ModelError) as error:
        fetch([file], tmp_path, endpoint=hub.url, modelscope=True, say=lambda _line: None)

    assert error.value.code == code
    assert not (tmp_path / "v4.pth").exists()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://modelscope.cn", True),
        ("https://www.modelscope.cn/", True),
        ("https://hf-mirror.com", False),
        ("https://modelscope.cn.example", False),
    ],
)
def test_modelscope_is_known_by_its_host(endpoint, expected):
    assert is_modelscope(endpoint) is expected
