"""Tab completion: what the shells offer for a command line that was begun."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from commands.arguments import build_parser
from commands.completion import completion_script

BASH = """
source completion
complete -p sovitsd >registered
function_name=$(grep -o '_shtab_[a-z_]*' registered)
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
$function_name
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "source completion; complete -C '{words}'"
ZSH = """
autoload -Uz compinit && compinit -u -D
eval "$(<completion)"
print -r -- ${_comps[sovitsd]}
"""
BEGUN = [
    ("sovitsd qu", ["queue"]),
    ("sovitsd queue sh", ["show"]),
    ("sovitsd speak --lang", ["--language"]),
    ("sovitsd completion f", ["fish"]),
    ("sovitsd train talk", ["talk.wav"]),
    ("sovitsd speak --output talk", ["talk.wav"]),
]


def shell(name: str, script: str, folder: Path) -> list[str]:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    (folder / "completion").write_text(completion_script(build_parser(), name))
    (folder / "talk.wav").touch()
    ran = subprocess.run(
        [program, "-c", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return [line.partition("\t")[0] for line in ran.stdout.split("\n") if line]


@pytest.mark.parametrize(("words", "offered"), BEGUN)
@pytest.mark.parametrize(("name", "script"), [("bash", BASH), ("fish", FISH)], ids=["bash", "fish"])
def test_a_shell_completes_commands_options_choices_and_files(
    tmp_path: Path, name: str, script: str, words: str, offered: list[str]
) -> None:
    assert shell(name, script.format(words=words), tmp_path) == offered


def test_zsh_knows_what_completes_the_command(tmp_path: Path) -> None:
    assert shell("zsh", ZSH, tmp_path) == ["_shtab_sovitsd"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish", "tcsh"])
def test_the_script_is_for_the_command_that_is_on_the_path(name: str) -> None:
    script = completion_script(build_parser(), name)

    assert "sovitsd" in script
    assert "main.py" not in script
