"""The options of every command."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, TypeAlias

from commands.backup_arguments import (
    add_backup_commands,
    add_registry_commands,
    add_restore_command,
    add_standby_commands,
)
from commands.terminal import HeadingFormatter
from common.limits import MAX_API_WORKERS
from common.program_name import program_name
from common.versions import VERSIONS
from scripts.demo_language import DEMO_LANGUAGES, locale_language

Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"


class CommandParser(argparse.ArgumentParser):
    """The parser of one command, whose help has headings as that of all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HeadingFormatter, **options})


class VersionAction(argparse.Action):
    """Print the version, which takes a moment to find out, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> None:
        from common.package_version import package_version

        print(f"sovitsd {package_version()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name(),
        description="sovitsd: recordings in, voices and speech out.",
        epilog="Settings: see env.example. `COMMAND --help` explains a command.",
        formatter_class=HeadingFormatter,
    )
    parser.add_argument("--version", action=VersionAction, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser)
    parser.set_defaults(command="serve", roles="", without_api=False, api_workers=None)

    _add_process_commands(commands)
    _add_server_commands(commands)
    _add_queue_commands(commands.add_parser("queue", help="look into the queue and move jobs"))
    _add_key_commands(commands.add_parser("keys", help="make, list and revoke API keys"))
    _add_voice_commands(commands.add_parser("voice", help="import voices that were trained elsewhere; list, delete"))
    _add_checkpoint_commands(commands.add_parser("checkpoint", help="look into files of weights and convert them"))
    _add_speech_commands(commands)

    download = commands.add_parser("download", help="fetch official weights; without a name, list them")
    download.add_argument("names", nargs="*", metavar="NAME", help="v1, v2, v2Pro, v2ProPlus, v3, v4, or a part")
    download.add_argument(
        "--mirror", default="", metavar="URL", help="ask this host, or modelscope (default: HF_ENDPOINT)"
    )

    doctor = commands.add_parser("doctor", help="show devices, plan, versions, data, and what is missing")
    doctor.add_argument("--bundle", metavar="FILE", help="write an archive for a bug report, without secrets: .tar.gz")
    _add_json(doctor, download)

    completion = commands.add_parser("completion", help="print what completes commands by the tab key")
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"))

    _add_audit_command(commands.add_parser("audit", help="show who changed what, and who was rejected"))

    add_backup_commands(commands.add_parser("backup", help="make, list, verify and delete backups"))
    add_restore_command(commands.add_parser("restore", help="restore a backup into an empty folder and try it out"))
    add_registry_commands(commands.add_parser("registry", help="what each voice is made of, by its hashes"))
    add_standby_commands(commands.add_parser("standby", help="watch the main site, take over, practise, give back"))

    demo = commands.add_parser("demo", help="train a small voice here and let it speak")
    demo.add_argument("--output", default="demo", metavar="FOLDER", help="where the results go (default: demo)")
    demo.add_argument("--quality", choices=("fast", "standard", "high"), default="fast")
    demo.add_argument(
        "--language",
        choices=tuple(DEMO_LANGUAGES),
        default=locale_language(),
        help="what is trained from and spoken (default: zh where the locale is Chinese, else en)",
    )
    _add_json(demo)
    return parser


def _add_process_commands(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run everything on this host (the default)")
    serve.add_argument("--roles", default="", metavar="A,B", help="only these roles (default: all)")
    serve.add_argument("--without-api", action="store_true", help="workers only; another host has the API")
    serve.add_argument(
        "--api-workers", type=_worker_count, metavar="N", help="processes of the API behind the one port (API_WORKERS)"
    )

    api = commands.add_parser("api", help="run only the API")
    api.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)

    work = commands.add_parser("work", help="run one worker of a role")
    work.add_argument("role", metavar="ROLE")
    work.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:<UUID or number> (default: cpu)")
    work.add_argument("--index", type=int, default=0, help="its number among the role's workers")
    work.add_argument("--nice", type=int, default=0, help="how far it gives way to other processes, 0 to 19")
    work.add_argument(
        "--dedicated", "--only-asked", action="store_true", help="take only jobs that are constrained to this device"
    )
    work.add_argument("--nonce", default="", help=argparse.SUPPRESS)
    work.add_argument("--role-class", default="", help=argparse.SUPPRESS)


def _add_server_commands(commands: Commands) -> None:
    """Add the commands that speak to a running server, here or elsewhere."""
    parsers = (*_add_speaking(commands), *_add_training(commands), *_add_voices_and_prompts(commands))
    for command in parsers:
        command.add_argument(
            "--url",
            default="",
            help="another server (default: SOVITSD_URL, else the one that runs on this data folder)",
        )
        command.add_argument("--api-key", default="", metavar="KEY", help="default: SOVITSD_API_KEY")
    _add_json(*parsers)


def _add_speaking(commands: Commands) -> tuple[CommandParser, ...]:
    speak = commands.add_parser("speak", help="speak a text through the running API")
    speak.add_argument("text", nargs="?", default="", help="the text; - or --stdin reads what is piped in")
    speak.add_argument("--stdin", action="store_true", help="read the text from standard input")
    speak.add_argument("--voice", required=True, help="name or id of a voice")
    speak.add_argument(
        "--output",
        default="",
        metavar="FILE",
        help="audio file, whose ending chooses the format (default: speech.wav unless --play)",
    )
    speak.add_argument("--play", action="store_true", help="play it while it is generated")
    speak.add_argument("--language", default="", metavar="CODE", help="of the text (default: found by itself)")
    speak.add_argument("--speed", type=float, default=1.0, help="0.25 to 4 (default: 1)")
    speak.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same audio")
    speak.add_argument("--loudness", type=float, metavar="LUFS", help="such as -16 (default: as the voice says)")
    speak.add_argument("--true-peak", type=float, metavar="DBTP", help="which speech with a loudness does not exceed")
    speak.add_argument("--trim-silence", action="store_true", default=None, help="drop silence before and after it")
    speak.add_argument(
        "--subtitles", metavar="FILE", help="write subtitles as well: .srt, .vtt, or .json with every word"
    )
    speak.add_argument("--max-line-characters", type=int, default=42, help="of a line of the subtitles (default: 42)")

    dub = commands.add_parser("dub", help="speak subtitles, every cue at its time")
    dub.add_argument("subtitles", metavar="FILE", help="SRT or WebVTT")
    dub.add_argument("--voice", default="", help="name or id of a voice, for speakers that --speaker leaves out")
    dub.add_argument(
        "--speaker", action="append", default=[], metavar="NAME=VOICE", help="the voice of a speaker; may come again"
    )
    dub.add_argument("--output", default="speech.wav", metavar="FILE", help="audio file (default: %(default)s)")
    dub.add_argument("--min-speed", type=float, default=1.0, help="how slowly a cue may fill its time (default: 1)")
    dub.add_argument("--max-speed", type=float, default=1.5, help="how fast a cue may be spoken to fit (default: 1.5)")
    return speak, dub


def _add_training(commands: Commands) -> tuple[CommandParser, ...]:
    train = commands.add_parser("train", help="make a voice of a recording")
    train.add_argument("recording", metavar="RECORDING", help="audio file, or a ZIP of some")
    train.add_argument("--name", required=True, help="of the voice")
    train.add_argument("--language", metavar="CODE", help="of the recording: zh, en, ja, ko, yue or auto (default: zh)")
    train.add_argument("--quality", choices=("fast", "standard", "high"), help="default: standard")
    train.add_argument("--version", metavar="V", help=f"{', '.join(VERSIONS)} (default: the server's)")
    train.add_argument("--no-wait", action="store_true", help="end once the task waits for its turn")

    upload = commands.add_parser("upload", help="upload recordings, and print their ids")
    upload.add_argument("files", nargs="+", metavar="FILE")
    tasks = commands.add_parser("tasks", help="list trainings")
    tasks.add_argument("--status", choices=("queued", "running", "completed", "failed", "cancelled"), default=None)
    tasks.add_argument("-n", "--limit", type=int, default=50, help="newest tasks (default: %(default)s)")
    watch = commands.add_parser("watch", help="show how far a training is, until it has ended")
    cancel = commands.add_parser("cancel", help="stop a training; what is finished stays")
    for command in (watch, cancel):
        command.add_argument("task", metavar="ID")
    return train, upload, tasks, watch, cancel


def _add_voices_and_prompts(commands: Commands) -> tuple[CommandParser, ...]:
    voices = commands.add_parser("voices", help="list the voices of a server")
    prompts = commands.add_parser("prompts", help="propose the best passages of a voice's recordings as prompts")
    prompts.add_argument("voice", metavar="NAME_OR_ID")
    prompts.add_argument(
        "--recording", default="", metavar="FILE", help="a recording of the speaker, in place of what it was trained on"
    )
    prompts.add_argument("-n", "--count", type=int, default=5, help="how many passages (default: %(default)s)")
    prompts.add_argument("--save", default="", metavar="FOLDER", help="write the passages there, as 1.wav, 2.wav …")
    prompts.add_argument("--add", type=int, metavar="N", help="add the passage of this number to the voice's prompts")
    prompts.add_argument("--name", default="", help="of the prompt that is added, such as an emotion")
    return voices, prompts


def _worker_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_API_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_API_WORKERS}")
    return int(text)


def _add_json(*parsers: argparse.ArgumentParser) -> None:
    for parser in parsers:
        parser.add_argument("--json", action="store_true", help="as JSON")


def _add_item_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], explained: Mapping[str, str], item: str, metavar: str
) -> None:
    """Add commands that take one item each; `explained` are their names with the sentences of the help."""
    for name, help_text in explained.items():
        command = commands.add_parser(name, help=help_text)
        command.add_argument(item, metavar=metavar)
        _add_json(command)


def _add_speech_commands(commands: Commands) -> None:
    detect = commands.add_parser("detect", help="find out whether a recording was spoken by this installation")
    detect.add_argument("file", metavar="FILE")
    detect.add_argument("--json", action="store_true", help="as JSON")

    evaluate = commands.add_parser("evaluate", help="measure how well a voice speaks, sentence by sentence")
    evaluate.add_argument("voice", metavar="VOICE", help="name or id of a voice, or name of a bundled prompt")
    evaluate.add_argument("--sentences", default="", metavar="FILE", help="one a line (default: packaged ones)")
    evaluate.add_argument("--language", default="", metavar="CODE", help="of the sentences (default: the prompt's)")
    evaluate.add_argument(
        "--json",
        nargs="?",
        const="-",
        default="",
        metavar="FILE",
        help="write the numbers there; - or none prints them",
    )
    evaluate.add_argument("--device", choices=("cpu", "cuda"), default="", help="default: a GPU where there is one")

    text = commands.add_parser("text", help="show how a text is pronounced: languages, words, phonemes and their ids")
    text.add_argument("text", metavar="TEXT", help="the text, with marks or SSML; - reads what is piped in")
    text.add_argument("--language", default="auto", metavar="CODE", help="auto, zh, en, ja, ko, yue, all_zh, …")
    text.add_argument("--version", choices=VERSIONS, default="v2")
    text.add_argument("--input-type", default="auto", help="auto, text (no marks), marks or ssml")
    text.add_argument("--pronunciation", action="append", default=[], metavar="WORD=READING", help="may come again")
    text.add_argument("--json", action="store_true", help="as JSON")


def _add_queue_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="queue_command", metavar="COMMAND", required=True)
    _add_json(commands.add_parser("list", help="waiting jobs of each role, and the workers"))
    _add_json(commands.add_parser("dead", help="jobs that failed for good"))
    explained = {"show": "everything about one job", "replay": "run a dead job again", "cancel": "stop a job"}
    _add_item_commands(commands, explained, "job", "JOB")


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="keys_command", metavar="COMMAND", required=True)
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--admin", action="store_true", help="may do everything, also with what belongs to other keys")
    create.add_argument("--scopes", default="", help="of speak, train, read, admin; default: the first three")
    create.add_argument("--consent", default="", help="statement that the speakers of its owner's voices agreed")
    create.add_argument("--owner", default="", help="keys of one owner share what they create; default: the name")
    create.add_argument("--expires", default="", metavar="WHEN", help="after 30d or 12h, or at a date like 2027-01-31")
    create.add_argument("--quota-jobs", type=int, metavar="N", help="most jobs that have not ended")
    create.add_argument("--quota-bytes", type=int, metavar="N", help="most bytes of files and checkpoints")
    create.add_argument("--quota-characters", type=int, metavar="N", help="most characters to synthesize a day")
    create.add_argument("--quota-requests", type=int, metavar="N", help="most requests a minute")
    create.add_argument("--if-none", action="store_true", help="only if no key was ever created")
    _add_json(create, commands.add_parser("list", help="all keys, without their secrets"))
    revoke = commands.add_parser("revoke", help="end a key")
    revoke.add_argument("key", metavar="NAME_OR_ID")
    reopen = commands.add_parser("open", help="how to need no key again, after the last was revoked")
    _add_json(revoke, reopen)
    reopen.add_argument("--yes", action="store_true", help="do it: forget the revoked keys")


def _add_audit_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--lines", type=int, default=50, help="newest entries (default: %(default)s)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new entries as they come")
    parser.add_argument("--caller", default="", metavar="KEY_ID", help="only those of an API key")
    parser.add_argument("--address", default="", metavar="IP", help="only those from an address")
    parser.add_argument("--method", default="", help="only POST, DELETE …")
    parser.add_argument("--path", default="", help="only paths that begin so")
    parser.add_argument("--request", default="", metavar="ID", help="only the request of this id")
    parser.add_argument("--result", choices=("done", "rejected", "failed"), default="")
    parser.add_argument("--status", type=int, default=None, help="only this HTTP status")
    parser.add_argument("--json", action="store_true", help="as JSON, one object a line")


def _add_voice_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="voice_command", metavar="COMMAND", required=True)
    add = commands.add_parser("import", help="make a voice of GPT-SoVITS checkpoints, v1 to v4, LoRA too")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--gpt", required=True, metavar="FILE", help="text to tokens: a .ckpt file")
    add.add_argument("--sovits", required=True, metavar="FILE", help="tokens to audio: a .pth file")
    add.add_argument("--prompt", required=True, metavar="FILE", help="recording of the voice, 3 to 10 s")
    add.add_argument("--text", required=True, help="what the recording says")
    add.add_argument("--language", required=True, help="of the recording: zh, en, ja, ko, yue or auto")
    add.add_argument("--version", help="of the SoVITS file, where it does not say: v1, v2, v2Pro, v2ProPlus, v3 or v4")
    _add_json(add, commands.add_parser("list", help="all voices"))
    explained = {"show": "what a voice is made of", "delete": "delete a voice, but not its weights"}
    _add_item_commands(commands, explained, "voice", "NAME_OR_ID")


def _add_checkpoint_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="checkpoint_command", metavar="COMMAND", required=True)
    inspect = commands.add_parser("inspect", help="say what a file is: kind, version, sizes, config, SHA-256")
    inspect.add_argument("file", metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    convert = commands.add_parser("convert", help="write its weights in another layout")
    convert.add_argument("source", metavar="IN")
    convert.add_argument("target", metavar="OUT")
    convert.add_argument("--to", choices=["official", "safetensors"], help="layout (default: by the ending of OUT)")
    convert.add_argument("--base", metavar="FILE", help="merge a LoRA into this base of its version")
    convert.add_argument("--overwrite", action="store_true", help="replace OUT")
    _add_json(convert)
    for command in (inspect, convert):
        command.add_argument("--version", help="where the file does not say: v1, v2, v2Pro, v2ProPlus, v3 or v4")
