"""Official files of every version and layout, both ways."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest
import torch

from GPT_SoVITS import configs
from GPT_SoVITS.checkpoints import identify as identity
from GPT_SoVITS.checkpoints.catalog import OfficialFile
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, open_checkpoint
from GPT_SoVITS.checkpoints.official_configs import gpt_config, sovits_config
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.official import recipe as flow_recipe
from GPT_SoVITS.sovits.official import recipe

LORA = {
    "ref_enc.fc.fc.weight": torch.ones(2, 2),
    "cfm.base_model.model.estimator.transformer_blocks.0.attn.to_q.lora_A.default.weight": torch.ones(4, 2),
    "cfm.base_model.model.estimator.transformer_blocks.0.attn.to_q.lora_B.default.weight": torch.ones(2, 4),
}
FLOW = {"cfm.estimator.proj_out.weight": torch.ones(2, 2), "enc_p.text_embedding.weight": torch.ones(732, 1)}


@pytest.fixture
def utils(monkeypatch):
    """Return the module that the upstream programs have, so that a full unpickler finds their class."""
    module = ModuleType("utils")
    module.HParams = type("HParams", (), {"__module__": "utils", "__qualname__": "HParams"})
    monkeypatch.setitem(sys.modules, "utils", module)
    return module


def as_upstream_does(path: Path):
    """Put `PK` back and unpickle everything."""
    return torch.load(io.BytesIO(b"PK" + path.read_bytes()[2:]), map_location="cpu", weights_only=False)


@pytest.mark.parametrize(("version", "header"), [("v1", b"PK"), ("v2", b"PK"), ("v2Pro", b"05"), ("v2ProPlus", b"06")])
def test_a_voice_of_ours_becomes_an_official_file(version, header, tiny_voice, utils, tmp_path):
    ours = load_checkpoint(tiny_voice(version)[1])

    write_official(tmp_path / "voice.pth", ours)

    assert (tmp_path / "voice.pth").read_bytes()[:2] == header
    theirs = as_upstream_does(tmp_path / "voice.pth")
    assert list(theirs) == ["weight", "config", "info"]
    assert isinstance(theirs["config"].model, utils.HParams)
    assert theirs["config"].model.version == theirs["config"].version == version
    assert theirs["config"].data.hop_length == 640
    assert theirs["config"].train.segment_size == 20480
    assert theirs["info"] == "0epoch_0iteration"
    assert {tensor.dtype for tensor in theirs["weight"].values()} == {torch.float16}
    assert all(torch.equal(theirs["weight"][name], tensor) for name, tensor in ours.state.items())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_gpt_of_ours_becomes_an_official_file(version, tiny_voice, tmp_path):
    ours = load_checkpoint(tiny_voice(version)[0])

    write_official(tmp_path / "gpt.ckpt", ours)

    theirs = torch.load(tmp_path / "gpt.ckpt", weights_only=True)  # no class of anybody's is in there
    assert list(theirs) == ["weight", "config", "info"]
    assert theirs["config"]["model"] == {name: ours.config["model"][name] for name in theirs["config"]["model"]}
    assert theirs["config"]["data"]["max_sec"] == 54
    assert theirs["info"] == "GPT-e0"
    assert all(name.startswith("model.") for name in theirs["weight"])
    back = read_official(tmp_path / "gpt.ckpt")
    assert (back.kind, back.version) == ("gpt", version)


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4"])
def test_a_recipe_survives_the_official_config(version):
    ours = load_config(version)
    back = flow_recipe if version in ("v3", "v4") else recipe

    theirs = sovits_config(version, ours)

    assert back(version, theirs["model"]) == ours
    assert theirs["model"]["version"] == theirs["version"] == version
    assert not {"symbols", "ssl_dim", "sv_dim", "dit"} & theirs["model"].keys()


def test_an_official_gpt_config_is_left_as_it_is():
    theirs = gpt_config(load_config("v2_gpt"))

    assert set(theirs) == {"train", "optimizer", "data", "model", "inference"}
    assert gpt_config(theirs) is theirs


def test_epoch_and_step_are_told_in_upstreams_words(tmp_path):
    info = {"epoch": 8, "step": 144, "loss": 0.5}
    write_official(tmp_path / "voice.pth", Checkpoint("sovits", "v3", {"model": {}}, LORA, info))

    assert read_official(tmp_path / "voice.pth").info == {"official": "8epoch_144iteration", "lora_rank": 4}


def test_what_serves_training_alone_is_left_out_unless_it_is_wanted(tmp_path):
    state = {"enc_p.text_embedding.weight": torch.ones(732, 1), "enc_q.pre.weight": torch.ones(1)}
    checkpoint = Checkpoint("sovits", "v2", {"model": {}}, state)

    write_official(tmp_path / "voice.pth", checkpoint)
    write_official(tmp_path / "base.pth", checkpoint, posterior=True)

    assert list(read_official(tmp_path / "voice.pth").state) == ["enc_p.text_embedding.weight"]
    assert list(read_official(tmp_path / "base.pth").state) == list(state)


def test_a_plain_config_needs_no_class(tmp_path):
    write_official(tmp_path / "voice.pth", Checkpoint("sovits", "v3", {"model": {"a": 1}}, LORA), plain_config=True)

    content = torch.load(io.BytesIO(b"PK" + (tmp_path / "voice.pth").read_bytes()[2:]), weights_only=True)

    assert content["config"] == {"model": {"a": 1, "version": "v3"}, "version": "v3"}
    assert content["lora_rank"] == 4


@pytest.mark.parametrize(("version", "header"), [("v3", b"03"), ("v4", b"04")])
def test_a_lora_has_its_own_mark(version, header, tmp_path):
    write_official(tmp_path / "lora.pth", Checkpoint("sovits", version, {"model": {}}, LORA))

    assert (tmp_path / "lora.pth").read_bytes()[:2] == header
    assert read_official(tmp_path / "lora.pth").version == version


@pytest.mark.parametrize(
    ("version", "state", "message"),
    [
        ("nano", FLOW, "nano is of this program's own"),
        ("v4", FLOW, "every whole v4 model"),
        ("v2Pro", LORA, "not those of v2Pro"),
    ],
)
def test_what_upstream_cannot_tell_is_not_written(version, state, message, tmp_path):
    with pytest.raises(ModelError, match=message) as error:
        write_official(tmp_path / "voice.pth", Checkpoint("sovits", version, {"model": {}}, state))

    assert error.value.code == "no_official_form"
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "voice.pth"
    path.write_bytes(b"old")

    with pytest.raises(ModelError, match=r"ref_enc\.x is not finite"):
        write_official(path, Checkpoint("sovits", "v2", {"model": {}}, {"ref_enc.x": torch.full((1,), 1e6)}))

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def whole_flow(path: Path, **model) -> Path:
    torch.save({"weight": FLOW, "config": {"model": model}, "info": ""}, path)
    return path


def test_v3_and_v4_are_not_guessed(tmp_path):
    path = whole_flow(tmp_path / "flow.pth", version="v2")

    with pytest.raises(ModelError, match="whether it is v3 or v4") as error:
        read_official(path)

    assert error.value.code == "unknown_version"
    assert "--version v4" in error.value.hint


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_the_config_or_the_caller_tells_v3_from_v4(version, tmp_path):
    assert read_official(whole_flow(tmp_path / "said.pth", version=version)).version == version
    assert read_official(whole_flow(tmp_path / "silent.pth"), version=version).version == version


def test_a_mark_tells_v3_from_v4(tmp_path):
    path = whole_flow(tmp_path / "flow.pth", version="v4")
    path.write_bytes(b"02" + path.read_bytes()[2:])

    assert read_official(path).version == "v3"


def test_the_sum_of_an_official_file_tells_its_version(tmp_path, monkeypatch):
    path = whole_flow(tmp_path / "flow.pth")
    first = hashlib.md5(path.read_bytes()[:8192]).hexdigest()
    name = "gsv-v4-pretrained/s2Gv4.pth"
    monkeypatch.setitem(identity.FILES, name, OfficialFile(name, "", first_md5=first))

    assert read_official(path).version == "v4"


def test_a_version_that_the_tensors_contradict_is_refused(tmp_path):
    path = whole_flow(tmp_path / "flow.pth")

    with pytest.raises(ModelError, match=r"flow\.pth holds the sovits weights of v3 or v4, and v2 was asked for"):
        read_official(path, version="v2")


def test_a_file_of_another_kind_is_named_with_what_was_expected(tiny_voice):
    gpt, _ = tiny_voice("v2")

    with pytest.raises(ModelError, match=r"holds v2 gpt weights, and sovits weights were expected\."):
        open_checkpoint(gpt, kind="sovits")


def test_a_version_may_be_given_for_a_file_of_ours_too(tiny_voice):
    gpt, sovits = tiny_voice("v2")

    assert open_checkpoint(gpt, version="v2Pro").version == "v2Pro"
    with pytest.raises(ModelError, match="v1 was asked for"):
        open_checkpoint(sovits, version="v1")


def test_a_resume_file_of_the_second_stage_opens(tmp_path):
    state = {"discriminators.7.conv_post.bias": torch.ones(1)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": [{"betas": (0.8, 0.99)}]}
    torch.save({"model": state, "iteration": 12, "optimizer": optimizer, "learning_rate": 1e-4}, tmp_path / "D_9.pth")

    checkpoint = read_official(tmp_path / "D_9.pth")

    assert (checkpoint.kind, checkpoint.version) == ("discriminator", "v2Pro")
    assert checkpoint.info == {"layout": "resume", "epoch": 12}
    assert checkpoint.state["discriminators.7.conv_post.bias"].dtype == torch.float32


def test_what_lightning_leaves_beside_the_weights_is_passed_over(tmp_path, monkeypatch):
    parsing = ModuleType("lightning_fabric.utilities.data")
    parsing.AttributeDict = type("AttributeDict", (dict,), {"__module__": parsing.__name__})
    for name in ("lightning_fabric", "lightning_fabric.utilities", parsing.__name__):
        monkeypatch.setitem(sys.modules, name, parsing)
    parameters = parsing.AttributeDict(config={"model": {"head": 16}}, output_dir=PurePosixPath("/home/me/logs"))
    torch.save(
        {
            "state_dict": {"model.ar_text_embedding.word_embeddings.weight": torch.ones(732, 2)},
            "epoch": 7,
            "global_step": 96,
            "hyper_parameters": parameters,
            "loops": {"fit_loop": {"state_dict": {}}},
            "optimizer_states": [{"state": {0: {"delta": torch.ones(2)}}}],
        },
        tmp_path / "epoch=7-step=96.ckpt",
    )

    checkpoint = read_official(tmp_path / "epoch=7-step=96.ckpt")

    assert (checkpoint.kind, checkpoint.version) == ("gpt", "v2")
    assert checkpoint.config == {"model": {"head": 16}}
    assert checkpoint.info == {"layout": "resume", "epoch": 7, "step": 96}


BARE = {
    "hubert": {"feature_extractor.conv_layers.0.conv.weight": torch.ones(2)},
    "speaker_vector": {"conv1.weight": torch.ones(2), "seg_1.weight": torch.ones(2)},
    "roberta": {"bert.embeddings.word_embeddings.weight": torch.ones(2)},
    "vocoder": {"conv_pre.weight": torch.ones(2), "resblocks.0.convs1.0.weight": torch.ones(2)},
}


@pytest.mark.parametrize("kind", BARE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_bare_weights_are_known_and_keep_their_dtype(kind, dtype, tmp_path):
    torch.save({name: tensor.to(dtype) for name, tensor in BARE[kind].items()}, tmp_path / "model.bin")

    checkpoint = read_official(tmp_path / "model.bin")
    write_official(tmp_path / "again.bin", checkpoint)

    assert checkpoint.kind == kind
    assert {tensor.dtype for tensor in checkpoint.state.values()} == {dtype}
    assert torch.load(tmp_path / "again.bin", weights_only=True).keys() == BARE[kind].keys()
    assert {tensor.dtype for tensor in read_official(tmp_path / "again.bin").state.values()} == {dtype}


def test_bigvgan_keeps_its_wrapper(tmp_path):
    torch.save({"generator": {"activation_post.act.alpha": torch.ones(3)}}, tmp_path / "bigvgan_generator.pt")

    checkpoint = read_official(tmp_path / "bigvgan_generator.pt")
    write_official(tmp_path / "again.pt", checkpoint)

    assert (checkpoint.kind, checkpoint.version) == ("vocoder", "v3")
    assert list(torch.load(tmp_path / "again.pt", weights_only=True)) == ["generator"]


def test_views_shared_storages_and_parameters_are_read_as_they_are(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    state = {"enc_p.a": table, "enc_p.b": table.T, "enc_p.c": table[1:, 2], "enc_p.d": torch.nn.Parameter(table)}
    torch.save({"weight": state, "config": {"model": {"version": "v2"}}}, tmp_path / "views.pth")

    mapped = read_official(tmp_path / "views.pth").state

    assert all(torch.equal(mapped[name], tensor) for name, tensor in state.items())


def test_what_is_loaded_is_the_callers_own(tmp_path):
    path = whole_flow(tmp_path / "flow.pth", version="v3")
    before = path.read_bytes()

    read_official(path).state["cfm.estimator.proj_out.weight"].zero_()

    assert path.read_bytes() == before
    assert read_official(path).state["cfm.estimator.proj_out.weight"].sum() == 4


def test_an_archive_whose_records_lie_anywhere_is_read(tmp_path):
    path = whole_flow(tmp_path / "flow.pth", version="v3")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "odd.pth", "w") as odd:
        odd.writestr("flow/filler", b"x")
        for name in reversed(archive.namelist()):
            odd.writestr(name, archive.read(name))

    state = read_official(tmp_path / "odd.pth").state

    assert all(torch.equal(state[name], tensor) for name, tensor in FLOW.items())


def test_threads_may_read_at_once(tmp_path):
    path = tmp_path / "voice.pth"
    write_official(path, Checkpoint("sovits", "v3", {"model": {"a": 1}}, LORA))

    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda _: read_official(path).config["model"]["a"], range(40)))

    assert values == [1] * 40


@pytest.mark.parametrize("name", ["../v2", "/etc/passwd", "v2.yaml", "configs/v2", "V2\n", ""])
def test_a_recipe_is_never_a_path(name):
    with pytest.raises(ModelError) as error:
        load_config(name)

    assert error.value.code == "unknown_version"


def test_only_the_package_hands_yaml_to_the_reader_that_can_construct_anything():
    package = Path(configs.__file__).parents[1]
    users = [path for path in package.rglob("*.py") if "hyperpyyaml" in path.read_text(encoding="utf-8").lower()]

    assert [path.relative_to(package).as_posix() for path in users] == ["configs/__init__.py"]


def test_the_catalogue_of_weights_needs_no_torch():
    program = (
        "import sys, GPT_SoVITS.checkpoints.catalog, commands.checkpoint, GPT_SoVITS.checkpoints.download;"
        "print('torch' in sys.modules)"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "False"
