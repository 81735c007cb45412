"""Pages that users read: links lead somewhere, and the Chinese version of a page says what the English one says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "client", "deploy", "GPT_SoVITS", "prompts", "server", "tests")
"""Folders with pages; the others hold what is built or installed."""
CHINESE = ".zh-CN.md"
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (*REPOSITORY.glob("*.md"), *(page for folder in FOLDERS for page in (REPOSITORY / folder).rglob("*.md")))
)
TRANSLATED = [name.removesuffix(CHINESE) for name in PAGES if name.endswith(CHINESE)]
HAN = "\u4e00-\u9fff"


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
    def links(self) -> list[str]:
        """Return where links and images lead that are in this repository, in order."""
        targets = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]*`", "", self.prose))
        return [unquote(target) for target in targets if not re.match(r"[a-z]+:", target)]

    @property
    def names(self) -> set[str]:
        """Return what the prose shows as code: settings, routes, fields; without words in quotes, which are translated."""
        return {re.sub(r'".+?"', '""', name) for name in re.findall(r"`([^`]+)`", self.prose)}


@cache
def read_page(name: str) -> Page:
    prose, blocks, code, fence = [], [], [], ""
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        if opening := re.match(r"(```+)(\w*)", line):
            if fence == opening[1]:
                blocks.append(Block(language, "\n".join(code)))
                fence = ""
            elif not fence:
                fence, language, code = opening[1], opening[2], []
        elif fence:
            code.append(re.sub(r"(^|\s+)#\s.*$", "", line).rstrip())
        elif re.match(r" {4}\S", line) and prose and (not prose[-1] or prose[-1].startswith("    ")):
            prose.append("    ")
            blocks.append(Block("", line.strip()))
        else:
            prose.append(line)
    assert not fence, f"{name}: a block of code has no end"
    return Page("\n".join(prose), tuple(blocks))


def anchors(name: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = (heading.lstrip("#").strip().lower() for heading in read_page(name).headings)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def english_of(name: str, links: list[str]) -> Iterator[str]:
    """Yield the links of a page with Chinese pages and pictures replaced by their English counterparts."""
    for link in links:
        yield re.sub(r"-zh-(light|dark)\.png$", r"-en-\1.png", link.replace(CHINESE, ".md").partition("#")[0]) or name


@pytest.mark.parametrize("name", PAGES)
def test_every_link_in_the_repository_leads_to_a_file_and_a_heading(name: str) -> None:
    for link in read_page(name).links:
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / name).parent / path if path else REPOSITORY / name
        assert target.exists(), f"{name}: {link} does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.resolve().relative_to(REPOSITORY).as_posix()), f"{name}: no heading {link}"


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_have_the_same_structure(stem: str) -> None:
    english, chinese = read_page(f"{stem}.md"), read_page(f"{stem}{CHINESE}")

    assert levels(chinese) == levels(english)
    assert table_widths(chinese) == table_widths(english)
    assert [block.language for block in chinese.blocks] == [block.language for block in english.blocks]


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_show_the_same_code(stem: str) -> None:
    """Comments are translated, and so are drawings (`text`) and quoted words that are spoken or stored."""
    english, chinese = read_page(f"{stem}.md"), read_page(f"{stem}{CHINESE}")

    for original, translation in zip(english.blocks, chinese.blocks, strict=True):
        if original.language != "text" and original.code != translation.code:
            pattern = re.sub(rf'"[^"\n]*[{HAN}][^"\n]*"', '"[^"\\\\n]*"', re.escape(translation.code))
            assert re.fullmatch(pattern, original.code), f"{translation.code}\n\nis not\n\n{original.code}"
    assert chinese.names ^ english.names == set()


@pytest.mark.parametrize("stem", TRANSLATED)
def test_both_versions_of_a_page_link_the_same_pages_and_each_other(stem: str) -> None:
    english, chinese = f"{stem}.md", f"{stem}{CHINESE}"
    links = {name: read_page(name).links for name in (english, chinese)}
    switches = {Path(name).name for name in (english, chinese)}

    assert Path(chinese).name in links[english]
    assert Path(english).name in links[chinese]
    assert set(english_of(english, links[chinese])) - switches == set(english_of(english, links[english])) - switches
    for link in links[chinese]:
        translation = Path(chinese).parent / re.sub(r"\.md(#.*)?$", CHINESE, link)
        is_other = link.partition("#")[0].endswith(".md") and Path(english).name != link and not CHINESE in link
        assert not (is_other and (REPOSITORY / translation).exists()), f"{chinese}: {link} has a Chinese version"


def levels(page: Page) -> list[int]:
    return [len(heading) - len(heading.lstrip("#")) for heading in page.headings]


def table_widths(page: Page) -> list[int]:
    """Return the number of cells of each row of the page's tables."""
    rows = [line for line in page.prose.splitlines() if line.startswith("|")]
    return [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
