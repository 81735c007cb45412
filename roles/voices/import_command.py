"""`main.py voice import`: a voice from checkpoints that were trained elsewhere, official or fine-tuned.

It is made and tried out in a folder of its own, and only then published: files under names made from their content,
each before its record, the voice last.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.records import Records, VoiceRecord, upgrade
from core.settings import Settings
from core.speech.checks import canonical_language
from core.storage import Storage, open_storage
from core.voices.import_job import import_lock
from roles.runtime.errors import model_errors
from roles.voices.convert import Asked, check_words, make_voice
from roles.voices.publish import NewPrompt, NewVoice, check_free, publish

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""


def run_import_command(options: argparse.Namespace, settings: Settings) -> int:
    """`main.py voice import …`; its exit code."""
    asked = Asked(
        name=options.name.strip(),
        gpt=Path(options.gpt),
        sovits=Path(options.sovits),
        recording=Path(options.prompt),
        text=options.text.strip(),
        language=options.language,
        version=options.version,
    )
    try:
        voice = import_voice(asked, settings)
    except KeyboardInterrupt:
        print("Stopped; nothing was imported.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror or error}; nothing was imported.", file=sys.stderr)
        return 1
    print(f"Imported the {voice.version} voice {voice.name} ({voice.id}).")
    print(f"`main.py speak TEXT --voice {voice.id} --output FILE` speaks with it.", file=sys.stderr)
    return 0


def import_voice(asked: Asked, settings: Settings) -> VoiceRecord:
    """Publish the voice, whole or not at all; also while the daemon runs. SovitsError says what cannot be used.

    The same files give the same checkpoints, whoever imports them.
    """
    language = canonical_language(asked.language)
    check_words(asked)
    upgrade(settings.resolved_database_url)
    asyncio.run(_check_name(asked.name, settings))
    storage = open_storage(settings)
    with _workspace(storage) as folder, model_errors():
        made = make_voice(asked, language, settings.data_path / "models", folder)
        prompt = NewPrompt("default", made.recording, asked.text, language, made.tokens)
        new = NewVoice(asked.name, language, made.gpt, made.sovits, (prompt,))
        with import_lock(settings.data_path):
            return asyncio.run(_publish(new, settings, storage))


async def _check_name(name: str, settings: Settings) -> None:
    records = Records(settings.resolved_database_url)
    try:
        await check_free(records, name, f"The name {name!r} is taken")
    finally:
        await records.close()


async def _publish(new: NewVoice, settings: Settings, storage: Storage) -> VoiceRecord:
    records = Records(settings.resolved_database_url)
    try:
        return await publish(new, records, storage)
    finally:
        await records.close()


@contextmanager
def _workspace(storage: Storage) -> Iterator[Path]:
    """A folder on the storage's file system; the API sweeps away what a killed import leaves of it."""
    folder = storage.new_temporary()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
