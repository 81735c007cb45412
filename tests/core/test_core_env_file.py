"""What a `.env` file says in vain is told, by name, in one line each; its values never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.env_file import notes_on_env_file, setting_names
from core.settings import BadSettings, Settings, read_settings
from core.voices.prompt_catalog import load_prompt_catalog

COSYVOICE = """
# CosyVoice service
MODEL_PATH="pretrained_models/CosyVoice2-0.5B"
GPU_MEMORY_PER_MODEL_MB=5000
NUM_MODELS=8
PROMPTS_CONFIG='[
  {"name": "announcer_female", "path": "prompts/default_female.wav", "text": "希望你以后能够做的比我还好呦。"},
  {"name": "announcer_male", "path": "prompts/announcer_male.wav", "text": "Good evening, everyone."}
]'
REDIS_HOST="localhost"
REDIS_PORT=6379
REDIS_DB=0
REDIS_PREFIX="cosyvoice:"
RESULT_EXPIRY_SECONDS=3600
WORKER_RETRY_ATTEMPTS=3
WORKER_RETRY_DELAY_SECONDS=2
VALID_API_KEYS='["admin", "key1", "key2"]'
STATIC_DIR="static/audio"
TEMP_AUDIO_DIR="static/audio/temp_chunks"
TEMP_VOICE_DIR="static/audio/temp_voices"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without the machine's own variables."""
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_env_file_of_the_cosyvoice_service_is_read_as_it_stands(folder: Path):
    (folder / ".env").write_text(COSYVOICE, encoding="utf-8")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "announcer_male.wav").write_bytes(b"RIFF")

    settings = read_settings()
    catalog = load_prompt_catalog(settings.prompts_config)

    assert settings.valid_api_keys == ("admin", "key1", "key2")
    assert settings.resolved_redis_url == "redis://localhost:6379/0"
    assert (settings.redis_prefix, settings.static_dir, settings.num_models) == ("cosyvoice:", "static/audio", 8)
    assert {name: prompt.language for name, prompt in catalog.prompts.items()} == {"announcer_male": "en"}
    assert catalog.prompts["announcer_male"].audio == str(folder / "prompts" / "announcer_male.wav")
    (problem,) = catalog.problems
    assert "'announcer_female'" in problem
    assert str(folder / "prompts" / "default_female.wav") in problem
    assert [note.partition(" ")[0] for note in notes_on_env_file(folder / ".env")] == [
        "MODEL_PATH",
        "TEMP_AUDIO_DIR",
        "TEMP_VOICE_DIR",
    ]


MODEL_SERVICE = """
APP_NAME="Classification service"
VERSION=1.0.0
ENVIRONMENT=development
HOST=0.0.0.0
PORT=8000
DEBUG=false
SUPPORTED_MODELS=resnet18,resnet50
DEFAULT_TRAIN_PRIORITY=6
DEFAULT_INFERENCE_PRIORITY=2
MAX_TRAINING_CONCURRENT_GPU=2
MAX_INFERENCE_CONCURRENT_GPU=4
MAX_TRAINING_CONCURRENT_CPU=1
MAX_INFERENCE_CONCURRENT_CPU=2
CPU_TRAINING_MAX_BATCH_SIZE=4
CPU_TRAINING_MAX_WORKERS_RATIO=0.5
CPU_TRAINING_PYTORCH_THREADS_RATIO=0.25
CPU_TRAINING_OPENCV_THREADS=1
"""


def test_the_env_file_of_the_model_service_is_read_as_it_stands(folder: Path):
    (folder / ".env").write_text(MODEL_SERVICE, encoding="utf-8")

    settings = read_settings()

    assert (settings.app_name, settings.environment, settings.port) == ("Classification service", "development", 8000)
    assert settings.supported_models == ("resnet18", "resnet50")
    assert (settings.default_train_priority, settings.default_inference_priority) == (6, 2)
    assert (settings.max_training_concurrent_gpu, settings.max_inference_concurrent_gpu) == (2, 4)
    assert (settings.max_training_concurrent_cpu, settings.max_inference_concurrent_cpu) == (1, 2)
    assert (settings.cpu_training_max_batch_size, settings.cpu_training_pytorch_threads_ratio) == (4, 0.25)
    assert {note.partition(" in ")[0] for note in notes_on_env_file(folder / ".env")} == {
        *("VERSION", "DEBUG", "CPU_TRAINING_OPENCV_THREADS"),
    }


@pytest.mark.parametrize("value", ["k1, k2", '["k1", "k2"]', '\' [ "k1" , "k2" , "" ] \'', '"k1,k2,"'])
def test_keys_are_a_list_with_commas_or_a_json_array(folder: Path, value: str):
    (folder / ".env").write_text(f"VALID_API_KEYS={value}\n")

    assert read_settings().valid_api_keys == ("k1", "k2")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("VALID_API_KEYS='[\"k1\"'", "VALID_API_KEYS"),
        ("VALID_API_KEYS='[1]'", "VALID_API_KEYS"),
        ("PROMPTS_CONFIG='[{]'", "PROMPTS_CONFIG"),
        ("VOICE_ALIASES=alloy", "VOICE_ALIASES"),
        ("VOICE_ALIASES='{\"a\": 1}'", "VOICE_ALIASES"),
        ("COSYVOICE_SAMPLE_RATE=1", "COSYVOICE_SAMPLE_RATE"),
    ],
)
def test_a_value_that_cannot_be_read_stops_the_start_and_is_named(folder: Path, line: str, name: str):
    (folder / ".env").write_text(line + "\n")

    with pytest.raises(BadSettings, match=name):
        read_settings()


def test_aliases_are_pairs_or_json_whatever_their_case(folder: Path):
    for value in ("Alloy = anna , echo=Ben", '\'{"ALLOY": "anna", "echo": "Ben"}\''):
        (folder / ".env").write_text(f"VOICE_ALIASES={value}\n", encoding="utf-8")
        assert read_settings().voice_aliases == {"alloy": "anna", "echo": "Ben"}


def test_what_has_no_effect_is_told_once_by_name_and_without_its_value(folder: Path):
    (folder / ".env").write_text("HOST=localhost\nPROT=s3cret\nexport api_port=1\nPORT\n= nothing\n\n# PORT=1\n")

    notes = list(notes_on_env_file(folder / ".env"))

    assert [note.partition(" ")[0] for note in notes] == ["PROT", "PORT", ".env,"]
    assert "line 5" in notes[2]
    assert not any("s3cret" in note for note in notes)


def test_without_a_file_there_is_nothing_to_tell(folder: Path):
    assert list(notes_on_env_file(folder / ".env")) == []


def test_the_example_has_no_setting_without_effect():
    example = Path(__file__).parents[2] / "env.example"

    assert list(notes_on_env_file(example)) == []
    assert set(Settings.model_fields) <= {name.lower() for name in setting_names()}
