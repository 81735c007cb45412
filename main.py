"""sovitsd: recordings in, voices and speech out. The commands; each imports only what it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from common.versions import VERSIONS

if TYPE_CHECKING:
    from core.settings import Settings

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

BAD_SETTING = 2
"""Exit code when a setting cannot be used; argparse ends with the same for a bad option."""

USER_FILE_COMMANDS = ("speak", "detect", "text", "checkpoint")
"""Commands that write no data of the server, but files that the user names."""


class VersionAction(argparse.Action):
    """Print the version, which takes a moment to find out, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> None:
        from common.package_version import package_version

        print(f"sovitsd {package_version()}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "demo":  # the demo chooses its own settings
        return _demo(options)
    from core.errors import SovitsError
    from core.settings import BadSettings, settings

    try:
        current = settings()
    except BadSettings as error:
        print(error.message, file=sys.stderr)
        return BAD_SETTING
    if options.command not in USER_FILE_COMMANDS:
        from core.private_files import use_private_umask

        use_private_umask()
    try:
        code: int = options.run(options, current)
    except SovitsError as error:
        print(error.sentences, file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    """Build the command line."""
    # Called through the entry point of an installed package, it has that name.
    name = "sovitsd" if Path(sys.argv[0]).name.startswith("sovitsd") else "main.py"
    parser = argparse.ArgumentParser(prog=name, description=__doc__, epilog="Settings: see env.example.")
    parser.add_argument("--version", action=VersionAction, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    parser.set_defaults(run=_serve, command="serve", roles="", without_api=False)

    _add_process_commands(commands)
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
    download.set_defaults(run=_download)

    doctor = commands.add_parser("doctor", help="show devices, plan, versions, data, and what is missing")
    doctor.set_defaults(run=_doctor)

    _add_audit_command(commands.add_parser("audit", help="show who changed what, and who was rejected"))

    demo = commands.add_parser("demo", help="train a small voice here and let it speak")
    demo.add_argument("--output", default="demo", metavar="FOLDER", help="where the results go (default: demo)")
    demo.add_argument("--quality", choices=("fast", "standard", "high"), default="fast")
    return parser


def _add_process_commands(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run everything on this host (the default)")
    serve.add_argument("--roles", default="", metavar="A,B", help="only these roles (default: all)")
    serve.add_argument("--without-api", action="store_true", help="workers only; another host has the API")
    serve.set_defaults(run=_serve)

    api = commands.add_parser("api", help="run only the API")
    api.set_defaults(run=_api)

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
    work.set_defaults(run=_work)


def _add_speech_commands(commands: Commands) -> None:
    speak = commands.add_parser("speak", help="speak a text through the running API")
    speak.add_argument("text")
    speak.add_argument("--voice", required=True, help="name or id of a voice")
    speak.add_argument(
        "--output",
        default="speech.wav",
        help="audio file to write, whose ending chooses the format (default: %(default)s)",
    )
    speak.add_argument("--speed", type=float, default=1.0, help="0.25 to 4 (default: 1)")
    speak.add_argument(
        "--subtitles", metavar="FILE", help="write subtitles as well: .srt, .vtt, or .json with every word"
    )
    speak.add_argument("--max-line-characters", type=int, default=42, help="of a line of the subtitles (default: 42)")
    speak.add_argument("--api-key", default="", help="when the API asks for one")
    speak.set_defaults(run=_speak)

    detect = commands.add_parser("detect", help="find out whether a recording was spoken by this installation")
    detect.add_argument("file", metavar="FILE")
    detect.add_argument("--json", action="store_true", help="as JSON")
    detect.set_defaults(run=_detect)

    evaluate = commands.add_parser("evaluate", help="measure how well a voice speaks, sentence by sentence")
    evaluate.add_argument("voice", metavar="VOICE", help="name or id of a voice, or name of a bundled prompt")
    evaluate.add_argument("--sentences", default="", metavar="FILE", help="one a line (default: packaged ones)")
    evaluate.add_argument("--language", default="", metavar="CODE", help="of the sentences (default: the prompt's)")
    evaluate.add_argument("--json", default="", metavar="FILE", help="write the numbers there; - prints them")
    evaluate.add_argument("--device", choices=("cpu", "cuda"), default="", help="default: a GPU where there is one")
    evaluate.set_defaults(run=_evaluate)

    text = commands.add_parser("text", help="show how a text is pronounced: languages, words, phonemes and their ids")
    text.add_argument("text", metavar="TEXT", help="the text, with marks or SSML; - reads what is piped in")
    text.add_argument("--language", default="auto", metavar="CODE", help="auto, zh, en, ja, ko, yue, all_zh, …")
    text.add_argument("--version", choices=VERSIONS, default="v2")
    text.add_argument("--input-type", default="auto", help="auto, text (no marks), marks or ssml")
    text.add_argument("--pronunciation", action="append", default=[], metavar="WORD=READING", help="may come again")
    text.add_argument("--json", action="store_true", help="as JSON")
    text.set_defaults(run=_text)


def _add_queue_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="queue_command", metavar="COMMAND", required=True)
    parser.set_defaults(run=_queue)
    commands.add_parser("list", help="waiting jobs of each role, and the workers")
    commands.add_parser("dead", help="jobs that failed for good")
    for name, help_text in (
        ("show", "everything about one job"),
        ("replay", "run a dead job again"),
        ("cancel", "stop a job"),
    ):
        commands.add_parser(name, help=help_text).add_argument("job", metavar="JOB")


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="keys_command", metavar="COMMAND", required=True)
    parser.set_defaults(run=_keys)
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
    commands.add_parser("list", help="all keys, without their secrets")
    revoke = commands.add_parser("revoke", help="end a key")
    revoke.add_argument("key", metavar="NAME_OR_ID")
    reopen = commands.add_parser("open", help="how to need no key again, after the last was revoked")
    reopen.add_argument("--yes", action="store_true", help="do it: forget the revoked keys")


def _add_audit_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_audit)
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
    parser.set_defaults(run=_voice)
    add = commands.add_parser("import", help="make a voice of GPT-SoVITS checkpoints, v1 to v4, LoRA too")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--gpt", required=True, metavar="FILE", help="text to tokens: a .ckpt file")
    add.add_argument("--sovits", required=True, metavar="FILE", help="tokens to audio: a .pth file")
    add.add_argument("--prompt", required=True, metavar="FILE", help="recording of the voice, 3 to 10 s")
    add.add_argument("--text", required=True, help="what the recording says")
    add.add_argument("--language", required=True, help="of the recording: zh, en, ja, ko, yue or auto")
    add.add_argument("--version", help="of the SoVITS file, where it does not say: v1, v2, v2Pro, v2ProPlus, v3 or v4")
    commands.add_parser("list", help="all voices")
    for name, help_text in (("show", "what a voice is made of"), ("delete", "delete a voice, but not its weights")):
        commands.add_parser(name, help=help_text).add_argument("voice", metavar="NAME_OR_ID")


def _add_checkpoint_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="checkpoint_command", metavar="COMMAND", required=True)
    parser.set_defaults(run=_checkpoint)
    inspect = commands.add_parser("inspect", help="say what a file is: kind, version, sizes, config, SHA-256")
    inspect.add_argument("file", metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    convert = commands.add_parser("convert", help="write its weights in another layout")
    convert.add_argument("source", metavar="IN")
    convert.add_argument("target", metavar="OUT")
    convert.add_argument("--to", choices=["official", "safetensors"], help="layout (default: by the ending of OUT)")
    convert.add_argument("--base", metavar="FILE", help="merge a LoRA into this base of its version")
    convert.add_argument("--overwrite", action="store_true", help="replace OUT")
    for command in (inspect, convert):
        command.add_argument("--version", help="where the file does not say: v1, v2, v2Pro, v2ProPlus, v3 or v4")


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    from supervisor.supervisor import serve

    return serve(settings, roles=options.roles, with_api=not options.without_api)


def _api(_options: argparse.Namespace, settings: Settings) -> int:
    import asyncio

    from api.serve import serve
    from core.exposure import check_exposure, has_recorded_key
    from core.logs import configure_logs
    from core.private_files import make_private

    configure_logs(settings.log_format, settings.log_level)
    make_private(settings.data_path)
    check_exposure(settings, has_key=asyncio.run(has_recorded_key(settings)))
    serve(settings)
    return 0


def _work(options: argparse.Namespace, settings: Settings) -> int:
    from core.jobs.worker_process import prepare_worker

    prepare_worker(options.device, options.nice)  # before anything can load CUDA
    from roles.runtime.worker import run_worker

    return run_worker(
        options.role,
        settings,
        device=options.device,
        nonce=options.nonce,
        role_class=options.role_class,
        dedicated=options.dedicated,
    )


def _queue(options: argparse.Namespace, settings: Settings) -> int:
    from commands.queue import QUEUE_COMMANDS, open_queue

    with open_queue(settings) as queue:
        return QUEUE_COMMANDS[options.queue_command](queue, options)


def _keys(options: argparse.Namespace, settings: Settings) -> int:
    from commands.keys import run_keys_command

    return run_keys_command(options, settings)


def _audit(options: argparse.Namespace, settings: Settings) -> int:
    from commands.audit import run_audit_command

    return run_audit_command(options, settings)


def _voice(options: argparse.Namespace, settings: Settings) -> int:
    if options.voice_command == "import":
        from roles.voices.import_command import run_import_command

        return run_import_command(options, settings)
    from commands.voices import run_voice_command

    return run_voice_command(options, settings)


def _checkpoint(options: argparse.Namespace, _settings: Settings) -> int:
    from commands.checkpoint import run_checkpoint_command

    return run_checkpoint_command(options)


def _download(options: argparse.Namespace, settings: Settings) -> int:
    from commands.checkpoint import run_download_command

    return run_download_command(options, settings.models_folder, settings.hf_endpoint)


def _text(options: argparse.Namespace, _settings: Settings) -> int:
    from commands.text import run_text_command

    return run_text_command(options)


def _doctor(_options: argparse.Namespace, settings: Settings) -> int:
    from commands.doctor import examine

    report = examine(settings)
    print(report.text())
    return 0 if report.healthy else 1


def _speak(options: argparse.Namespace, settings: Settings) -> int:
    from commands.speak import speak

    return speak(options, settings)


def _detect(options: argparse.Namespace, settings: Settings) -> int:
    from commands.detect import detect

    return detect(options, settings)


def _evaluate(options: argparse.Namespace, settings: Settings) -> int:
    from commands.evaluate import evaluate

    return evaluate(options, settings)


def _demo(options: argparse.Namespace) -> int:
    from scripts.demo_run import run_demo

    return run_demo(Path(options.output), options.quality)


if __name__ == "__main__":
    sys.exit(main())
