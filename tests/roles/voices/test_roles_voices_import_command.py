"""`main.py voice import`: checkpoints that were trained elsewhere speak here, and what cannot speak leaves nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from foreign_voice_files import SAID, Home, write_gpt, write_home
from tiny_experiment import RATE, cached_weights, speech_like

import core.settings
from core.errors import RecordsUnavailable
from core.jobs.job import NewJob
from core.jobs.roles import SYNTHESIZER
from core.records.repositories.voices import VoiceRepository
from core.speech.requests import UtteranceRequest
from core.speech.sampling import SamplingOptions
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.checkpoints.official_files import write_official
from GPT_SoVITS.configs import merge_config
from GPT_SoVITS.pipeline import Pipeline
from main import main
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.synthesizer import Synthesizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cached_weights(tmp_path_factory)


@pytest.fixture
def home(tmp_path: Path, models: Callable[[str], Path], request: pytest.FixtureRequest) -> Home:
    """One to change; nothing is imported yet."""
    version = getattr(request, "param", "v2")
    return write_home(tmp_path, models(version), version)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, models: Callable[[str], Path]) -> Home:
    """One where bob lives, for tests that change nothing."""
    home = write_home(tmp_path_factory.mktemp("lived-in"), models("v2"))
    os.environ["DATA_PATH"] = str(home.data)
    core.settings.settings.cache_clear()
    try:
        assert main(home.arguments()) == 0
    finally:
        del os.environ["DATA_PATH"]
        core.settings.settings.cache_clear()
    return home


@pytest.fixture
def bobs(tmp_path: Path, lived_in: Home) -> Home:
    """Return a copy of it, to change."""
    return Home(shutil.copytree(lived_in.folder, tmp_path / "bobs"))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run commands on a home: (exit code, standard output, standard error)."""

    def command(home: Home, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("DATA_PATH", str(home.data))
        core.settings.settings.cache_clear()
        capsys.readouterr()
        code = main(list(arguments))
        answer = capsys.readouterr()
        return code, answer.out, answer.err

    yield command
    core.settings.settings.cache_clear()


@pytest.fixture
def synthesizer(home: Home, server: Any) -> Iterator[Synthesizer]:
    """Return the role as a worker of that home has it, started before anything is imported."""
    settings = core.settings.read_settings(data_path=home.data, redis_prefix=f"{home.folder.name}:")
    services = WorkerServices(settings, server.url, threads=1)
    role = Synthesizer()
    role.start(services)
    yield role
    role.stop()
    services.close()


def speak(role: Synthesizer, voice_id: str, text: str) -> tuple[dict[str, Any], np.ndarray]:
    """One job of the role; its result, and the samples that it kept."""
    request = UtteranceRequest(
        parent="speech-1",
        index=0,
        text=text,
        language="auto",
        voice_id=voice_id,
        seed=3,
        sampling=SamplingOptions(verify="off"),  # as the library speaks, right or wrong
    )
    role.services.queue.enqueue(NewJob(SYNTHESIZER, request.stored()))
    lease = role.services.queue.claim(SYNTHESIZER, "worker-1")
    assert lease is not None
    result = role.run(lease.job, JobContext(lease, role.services, threading.Event()))
    samples, _ = soundfile.read(role.services.storage.path(result["audio"]), dtype="float32")
    return result, samples


def test_an_official_voice_speaks_as_its_own_files_do(home: Home, run: Run, synthesizer: Synthesizer):
    expected = Pipeline.load(home.gpt, home.sovits, models=home.data / "models")
    prompt = expected.prepare_prompt(home.take, SAID, "zh")

    code, out, _ = run(home, *home.arguments())

    assert code == 0
    (voice,) = home.rows("voices")
    assert out == f"Imported the v2 voice bob ({voice['id']}).\n"
    shutil.rmtree(find_part(home.data / "models", "hubert"))  # only the import needed it
    result, samples = speak(synthesizer, voice["id"], "你好，世界。")
    np.testing.assert_allclose(samples, expected.speak("你好，世界。", "auto", prompt, seed=3).samples, atol=1e-4)
    assert (result["sample_rate"], result["skipped"]) == (32_000, [])
    assert len(samples) > 3_200


def test_the_records_are_those_of_a_voice_that_was_trained_here(lived_in: Home):
    (voice,) = lived_in.rows("voices")
    weights = {row["id"]: row for row in lived_in.rows("checkpoints")}

    (prompt,) = json.loads(voice["prompts"])
    assert (voice["name"], voice["version"], voice["language"], voice["exp_id"]) == ("bob", "v2", "zh", None)
    assert prompt.pop("tokens")
    assert prompt == {"name": "default", "audio": f"voices/{voice['id']}/prompt.wav", "text": SAID, "language": "zh"}
    gpt, sovits = weights.pop(voice["gpt_checkpoint_id"]), weights.pop(voice["sovits_checkpoint_id"])
    assert not weights
    assert (gpt["kind"], gpt["version"], gpt["name"], gpt["epoch"]) == ("gpt", "v2", "bob-gpt", 15)
    assert (sovits["kind"], sovits["name"], sovits["epoch"], sovits["step"]) == ("sovits", "bob-sovits", 8, 96)
    stored = lived_in.files()
    assert stored.keys() == {gpt["storage_key"], sovits["storage_key"], prompt["audio"]}
    for row, source in ((gpt, lived_in.gpt), (sovits, lived_in.sovits)):
        path = lived_in.data / "storage" / row["storage_key"]
        assert (row["sha256"], row["size_bytes"]) == (stored[row["storage_key"]], path.stat().st_size)
        brought, kept = open_checkpoint(source), open_checkpoint(path)
        assert (kept.config, kept.info) == (brought.config, brought.info)
        assert kept.state.keys() == brought.state.keys()
        assert all(torch.equal(kept.state[name], tensor) for name, tensor in brought.state.items())


@pytest.mark.parametrize("home", ["v2Pro", "v4"], indirect=True)
@pytest.mark.slow
def test_a_version_with_helpers_of_its_own_speaks(home: Home, run: Run, synthesizer: Synthesizer):
    code, _, complaint = run(home, *home.arguments(text="Good morning.", language="en-US"))

    assert code == 0, complaint
    (voice,) = home.rows("voices")
    _, samples = speak(synthesizer, voice["id"], "Hello.")
    assert voice["language"] == "en"
    assert len(samples) > 3_200
    assert np.abs(samples).max() > 1e-4


def test_the_same_files_give_the_same_weights_under_every_name(bobs: Home, run: Run):
    first = bobs.files(), bobs.rows("checkpoints")

    code, out, _ = run(bobs, *bobs.arguments("alice"))

    assert code == 0
    assert "voice alice" in out
    assert bobs.rows("checkpoints") == first[1]
    new = bobs.files().keys() - first[0].keys()
    assert [name.rpartition("/")[2] for name in new] == ["prompt.wav"]
    assert {row["name"] for row in bobs.rows("voices")} == {"alice", "bob"}


def test_voices_are_listed_shown_deleted_and_imported_again(bobs: Home, run: Run):
    before = bobs.everything()
    voice_id = before[2][0]["id"]

    listed = run(bobs, "voice", "list")[1]
    shown = run(bobs, "voice", "show", "bob")[1]
    deleted = run(bobs, "voice", "delete", "bob")[1]
    left = bobs.files()
    again = run(bobs, *bobs.arguments())

    assert listed.split() == [voice_id, "v2", "zh", "bob"]
    assert SAID in shown
    assert all(row["id"] in shown for row in before[1])
    assert deleted == f"Deleted the voice bob ({voice_id}); its weights are kept.\n"
    assert left.keys() == {row["storage_key"] for row in before[1]}
    assert again[0] == 0
    assert bobs.files() == before[0]
    assert run(bobs, "voice", "show", "nobody")[2] == "no voice named 'nobody'. Published voices: bob.\n"


def refused(home: Home, run: Run, *arguments: str) -> str:
    """Return the error of an import that must fail and change nothing."""
    before = home.everything()

    code, out, complaint = run(home, *arguments)

    assert (code, out) == (1, "")
    assert complaint.count("\n") == 1
    assert home.everything() == before
    assert not any((home.data / "storage" / ".tmp").iterdir())
    return complaint


def bare_gpt(home: Home) -> Path:
    path = home.folder / "bare.ckpt"
    torch.save(open_checkpoint(home.gpt).state, path)
    return path


def other_gpt(home: Home, version: str = "v2", tokens: int = 24) -> Path:
    path = home.folder / f"{version}-{tokens}.ckpt"
    write_gpt(path, version, tokens)
    return path


def gpt_with(home: Home, **sizes: Any) -> Path:
    """Whose settings are not those of its weights."""
    path = home.folder / "odd.ckpt"
    gpt = open_checkpoint(home.gpt)
    torch.save({"weight": gpt.state, "config": merge_config(gpt.config, {"model": sizes}), "info": ""}, path)
    return path


def silence(home: Home) -> Path:
    write_wav(home.folder / "silence.wav", np.zeros(5 * RATE, np.float32), RATE)
    return home.folder / "silence.wav"


def sound(home: Home, seconds: float, kept: int | None = None) -> Path:
    """Write the first `kept` bytes of a recording."""
    path = home.folder / f"{seconds}-{kept}.wav"
    write_wav(path, speech_like(seconds, seed=1), RATE)
    path.write_bytes(path.read_bytes()[:kept])
    return path


@dataclass
class Attack:
    """Code that runs when a pickle is read without care."""

    trace: Path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def attack(home: Home) -> Path:
    path = home.folder / "attack.pth"
    torch.save({"weight": {}, "config": Attack(home.folder / "trace"), "info": ""}, path, pickle_module=pickle)
    return path


def no_lora(home: Home) -> Path:
    """Put a LoRA of v4 into a home of v2."""
    path = home.folder / "lora.pth"
    layer = "cfm.base_model.model.estimator.transformer_blocks.0.attn.to_q"
    state = {f"{layer}.lora_A.default.weight": torch.ones(4, 2), f"{layer}.lora_B.default.weight": torch.ones(2, 4)}
    write_official(path, Checkpoint("sovits", "v4", {"model": {"n_heads": 2}}, state, {}))
    return path


REFUSALS: dict[str, tuple[Callable[[Home], dict[str, Any]], str]] = {
    "files in each other's place": (
        lambda home: {"gpt": home.sovits, "sovits": home.gpt},
        r"bob_e8_s96\.pth holds v2 sovits weights, and gpt weights were expected",
    ),
    "no such file": (lambda home: {"gpt": home.folder / "none.ckpt"}, r"none\.ckpt"),
    "a recording as weights": (lambda home: {"sovits": home.take}, r"take\.wav is a RIFF file"),
    "code in a file": (lambda home: {"sovits": attack(home)}, r"attack\.pth asks for .*mkdir.*it was not opened"),
    "a GPT without settings": (lambda home: {"gpt": bare_gpt(home)}, r"bare\.ckpt holds the weights of a GPT without"),
    "another family": (
        lambda home: {"gpt": other_gpt(home, "v1")},
        r"The GPT checkpoint is v1, the SoVITS checkpoint v2",
    ),
    "another codebook": (
        lambda home: {"gpt": other_gpt(home, tokens=32)},
        r"speaks 32 semantic tokens, the SoVITS checkpoint knows 24",
    ),
    "settings of another GPT": (lambda home: {"gpt": gpt_with(home, n_layer=3)}, r"do not fit their configuration"),
    "settings of no GPT": (lambda home: {"gpt": gpt_with(home, head=0)}, r"GPTConfig\.head is 0"),
    "a version that it is not": (lambda home: {"version": "v4"}, r"holds the sovits weights of v2, and v4 was asked"),
    "a LoRA without its base": (
        lambda home: {"sovits": no_lora(home)},
        r"the base of that LoRA, vocoder\. `main\.py download v4` fetches them",
    ),
    "no recording": (lambda home: {"prompt": home.folder / "none.wav"}, r"There is no recording at .*none\.wav"),
    "no sound": (lambda home: {"prompt": home.gpt}, r"bob-e15\.ckpt: It is no sound file"),
    "too short": (lambda home: {"prompt": sound(home, 2.0)}, r"lasts 2\.0 s\. A prompt of v2 lasts 3 to 10 s"),
    "too long": (lambda home: {"prompt": sound(home, 11.0)}, r"lasts 11\.0 s\. A prompt of v2 lasts 3 to 10 s"),
    "cut off": (lambda home: {"prompt": sound(home, 5.0, kept=300_000)}, r"wav: The recording breaks off after 4\.7 s"),
    "silent": (lambda home: {"prompt": silence(home)}, r"silence\.wav: Nothing can be heard"),
    "no words": (lambda home: {"text": " "}, r"The text of the recording is empty\."),
    "words that nobody can read": (lambda home: {"text": "…", "language": "en"}, r"The text holds nothing to say"),
    "no language": (lambda home: {"language": "klingon"}, r"The language 'klingon' cannot be spoken"),
    "a taken name": (lambda home: {}, r"The name 'bob' is taken: there is the v2 voice bob \(voice-"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_speak_is_refused_with_a_sentence_and_leaves_nothing(lived_in: Home, run: Run, case: str):
    arguments, expected = REFUSALS[case]
    name = "bob" if case == "a taken name" else "alice"

    complaint = refused(lived_in, run, *lived_in.arguments(name, **arguments(lived_in)))

    assert re.search(expected, complaint), complaint
    assert not (lived_in.folder / "trace").exists()


@pytest.mark.parametrize("name", ["", " ", "two\nlines", 101 * "x"])
def test_a_name_is_one_visible_line(lived_in: Home, run: Run, name: str):
    assert "name" in refused(lived_in, run, *lived_in.arguments(name))


@pytest.mark.parametrize(("part", "language"), [("hubert", "en"), ("roberta", "zh")])
def test_a_helper_that_is_missing_is_named_with_the_command_that_fetches_it(
    bobs: Home, run: Run, part: str, language: str
):
    find_part(bobs.data / "models", part).joinpath("config.json").unlink()

    complaint = refused(bobs, run, *bobs.arguments("alice", language=language))

    assert complaint.endswith(f": {part}. `main.py download {part}` fetches them.\n")


@pytest.mark.parametrize("is_stored", [False, True])
def test_an_import_that_fails_at_its_end_takes_back_what_was_new(
    bobs: Home, run: Run, monkeypatch: pytest.MonkeyPatch, is_stored: bool
):
    async def unavailable(*_: Any, **__: Any) -> None:
        raise RecordsUnavailable("The database is away.")

    if not is_stored:
        write_gpt(bobs.gpt, "v2", seed=9)
    monkeypatch.setattr(VoiceRepository, "create", unavailable)

    assert refused(bobs, run, *bobs.arguments("alice")) == "The database is away.\n"


def test_a_name_that_a_voice_was_given_later_does_not_hide_that_it_is_imported(bobs: Home, run: Run):
    with sqlite3.connect(bobs.data / "sovitsd.sqlite3") as database:
        database.execute("UPDATE voices SET name = 'robert'")

    complaint = refused(bobs, run, *bobs.arguments())

    assert "imported already, with this recording and text: there is the v2 voice robert" in complaint


@pytest.mark.slow
def test_an_import_that_is_killed_leaves_no_voice_and_the_next_one_succeeds(home: Home, run: Run):
    script = Path(__file__).parent / "killed_import.py"
    environment = {**os.environ, "DATA_PATH": str(home.data), "PYTHONPATH": str(script.parents[3])}

    answer = subprocess.run(
        [sys.executable, str(script), *home.arguments()],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=200,
    )

    deaths = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(deaths) == 5
    assert all(death["signal"] == signal.SIGKILL for death in deaths), deaths
    assert home.rows("voices") == []
    assert run(home, *home.arguments())[0] == 0
    stored = home.files()
    (voice,) = home.rows("voices")
    kept = {row["storage_key"]: row["sha256"] for row in home.rows("checkpoints")}
    assert {name: stored[name] for name in kept} == kept
    assert stored.keys() - kept.keys() - {name for name in stored if name.startswith(".tmp/")} == {
        f"voices/{voice['id']}/prompt.wav"
    }
