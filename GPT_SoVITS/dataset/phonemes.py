"""The lines of an annotation list as training reads them: phones, their counts, and where their features come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from GPT_SoVITS.dataset.folder import Annotation, NameToText
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import spoken
from GPT_SoVITS.text.phonemization.frontend import Frontend, Phonemes

REPLACED_BY_REFERENCE = {
    **dict.fromkeys(("zh", "yue"), str.maketrans({"%": "减", "￥": ","})),
    **dict.fromkeys(("en", "ja", "ko"), str.maketrans({"%": "-", "￥": ","})),
}
"""What the original changes before it reads a line: a percent sign is a hyphen, and so 减 in Chinese."""


@dataclass(frozen=True, slots=True)
class Line:
    """One recording's text, read."""

    name: str
    """File name of the recording."""
    phonemes: Phonemes

    @property
    def entry(self) -> NameToText:
        """Its line of `2-name2text.txt`."""
        return NameToText(self.name, self.phonemes.phones, self.phonemes.word2ph, self.phonemes.norm_text)


@dataclass(frozen=True, slots=True)
class ReadLines:
    """What came of a list."""

    lines: list[Line] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(file name, reason) of lines that cannot be read."""


def read_texts(
    annotations: Iterable[Annotation], version: str, *, frontend: Frontend | None = None, compat: str | None = None
) -> ReadLines:
    """Every line read in its language; one that cannot be read is named and left out (specification text-frontend §9).

    Words of another script in a line are read in their own language; `compat="reference"` reads the whole line in its
    one language, and its percent and yuan signs as the original does.
    """
    frontend = frontend or Frontend()
    found = ReadLines()
    for annotation in annotations:
        name = annotation.path.replace("\\", "/").rpartition("/")[2]
        try:
            phonemes = _read(annotation, version, frontend, compat)
        except ModelError as error:
            found.left_out.append((name, error.message))
        else:
            found.lines.append(Line(name, phonemes))
    return found


def _read(annotation: Annotation, version: str, frontend: Frontend, compat: str | None) -> Phonemes:
    if compat != "reference" or annotation.language not in spoken(version):
        return frontend.process(annotation.text, annotation.language, version, retry=False)
    text = annotation.text.translate(REPLACED_BY_REFERENCE[annotation.language])
    cleaned = frontend.clean(text, annotation.language, version)
    if not cleaned.norm_text:
        raise ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    return Phonemes.of([cleaned], version)
