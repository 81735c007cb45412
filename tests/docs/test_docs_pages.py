"""Pages that users read: links lead somewhere, and the Chinese version of a page says what the English one says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = (".", "docs/**", "client", "deploy/**", "GPT_SoVITS/**", "prompts/**", "server/**", "tests/**")
"""Folders with pages; the others hold what is built or installed."""
CHINESE = ".zh-CN.md"
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix() for folder in FOLDERS for path in REPOSITORY.glob(f"{folder}/*.md")
)
TRANSLATED = [name.removesuffix(CHINESE) for name in PAGES if name.endswith(CHINESE)]
HAN = "\u4e00-\u9fff"
INDENTED = "    "
"""Stands in the prose for a line of an indented block."""


@dataclass(frozen=True)
class Block:
    """A fenced or an indented block of code."""

    language: str
    code: str
    """Without comments: those are translated."""


@dataclass(frozen=True)
class Page:
    """What a Markdown file consists of."""

    prose: str
    """All that is not a block of code."""
    blocks: tuple[Block, ...]

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#{1,6} .+$", self.prose, re.MULTILINE)

    @property
    def levels(self) -> list[int]:
        return [len(heading) - len(heading.lstrip("#")) for heading in self.headings]

    @property
    def table_widths(self) -> list[int]:
        """Return the number of cells of each row of the page's tables."""
        rows = [line for line in self.prose.splitlines() if line.startswith("|")]
        return [len(re.findall(r"(?<!\\)\|", row)) for row in rows]

    @property
    def links(self) -> set[str]:
        """Return where links and images lead that are in this repository."""
        targets = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]*`", "", self.prose))
        return {unquote(target) for target in targets if not re.match(r"[a-z]+:", target)}

    @property
    def names(self) -> set[str]:
        """Return what the prose shows as code, such as settings and routes; words in quotes may be translated."""
        return {re.sub(r'".+?"', '""', name) for name in re.findall(r"`([^`]+)`", self.prose)}


@cache
def read_page(name: str) -> Page:
    prose: list[str] = []
    blocks: list[Block] = []
    code: list[str] = []
    fence, language = "", ""
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        delimiter = re.match(r"(```+)(\w*)", line)
        if delimiter and not fence:
            fence, language, code = delimiter[1], delimiter[2], []
        elif delimiter and fence == delimiter[1]:
            blocks.append(Block(language, "\n".join(code)))
            fence = ""
        elif fence:
            code.append(re.sub(r"(^|\s+)#\s.*$", "", line).rstrip())
        elif re.match(r" {4}\S", line) and prose and prose[-1] in ("", INDENTED):
            blocks.append(Block("", line.strip()))
            prose.append(INDENTED)
        else:
            prose.append(line)
    assert not fence, f"{name}: a block of code has no end"
    return Page("\n".join(prose), tuple(blocks))


def anchors(name: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = (heading.lstrip("#").strip().lower() for heading in read_page(name).headings)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def chinese_of(page: str, link: str) -> str:
    """Return where the Chinese version of a page leads in place of a link: to Chinese pages and pictures, if any."""
    path = link.partition("#")[0]
    translation = re.sub(r"-en-(light|dark)\.png$", r"-zh-\1.png", re.sub(r"\.md$", CHINESE, path))
    return translation if ((REPOSITORY / page).parent / translation).exists() else path


@pytest.mark.parametrize("name", PAGES)
def test_every_link_in_the_repository_leads_to_a_file_and_a_heading(name: str) -> None:
    for link in read_page(name).links:
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / name).parent / path if path else REPOSITORY / name
        assert target.exists(), f"{link} does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.resolve().relative_to(REPOSITORY).as_posix()), f"no heading {link}"


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_have_the_same_structure(stem: str) -> None:
    english, chinese = read_page(f"{stem}.md"), read_page(f"{stem}{CHINESE}")

    assert chinese.levels == english.levels
    assert chinese.table_widths == english.table_widths
    assert [block.language for block in chinese.blocks] == [block.language for block in english.blocks]


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_show_the_same_code_and_names(stem: str) -> None:
    """Comments are translated, and so are drawings (`text`) and quoted words that are spoken or stored."""
    english, chinese = read_page(f"{stem}.md"), read_page(f"{stem}{CHINESE}")

    for original, translation in zip(english.blocks, chinese.blocks, strict=True):
        if original.language != "text" and original.code != translation.code:
            pattern = re.sub(rf'"[^"\n]*[{HAN}][^"\n]*"', '"[^"\\\\n]*"', re.escape(translation.code))
            assert re.fullmatch(pattern, original.code), f"{translation.code}\n\nis not\n\n{original.code}"
    assert chinese.names ^ english.names == set()


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_lead_to_the_same_pages_and_to_each_other(stem: str) -> None:
    english, chinese = Path(f"{stem}.md"), Path(f"{stem}{CHINESE}")
    links = {path: read_page(path.as_posix()).links for path in (english, chinese)}

    assert chinese.name in links[english]
    assert english.name in links[chinese]
    expected = {chinese_of(f"{stem}.md", link) for link in links[english]} - {chinese.name}
    assert {link.partition("#")[0] for link in links[chinese]} - {english.name} == expected
