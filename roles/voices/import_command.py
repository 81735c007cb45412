"""`main.py voice import`: a voice from checkpoints that were trained elsewhere, official or fine-tuned.

It is converted and tried out in a folder of its own, and only then published: files under names made from their
content, each before its record, the voice last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from common.program_name import program_name
from core.records import Records, VoiceRecord, upgrade
from core.settings import Settings
from core.speech.checks import canonical_language
from core.storage import Storage, open_storage
from core.voices.import_job import import_lock
from roles.runtime.errors import model_errors
from roles.voices.convert import ForeignVoice, check_name_and_text, convert_voice
from roles.voices.publish import ImportedPrompt, UnpublishedVoice, check_free, publish

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""


def run_import_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run `main.py voice import …` and return its exit code."""
    foreign = ForeignVoice(
        name=options.name.strip(),
        gpt=Path(options.gpt),
        sovits=Path(options.sovits),
        recording=Path(options.prompt),
        text=options.text.strip(),
        language=options.language,
        version=options.version,
    )
    try:
        voice = import_voice(foreign, settings)
    except KeyboardInterrupt:
        print("Stopped; nothing was imported.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror or error}; nothing was imported.", file=sys.stderr)
        return 1
    if options.json:
        facts = {"id": voice.id, "name": voice.name, "version": voice.version, "language": voice.language}
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    print(f"Imported the {voice.version} voice {voice.name} ({voice.id}).")
    print(f"`{program_name()} speak TEXT --voice {voice.id} --output FILE` speaks with it.", file=sys.stderr)
    return 0


def import_voice(foreign: ForeignVoice, settings: Settings) -> VoiceRecord:
    """Publish the voice, whole or not at all; also while the daemon runs. Raises SovitsError for unusable files.

    The same files give the same checkpoints, whoever imports them.
    """
    language = canonical_language(foreign.language)
    check_name_and_text(foreign)
    upgrade(settings.resolved_database_url)
    asyncio.run(_check_name(foreign.name, settings))
    storage = open_storage(settings)
    # The API sweeps away what a killed import leaves of the folder.
    with storage.temporary_folder() as folder, model_errors():
        converted = convert_voice(foreign, language, settings.models_folder, folder)
        prompt = ImportedPrompt("default", converted.recording, foreign.text, language, converted.tokens)
        voice = UnpublishedVoice(foreign.name, language, converted.gpt, converted.sovits, (prompt,))
        with import_lock(settings.data_path):
            return asyncio.run(_publish(voice, settings, storage))


async def _check_name(name: str, settings: Settings) -> None:
    records = Records.from_settings(settings)
    try:
        await check_free(records, name, f"The name {name!r} is taken")
    finally:
        await records.close()


async def _publish(voice: UnpublishedVoice, settings: Settings, storage: Storage) -> VoiceRecord:
    records = Records.from_settings(settings)
    try:
        return await publish(voice, records, storage)
    finally:
        await records.close()
