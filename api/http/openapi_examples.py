"""An example of every JSON body, by the name of its schema or, where it has none, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_V2_PATHS: Final[dict[str, Any]] = {"input_path": "file-1m8mbzwkj7f5mb749zzh", "output_path": "prepared"}
_UPSTREAM_SPEECH: Final[dict[str, Any]] = {
    "text": "Good morning. How are you?",
    "text_lang": "en",
    "ref_audio_path": "allison",
    "prompt_lang": "en",
    "prompt_text": "",
    "media_type": "wav",
    "streaming_mode": False,
}
EXAMPLES: Final[Mapping[str, Any]] = {
    "NewDataset": {"name": "my recordings", "file_ids": ["file-1m8mbzwkj7f5mb749zzh"], "language": "en"},
    "DatasetChange": {"name": "my recordings"},
    "DatasetFiles": {"file_ids": ["file-1m8mbzwkj7f5mb749zzh"]},
    "SegmentChanges": {"segments": [{"number": 3, "transcript": "Good morning."}, {"number": 7, "left_out": True}]},
    "SingleSegmentChange": {"transcript": "Good morning."},
    "ReportRequest": {"language": "en", "shortest_seconds": 1.0},
    "SplitOptions": {"val": 0.1, "test": 0.1},
    "AugmentOptions": {"kinds": ["noise", "pitch"], "copies": 1},
    "CropOptions": {"start_seconds": 1.0, "end_seconds": 60.0},
    "CreateTaskBody": {
        "exp_name": "my_voice",
        "audio_file_id": "file-1m8mbzwkj7f5mb749zzh",
        "options": {"version": "auto", "language": "en", "quality": "standard"},
    },
    "NewStepTask": {"task_name": "my_voice", "config": {"exp_name": "my_voice", "language": "en", "gpu_id": "0"}},
    "/api/v1/task/{task_id}/step/{step}": {"params": {"sample_rate": 32000}},
    "NewExperiment": {"exp_name": "my_voice", "version": "auto", "audio_file_id": "file-1m8mbzwkj7f5mb749zzh"},
    "ExperimentChange": {"exp_name": "my_voice_2", "is_half": False},
    "/api/v1/experiments/{exp_id}/presets/{preset}": {"sovits_train": {"total_epoch": 16}},
    "StageOptions": {"batch_size": 8, "total_epoch": 16, "save_every_epoch": 4},
    "StageControl": {"action": "pause"},
    "CreateVoiceBody": {
        "name": "Anna",
        "gpt_checkpoint_id": "ckpt-1m8mbzwkj7f5mb749zza",
        "sovits_checkpoint_id": "ckpt-1m8mbzwkj7f5mb749zzb",
        "prompts": [{"file_id": "file-1m8mbzwkj7f5mb749zzh", "text": "Good morning.", "language": "en"}],
    },
    "VoiceChange": {"name": "Anna", "visibility": "shared"},
    "CreatePromptBody": {
        "name": "cheerful",
        "file_id": "file-1m8mbzwkj7f5mb749zzh",
        "text": "What a day!",
        "language": "en",
    },
    "PromptChange": {"text": "What a lovely day!"},
    "Promotion": {"promoted": True},
    "NewBatch": {"voice": "Anna", "format": "mp3", "items": [{"text": "Good morning.", "filename": "morning"}]},
    "NewDubbing": {
        "subtitles": "1\n00:00:01,000 --> 00:00:03,500\nGood morning. How are you?\n",
        "voice": "Anna",
        "max_speed": 1.5,
    },
    "NewInference": {"text": "Good morning. How are you?", "voice": "Anna", "format": "wav", "sample_rate": 24000},
    "NewConsent": {
        "speaker": "Anna Example",
        "statement": "I, Anna Example, agree that my voice is imitated for the audio guide.",
        "uses": ["audio guide"],
        "expires_at": "2030-01-01T00:00:00Z",
    },
    "ConsentName": {"name": "Anna, studio"},
    "NewWebhook": {"url": "https://example.org/hooks", "events": ["task.completed"]},
    "NewKey": {"name": "laptop", "scopes": ["speak", "read"]},
    "ResourcesConfig": {"max_concurrent": {"cuda": {"training": 1, "inference": 3}}},
    "NewStreamToken": {"scope": "read"},
    "TrainingStart": {
        "model": "v2",
        "num_classes": 1,
        "train_path": "file-1m8mbzwkj7f5mb749zzh",
        "val_path": "",
        "save_path": "my_voice",
    },
    "SplitStart": {**_V2_PATHS, "train_ratio": 0.8, "val_ratio": 0.1},
    "AugmentStart": {
        "dataset_path": "file-1m8mbzwkj7f5mb749zzh",
        "output_path": "augmented",
        "methods": ["GaussNoise"],
    },
    "CropStart": {**_V2_PATHS, "x": 1, "y": 0, "width": 60, "height": 0},
    "InferenceStart": {"cfg_path": "Anna", "weight_path": "", "source_path": "Good morning."},
    "BatchStart": {"cfg_path": "Anna", "weight_path": "", "source_paths": ["Good morning.", "Good night."]},
    "LimitsConfig": {"max_concurrent": {"cuda": {"training": 1, "inference": 3}}},
    "SpeechBody": {
        "model": "tts-1",
        "input": "Good morning. How are you?",
        "voice": "alloy",
        "response_format": "mp3",
        "speed": 1.0,
    },
    "SynthesizeBody": {"target": "Good morning. How are you?", "voice": "allison"},
    "/tts": _UPSTREAM_SPEECH,
    "/": {**_UPSTREAM_SPEECH, "media_type": "ogg", "streaming_mode": "true"},
    "/tts_to_audio/": {"text": "Good morning.", "speaker_wav": "allison", "language": "en"},
}
ERROR_EXAMPLE: Final[Mapping[str, Any]] = {
    "error": {"code": "not_found", "message": "no file 'file-none'", "hint": "GET /api/v1/files lists them."},
    "detail": "no file 'file-none'. GET /api/v1/files lists them.",
}


def find_example(path: str, schema: Mapping[str, Any]) -> Any | None:
    """Return the example of a body; None when there is none."""
    choices = [schema, *schema.get("anyOf", ())]
    names = [str(choice["$ref"]).rpartition("/")[2] for choice in choices if "$ref" in choice]
    return next((EXAMPLES[name] for name in (path, *names) if name in EXAMPLES), None)
