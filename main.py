"""sovitsd: recordings in, voices and speech out. The commands; each imports only what it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import build_parser
from commands.terminal import INTERRUPTED
from common.program_name import pass_on_program_name
from common.programs import is_frozen

if TYPE_CHECKING:
    from core.settings import Settings

BAD_SETTING = 2
"""Exit code when a setting cannot be used; argparse ends with the same for a bad option."""
USER_FILE_COMMANDS = (
    *("speak", "dub", "prompts", "detect", "text", "checkpoint"),
    *("train", "upload", "tasks", "watch", "cancel", "voices"),
)
"""Commands that write no data of the server, but files that the user names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    pass_on_program_name()
    options = build_parser().parse_args(arguments)
    if options.command == "demo":  # the demo chooses its own settings
        return _demo(options)
    if options.command == "completion":
        return _completion(options)
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
        return COMMANDS[options.command](options, current)
    except SovitsError as error:
        print(error.sentences, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if options.command not in USER_FILE_COMMANDS:
            raise
        return INTERRUPTED


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    from supervisor.supervisor import serve

    if options.api_workers is not None:
        settings = settings.model_copy(update={"api_workers": options.api_workers})
    return serve(settings, roles=options.roles, with_api=not options.without_api)


def _api(options: argparse.Namespace, settings: Settings) -> int:
    import asyncio

    from api.serve import serve
    from core.exposure import check_exposure, has_recorded_key
    from core.logs import configure_logs
    from core.private_files import make_private

    configure_logs(settings.log_format, settings.log_level)
    make_private(settings.data_path)
    check_exposure(settings, has_key=asyncio.run(has_recorded_key(settings)))
    serve(settings, options.index)
    return 0


def _work(options: argparse.Namespace, settings: Settings) -> int:
    from core.jobs.worker_process import prepare_worker

    prepare_worker(options.device, options.nice)  # before anything can load CUDA
    from roles.runtime.worker_program import run_worker

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


def _doctor(options: argparse.Namespace, settings: Settings) -> int:
    from commands.doctor import run_doctor_command

    return run_doctor_command(options, settings)


def _backup(options: argparse.Namespace, settings: Settings) -> int:
    from commands.backup import run_backup_command

    return run_backup_command(options, settings)


def _restore(options: argparse.Namespace, settings: Settings) -> int:
    from commands.restore import run_restore_command

    return run_restore_command(options, settings)


def _registry(options: argparse.Namespace, settings: Settings) -> int:
    from commands.registry import run_registry_command

    return run_registry_command(options, settings)


def _standby(options: argparse.Namespace, settings: Settings) -> int:
    from commands.standby import run_standby_command

    return run_standby_command(options, settings)


def _speak(options: argparse.Namespace, settings: Settings) -> int:
    from commands.speak import speak

    return speak(options, settings)


def _dub(options: argparse.Namespace, settings: Settings) -> int:
    from commands.dub import dub

    return dub(options, settings)


def _prompts(options: argparse.Namespace, settings: Settings) -> int:
    from commands.prompts import prompts

    return prompts(options, settings)


def _server_command(options: argparse.Namespace, settings: Settings) -> int:
    from commands import tasks

    command = {
        "train": tasks.train,
        "upload": tasks.upload,
        "tasks": tasks.list_tasks,
        "watch": tasks.watch,
        "cancel": tasks.cancel,
        "voices": tasks.list_voices,
    }[options.command]
    return command(options, settings)


def _detect(options: argparse.Namespace, settings: Settings) -> int:
    from commands.detect import detect

    return detect(options, settings)


def _evaluate(options: argparse.Namespace, settings: Settings) -> int:
    from commands.evaluate import evaluate

    return evaluate(options, settings)


def _completion(options: argparse.Namespace) -> int:
    from commands.completion import completion_script

    print(completion_script(build_parser(), options.shell))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from scripts.demo_run import run_demo

    return run_demo(Path(options.output), options.quality, options.language, as_json=options.json)


COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "serve": _serve,
    "api": _api,
    "work": _work,
    "queue": _queue,
    "keys": _keys,
    "audit": _audit,
    "voice": _voice,
    "checkpoint": _checkpoint,
    "download": _download,
    "text": _text,
    "doctor": _doctor,
    "backup": _backup,
    "restore": _restore,
    "registry": _registry,
    "standby": _standby,
    "speak": _speak,
    "dub": _dub,
    "prompts": _prompts,
    "detect": _detect,
    "evaluate": _evaluate,
    **dict.fromkeys(("train", "upload", "tasks", "watch", "cancel", "voices"), _server_command),
}


if __name__ == "__main__":
    if is_frozen():
        from commands.bundle import start_in_bundle

        start_in_bundle()
    sys.exit(main())
