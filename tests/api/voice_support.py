"""Weights that are no more than a header, and voices made of them."""

from __future__ import annotations

import hashlib
import json
import struct

from core.records import CheckpointRecord, NewCheckpointRecord, NewVoiceRecord, Records, VoiceRecord
from core.records.models.voices import VoicePrompt
from core.storage import Storage


def weights(kind: str, tokens: int = 24, salt: str = "") -> bytes:
    """Return a safetensors file of a GPT or a SoVITS model with so many semantic tokens, whose numbers are missing."""
    config = {"model": {"EOS": tokens}} if kind == "gpt" else {}
    message = {"kind": kind, "version": "nano", "config": config, "info": {"salt": salt}}
    header: dict[str, object] = {"__metadata__": {"sovitsd": json.dumps(message)}}
    if kind == "sovits":
        shape = {"dtype": "F16", "shape": [tokens, 4], "data_offsets": [0, 8 * tokens]}
        header["quantizer.vq.layers.0._codebook.embed"] = shape
    block = json.dumps(header).encode()
    return struct.pack("<Q", len(block)) + block + bytes(8 * tokens)


async def make_model(
    records: Records, storage: Storage, kind: str, *, version: str = "nano", tokens: int = 24, salt: str = ""
) -> CheckpointRecord:
    """Return a checkpoint with its file."""
    content = weights(kind, tokens, salt)
    digest = hashlib.sha256(content).hexdigest()
    record = await records.checkpoints.create(
        NewCheckpointRecord(
            id=f"ckpt-{digest[:16]}-{version}",
            kind=kind,
            version=version,
            name=f"test-{kind}",
            sha256=digest,
            size_bytes=len(content),
            epoch=8,
            metrics={"loss": 1.5},
            lineage={"code": "abc"},
        )
    )
    storage.put_bytes(record.storage_key, content)
    return record


async def make_whole_voice(records: Records, storage: Storage, name: str, sound: bytes) -> VoiceRecord:
    """Return a voice all of whose files are there."""
    gpt, sovits = await make_model(records, storage, "gpt"), await make_model(records, storage, "sovits")
    audio = f"voices/of-{name}/prompt.wav"
    storage.put_bytes(audio, sound)
    prompt: VoicePrompt = {"name": "default", "audio": audio, "text": "Hello.", "language": "en", "tokens": [1, 2, 3]}
    return await records.voices.create(
        NewVoiceRecord(
            name=name,
            version="nano",
            language="en",
            gpt_checkpoint_id=gpt.id,
            sovits_checkpoint_id=sovits.id,
            prompts=[prompt],
            pronunciations={"GIF": "JH IH1 F"},
        )
    )
