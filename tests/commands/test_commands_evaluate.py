"""`main.py evaluate` finds the voice, shows each sentence as it is judged, and writes the numbers down."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands import evaluate as command
from core.errors import InvalidRequest, SovitsError, VoiceNotFound
from core.records import NewCheckpointRecord, NewVoiceRecord, Records, upgrade
from core.records.models.voices import VoicePrompt
from core.settings import REPOSITORY, Settings, read_settings
from main import main

ROW = {
    "text": "Close the old door.",
    "heard": "close the the door",
    "wer": 0.5,
    "cer": 0.4,
    "similarity": 0.81,
    "dnsmos": 3.2,
    "rtf": 0.25,
    "f0_low": 101.2,
    "f0_high": 208.9,
    "repeated": ["the"],
    "skipped": ["old"],
    "seconds": 1.5,
}
MEAN = {name: ROW[name] for name in ("wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "f0_high")}
PROGRAM = """
import json, pathlib, sys
request = json.loads(pathlib.Path(sys.argv[1]).read_text())
pathlib.Path("{folder}/seen.json").write_text(json.dumps(request))
for event in json.loads(pathlib.Path("{folder}/script.json").read_text()):
    print(json.dumps(event), flush=True)
sys.exit({code})
"""
SPOKEN = [
    {"event": "sentence", "voice": "allison", "number": 1, "of": 1, "fraction": 1.0, **ROW},
    {
        "event": "voice",
        "name": "allison",
        "language": "en",
        "mean": {**MEAN, "repeated": 1.0, "skipped": 1.0},
        "sentences": [ROW],
    },
    {"event": "done"},
]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = read_settings(data_path=tmp_path / "data")
    settings.data_path.mkdir()
    monkeypatch.setattr("core.settings.settings", lambda: settings)
    return settings


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In the place of the one that speaks: keeps the request and says what it is told to."""

    def say(events: list[dict], code: int = 0) -> Path:
        (tmp_path / "fake_evaluation.py").write_text(PROGRAM.format(folder=tmp_path, code=code))
        (tmp_path / "script.json").write_text(json.dumps(events))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(command, "EVALUATION", "fake_evaluation")
        monkeypatch.setattr("common.programs.PROGRAMS", ("fake_evaluation",))
        return tmp_path / "seen.json"

    return say


def test_a_bundled_prompt_speaks_with_the_base(settings, program, capsys):
    seen = program(SPOKEN)

    code = main(["evaluate", "allison", "--device", "cpu"])

    request = json.loads(seen.read_text())
    assert code == 0
    assert request["voices"] == [{"name": "allison", "base": "nano"}]
    assert request["prompt"]["text"].startswith("The number you have dialed")
    shown = capsys.readouterr().out
    assert "50%" in shown
    assert "heard: close the the door" in shown
    assert "skipped: old" in shown
    assert "said twice: the" in shown
    assert "101–209" in shown
    assert "mean of 1 sentences" in shown


def test_a_voice_speaks_with_its_own_weights_and_prompt(settings, program, tmp_path):
    seen = program(SPOKEN)
    upgrade(settings.resolved_database_url)
    asyncio.run(publish(settings))
    mine = tmp_path / "mine.txt"
    mine.write_text("One sentence.\n")

    code = main(["evaluate", "bob", "--sentences", str(mine), "--language", "en", "--device", "cpu"])

    request = json.loads(seen.read_text())
    root = settings.storage_root
    assert code == 0
    assert request["voices"] == [
        {
            "name": "bob",
            "gpt": str(root / "checkpoints" / "ckpt-g.safetensors"),
            "sovits": str(root / "checkpoints" / "ckpt-s.safetensors"),
        }
    ]
    assert request["prompt"]["tokens"] == [1, 2, 3]
    assert (request["file"], request["language"]) == (str(mine), "en")


async def publish(settings: Settings) -> None:
    records = Records(settings.resolved_database_url)
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind[0]}", kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
        )
    audio = "voices/v/prompt.wav"
    prompt: VoicePrompt = {"name": "default", "audio": audio, "text": "Hi.", "language": "en", "tokens": [1, 2, 3]}
    await records.voices.create(
        NewVoiceRecord(
            name="bob",
            version="nano",
            language="en",
            gpt_checkpoint_id="ckpt-g",
            sovits_checkpoint_id="ckpt-s",
            prompts=[prompt],
        )
    )
    await records.close()


def test_the_numbers_go_into_a_file(settings, program, tmp_path):
    program(SPOKEN)
    target = tmp_path / "numbers.json"

    main(["evaluate", "allison", "--json", str(target), "--device", "cpu"])

    report = json.loads(target.read_text())
    assert report.keys() == {"voice", "language", "mean", "sentences"}
    assert report["mean"].keys() >= {"wer", "similarity", "dnsmos", "rtf"}
    assert report["sentences"] == [ROW]
    assert [path.name for path in tmp_path.glob(".numbers*")] == []


def test_numbers_on_the_terminal_are_nothing_but_json(settings, program, capsys):
    program(SPOKEN)

    main(["evaluate", "allison", "--json", "-", "--device", "cpu"])

    assert json.loads(capsys.readouterr().out)["voice"] == "allison"


def test_what_nobody_knows_is_shown_as_a_dash(settings, program, capsys):
    unspoken = ROW | dict.fromkeys(("similarity", "dnsmos", "rtf", "f0_low", "f0_high")) | {"heard": ""}
    program([SPOKEN[0] | unspoken, SPOKEN[1], SPOKEN[2]])

    main(["evaluate", "allison", "--device", "cpu"])

    shown = capsys.readouterr().out.splitlines()
    assert shown[0].count("–") == 4
    assert "heard: (nothing)" in shown[1]


def options(*arguments: str):
    from commands.arguments import build_parser

    return build_parser().parse_args(["evaluate", *arguments])


def test_an_unknown_name_lists_voices_and_prompts(settings):
    with pytest.raises(VoiceNotFound, match="nobody") as refused:
        command.evaluate(options("nobody"), settings)

    assert "Bundled prompts: allison" in refused.value.hint


def test_a_file_that_is_not_there_is_named(settings):
    with pytest.raises(InvalidRequest, match=r"no file gone\.txt"):
        command.evaluate(options("allison", "--sentences", "gone.txt"), settings)


def test_what_the_program_refuses_is_said(settings, program):
    program(
        [{"event": "error", "code": "bad_sentences", "message": "It holds no sentences.", "hint": "Write some."}], 1
    )

    with pytest.raises(SovitsError, match="holds no sentences") as refused:
        command.evaluate(options("allison", "--device", "cpu"), settings)

    assert refused.value.hint == "Write some."


def test_a_program_that_dies_shows_its_last_words(settings, program, tmp_path):
    program([])
    (tmp_path / "fake_evaluation.py").write_text("import sys\nsys.exit('Bus error')\n")

    with pytest.raises(SovitsError, match="exit code 1") as refused:
        command.evaluate(options("allison", "--device", "cpu"), settings)

    assert "Bus error" in refused.value.hint


def test_numbers_that_cannot_be_written_are_no_traceback(settings, program, tmp_path):
    program(SPOKEN)

    with pytest.raises(InvalidRequest, match="cannot be written"):
        command.evaluate(options("allison", "--json", str(tmp_path / "no" / "x.json"), "--device", "cpu"), settings)


def test_the_command_itself_loads_no_torch():
    code = "import main, sys; main.build_parser(); import commands.evaluate; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
