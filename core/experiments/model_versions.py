"""Which model version a request trains: the one that it names, else the best whose official weights are installed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.languages import LANGUAGE_CODES_OF_V1
from common.official_weights import installed_weights, missing_parts, weights_name
from common.program_name import program_name
from common.versions import AUTO, BEST_FIRST, VERSIONS
from core.errors import InvalidRequest, MissingWeights
from core.experiments.named_weights import BASE_PARAMETERS, names_default
from core.limits import LimitService
from core.records import ExperimentRecord
from core.stages.parameters import StageOverrides

CONTRACT_DEFAULT: Final = "v2"
"""What clients of the tasks service send without having chosen, and read of an experiment that named no version."""
STAGE_PARTS: Final = {
    "text_feature": ("roberta",),
    "hubert_feature": ("hubert",),
    "speaker_vector": ("speaker_vector",),
    "semantic_token": ("sovits",),
    "sovits_train": ("sovits", "discriminator"),
    "gpt_train": ("gpt",),
    "test_inference": ("hubert", "roberta", "speaker_vector", "vocoder"),
}
"""Stage → the official parts that it loads, of those that the version has."""
HOSTS_SECONDS: Final = 2.0
"""How long what other hosts reported is used; they report every ten seconds."""


@dataclass(frozen=True, slots=True)
class HostWeights:
    """The official weights of every host, this one first."""

    hosts: tuple[frozenset[str], ...]

    def best(self, language: str) -> str:
        """Return the best installed version for a recording in a language; nano always is installed."""
        return next(version for version in BEST_FIRST if self.has(version, language))

    def has(self, version: str, language: str = "") -> bool:
        """Return whether some host has all that training and speaking with a version needs."""
        if version == "v1" and language and language not in LANGUAGE_CODES_OF_V1:
            return False
        return not self.missing(version, language)

    def missing(self, version: str, language: str, replaced: Collection[str] = ()) -> tuple[str, ...]:
        """Return the parts of a version that the host lacks which has most of them."""
        having = {weights_name(part, version) for part in replaced}
        return min((missing_parts(weights | having, version, language or AUTO) for weights in self.hosts), key=len)

    def check(self, version: str, language: str, parameters: StageOverrides) -> None:
        """Raise MissingWeights unless a version can be trained with these parameters."""
        if missing := self.missing(version, language, replaced_parts(parameters)):
            raise self._error(version, language, missing)

    def check_stages(self, experiment: ExperimentRecord, configs: StageOverrides) -> None:
        """Raise MissingWeights unless the weights are there that stages of an experiment load, run with `configs`."""
        loaded = {part for stage in configs for part in STAGE_PARTS.get(stage, ())}
        replaced = replaced_parts({**experiment.parameters, **configs})
        missing = self.missing(experiment.version, experiment.language, replaced)
        if loaded.intersection(missing):
            raise self._error(experiment.version, experiment.language, missing)

    def _error(self, version: str, language: str, missing: tuple[str, ...]) -> MissingWeights:
        return MissingWeights(
            f"Version {version} needs official weights that are not on this machine: {', '.join(missing)}.",
            hint=f"`{program_name()} download {version}` fetches them. A request that names no version gets the best "
            f"that is installed, at present {self.best(language)}.",
            details={"parameters": ["version"], "parts": list(missing)},
        )


class ModelVersions:
    """Chooses versions, by the weights in this host's folder of models and those that other hosts have."""

    def __init__(self, folder: Path, default: str = AUTO, limits: LimitService | None = None) -> None:
        self.folder = folder
        self.default = default
        self.limits = limits
        self._others: list[frozenset[str]] = []
        self._others_read_at = -HOSTS_SECONDS

    async def choose(self, requested: str, language: str, parameters: StageOverrides) -> str:
        """Return the version to train for a request, which names one, `auto` or (empty) none.

        A part that `parameters` replace is not needed.

        Raises:
            InvalidRequest: an unknown version.
            MissingWeights: the version that the request or DEFAULT_VERSION names is not installed.
        """
        named = requested or self.default
        if named not in (AUTO, *VERSIONS):
            raise InvalidRequest(f"No version is named {named!r}.", hint=f"Versions: {', '.join((AUTO, *VERSIONS))}.")
        weights = await self.read()
        if named == AUTO:
            return weights.best(language)
        weights.check(named, language, parameters)
        return named

    async def read(self) -> HostWeights:
        """Return what is installed now."""
        own = await asyncio.to_thread(installed_weights, self.folder)
        if self.limits is not None and time.monotonic() - self._others_read_at >= HOSTS_SECONDS:
            self._others = [frozenset(host.weights) for host in await self.limits.hosts()]
            self._others_read_at = time.monotonic()
        return HostWeights((own, *self._others))


def replaced_parts(parameters: StageOverrides) -> set[str]:
    """Return the parts in whose place parameters of the trainings name other files."""
    return {
        part
        for part, (stage, parameter) in BASE_PARAMETERS.items()
        if not names_default(parameters.get(stage, {}).get(parameter))
    }
