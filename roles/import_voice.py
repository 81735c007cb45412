"""`main.py voice import`: a voice from checkpoints that were trained elsewhere, official or fine-tuned.

It is made and tried out in a folder of its own, and only then published: files under names made from their content,
then records, the voice last.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import Conflict, NotFound, VoiceNotFound
from core.records import Records, VoiceRecord, upgrade
from core.settings import Settings
from core.speech import canonical_language
from core.storage import Storage
from roles.errors import model_errors
from roles.foreign_voice import Asked, Made, Weights, check_words, make_voice

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
    storage = Storage(settings.storage_root)
    with _workspace(storage) as folder, model_errors():
        made = make_voice(asked, language, settings.data_path / "models", folder)
        with _turn(settings.data_path / "run" / "import.lock"):
            return asyncio.run(_publish(asked, language, made, settings, storage))


async def _check_name(name: str, settings: Settings) -> None:
    records = Records(settings.resolved_database_url)
    try:
        await _check_free(records, name, f"The name {name!r} is taken")
    finally:
        await records.close()


async def _check_free(records: Records, id_or_name: str, refusal: str) -> None:
    with suppress(VoiceNotFound):
        voice = await records.get_voice(id_or_name)
        raise Conflict(
            f"{refusal}: there is the {voice.version} voice {voice.name} ({voice.id}).",
            hint=f"Choose another name, or `main.py voice delete {voice.id}` first.",
        )


# Publishing


async def _publish(asked: Asked, language: str, made: Made, settings: Settings, storage: Storage) -> VoiceRecord:
    """Files, then the records of the weights, then the voice; an error takes back what was new."""
    # Named by what it is made of, so that an import that was killed is completed by the next one.
    identity = (asked.name, made.gpt.id, made.sovits.id, _sha256(made.recording), asked.text, language)
    voice_id = "voice-" + hashlib.sha256("\0".join(identity).encode()).hexdigest()[:20]
    audio = f"voices/{voice_id}/prompt.wav"
    sizes = {weights.id: weights.path.stat().st_size for weights in (made.gpt, made.sovits)}
    records = Records(settings.resolved_database_url)
    try:
        await _check_free(records, asked.name, f"The name {asked.name!r} is taken")
        await _check_free(records, voice_id, "These files are imported already, with this recording and text")
        async with AsyncExitStack() as undo:
            for path, key in ((made.gpt.path, made.gpt.key), (made.sovits.path, made.sovits.key)):
                _publish_file(storage, path, key, undo)
            undo.callback(storage.delete_folder, f"voices/{voice_id}")
            storage.publish(made.recording, audio)
            for weights in (made.gpt, made.sovits):
                await _record_weights(records, weights, sizes[weights.id], asked.name, undo)
            voice = await records.create_voice(
                voice_id=voice_id,
                name=asked.name,
                version=made.sovits.version,
                language=language,
                gpt_checkpoint_id=made.gpt.id,
                sovits_checkpoint_id=made.sovits.id,
                prompts=[_prompt(asked, language, audio, made.tokens)],
            )
            undo.pop_all()
    finally:
        await records.close()
    return voice


def _publish_file(storage: Storage, path: Path, key: str, undo: AsyncExitStack) -> None:
    """Also where the key is there: it stands for these bytes, and those on the disk may have suffered."""
    if not storage.exists(key):
        undo.callback(storage.delete, key)
    storage.publish(path, key)


async def _record_weights(records: Records, weights: Weights, size: int, name: str, undo: AsyncExitStack) -> None:
    with suppress(NotFound):
        await records.get_checkpoint(weights.id)
        return
    await records.create_checkpoint(
        weights.id,
        kind=weights.kind,
        version=weights.version,
        name=f"{name}-{weights.kind}",
        sha256=weights.sha256,
        size_bytes=size,
        epoch=weights.epoch,
        step=weights.step,
        storage_key=weights.key,
    )
    undo.push_async_callback(records.delete_checkpoint, weights.id)


def _prompt(asked: Asked, language: str, audio: str, tokens: list[int]) -> dict[str, Any]:
    return {"name": "default", "audio": audio, "text": asked.text, "language": language, "tokens": tokens}


@contextmanager
def _workspace(storage: Storage) -> Iterator[Path]:
    """A folder on the storage's file system; the API sweeps away what a killed import leaves of it."""
    folder = storage.new_temporary()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """One import publishes at a time: what one takes back must be nobody else's. The dead hold no lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
