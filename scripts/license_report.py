"""List the licences of all installed packages, and those that a permissive installation may not have."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from typing import Final

ALLOWED: Final = re.compile(
    r"apache|\bbsd\b|\b0bsd\b|\bmit\b|\bisc\b|\bpsf\b|python software foundation|cnri|\bmpl\b|mozilla public"
    r"|unlicense|zlib|cc0|\bbsl-1\.0\b|\blgpl",
    re.IGNORECASE,
)
"""Permissive licences, and weak copyleft ones for libraries that are used as they are (soxr: LGPL)."""
FORBIDDEN: Final = re.compile(r"(?<!L)\bA?GPL|affero|(?<!lesser )general public", re.IGNORECASE)
STATED_ELSEWHERE: Final = {"ToJyutping": "BSD-2-Clause", "axe-playwright-python": "MIT (axe-core in it: MPL-2.0)"}
"""Packages whose metadata name no licence, and the licence in their sources."""


@dataclass(frozen=True, slots=True)
class PackageLicense:
    """One installed package and what it says of its licence."""

    package: str
    version: str
    license: str

    @property
    def allowed(self) -> bool:
        return bool(ALLOWED.search(self.license)) and not FORBIDDEN.search(self.license)


def installed_licenses() -> Iterator[PackageLicense]:
    """Yield the licence of every package in this environment, by name."""
    by_name = {distribution.metadata["Name"]: distribution for distribution in distributions()}
    for package, distribution in sorted(by_name.items(), key=lambda item: item[0].lower()):
        yield PackageLicense(
            package, distribution.version, license_of(distribution) or STATED_ELSEWHERE.get(package, "")
        )


def license_of(distribution: Distribution) -> str:
    """Return a package's licence expression, or else its classifiers, or else the first line of its licence."""
    metadata = distribution.metadata
    classifiers = [
        classifier.rpartition("::")[2].strip()
        for classifier in metadata.get_all("Classifier") or []
        if classifier.startswith("License ::")
    ]
    expression, *_ = [*(metadata.get_all("License-Expression") or []), ""]
    lines = [*"\n".join(metadata.get_all("License") or []).strip().splitlines(), ""]
    return str(expression or "; ".join(classifiers) or lines[0])


def main() -> int:
    """Print the table and return 1 when a licence is not allowed."""
    licenses = list(installed_licenses())
    for package in licenses:
        note = "" if package.allowed else "  ← not allowed"
        print(f"{package.package:<34}{package.version:<24}{package.license or 'not stated'}{note}")
    return 0 if all(package.allowed for package in licenses) else 1


if __name__ == "__main__":
    sys.exit(main())
