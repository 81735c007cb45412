"""`main.py voice list`, `show` and `delete`; also without a running daemon."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from commands.terminal import print_json
from common.storage_keys import voice_folder
from core.records import Records, VoiceRecord, upgrade
from core.settings import Settings
from core.storage import Storage, open_storage

PAGE = 200


def run_voice_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the commands below and return its exit code."""
    upgrade(settings.resolved_database_url)

    async def run() -> int:
        records = Records.from_settings(settings)
        try:
            return await VOICE_COMMANDS[options.voice_command](records, options, open_storage(settings))
        finally:
            await records.close()

    return asyncio.run(run())


async def list_voices(records: Records, options: argparse.Namespace, _storage: Storage) -> int:
    """Print one line per voice, newest first."""
    voices: list[VoiceRecord] = []
    total = 1
    while len(voices) < total:
        page = await records.voices.page(PAGE, len(voices))
        voices += page.items
        total = page.total if page.items else 0
    if options.json:
        print_json([_facts(voice) for voice in voices])
    else:
        for voice in voices:
            print(f"{voice.id}  {voice.version:<11}{voice.language:<9}{voice.name}")
    return 0


async def show_voice(records: Records, options: argparse.Namespace, storage: Storage) -> int:
    """Print what a voice is made of, and where its files are."""
    voice = await records.voices.get(options.voice)
    if options.json:
        checkpoints = [
            await records.checkpoints.get(checkpoint_id)
            for checkpoint_id in (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        ]
        files = [
            {"kind": item.kind, "id": item.id, "epoch": item.epoch, "path": storage.path(item.storage_key)}
            for item in checkpoints
        ]
        prompts = [{**prompt, "audio": storage.path(prompt["audio"])} for prompt in voice.prompts]
        print_json({**_facts(voice), "exp_id": voice.exp_id, "prompts": prompts, "checkpoints": files})
        return 0
    print(f"{voice.name} ({voice.id}): {voice.version}, {voice.language}")
    print(f"trained by  {voice.exp_id or 'another program; imported'}")
    for prompt in voice.prompts:
        print(f"prompt      {prompt['name']} ({prompt['language']}): {prompt['text']}")
        print(f"            {storage.path(prompt['audio'])}")
    for checkpoint_id in (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id):
        checkpoint = await records.checkpoints.get(checkpoint_id)
        epoch = "" if checkpoint.epoch is None else f", epoch {checkpoint.epoch}"
        print(f"{checkpoint.kind:<12}{checkpoint.id}{epoch}, {checkpoint.size_bytes:,} bytes")
        print(f"            {storage.path(checkpoint.storage_key)}")
    return 0


async def delete_voice(records: Records, options: argparse.Namespace, storage: Storage) -> int:
    """Delete a voice and its prompts; like over HTTP, its weights stay."""
    voice = await records.voices.delete(options.voice)
    storage.delete_folder(voice_folder(voice.id))
    if options.json:
        print_json({**_facts(voice), "deleted": True})
        return 0
    print(f"Deleted the voice {voice.name} ({voice.id}); its weights are kept.")
    return 0


def _facts(voice: VoiceRecord) -> dict[str, str]:
    return {"id": voice.id, "name": voice.name, "version": voice.version, "language": voice.language}


VOICE_COMMANDS: dict[str, Callable[[Records, argparse.Namespace, Storage], Awaitable[int]]] = {
    "list": list_voices,
    "show": show_voice,
    "delete": delete_voice,
}
