"""Check what the other tools do not: import cycles, sizes and places of files, names, retired terms, docstrings.

Usage: check_structure.py [PATH …]. With paths, only findings in files below them are shown; the whole tree is read
either way. Exits with 1 when there is a finding.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PRODUCT: Final = ("common", "core", "recovery", "supervisor", "roles", "api", "commands", "GPT_SoVITS", "main.py")
ALSO_NAMED_WELL: Final = ("scripts", "benchmarks", "docs/clients", "tests")
"""Folders whose names are checked, too, but whose classes may share a name with another module's."""
LENGTH_CHECKED: Final = (*PRODUCT, "client", "server", "scripts", "benchmarks")

MAX_LINES: Final = 400
"""Of a file: a longer one has more than one subject."""
LONGER_FILES: Final = frozenset(("core/errors.py",))
"""The table of all error codes, which is one."""

MAX_BYTES: Final = 5_000_000
"""Of a tracked file."""
LARGER_FILES: Final = "GPT_SoVITS/base"
"""The folder of the base model."""
TOP_LEVEL: Final = frozenset(
    (
        *(".ci", ".env.local", ".env.server", ".gitignore", "CHANGELOG.md", "GPT_SoVITS", "LICENSE", "README.md"),
        *("README.zh-CN.md", "alembic.ini", "api", "benchmarks", "client", "commands", "common", "config", "console"),
        *("constraints.txt", "core", "deploy", "docker-compose.local.yml", "docker-compose.server.yml", "docs"),
        *("env.example", "main.py", "prompts", "pyproject.toml", "recovery", "requirements-data.txt", "roles"),
        *("scripts", "server", "supervisor", "tests"),
    )
)
"""What the repository holds: a program that is run in it may leave other things there."""

STARTS_PROGRAMS: Final = ("server", "scripts/demo_daemon.py", "scripts/demo_run.py")
"""Beside the product, what starts programs of it in an installed package."""
KNOWS_THE_INTERPRETER: Final = "common/programs.py"

PLACEHOLDER_NAMES: Final = frozenset(
    ("one", "found", "made", "told", "wanted", "asked", "known", "heard", "taken", "given", "gotten", "said", "sent")
)
"""Variables and parameters that do not say what they hold."""
PARTICIPLE_CLASSES: Final = frozenset(
    ("Asked", "Given", "Made", "Chosen", "Known", "Sent", "Spoken", "Wanted", "Told", "Found", "Heard", "Said")
)
RETIRED_IDENTIFIER_WORDS: Final = frozenset(
    (
        *("heart", "keeper", "bury", "burial", "upkeep", "promise", "promises", "chore", "chores", "wish", "wishes"),
        *("followers", "impatient", "door", "chance", "chances", "unheard", "stranger", "strangers"),
    )
)
"""Words that no identifier contains; the standard terms are those of docs/architecture.md."""
RETIRED_TEXT: Final = re.compile(
    r"\b(strangers?|burials?|bury|buried|hearts?|keepers?|upkeep|chores?|wishe[sd]?|followers|impatient|chances"
    r"|the originals?'?s?(?= (?:does|has|is|code|implementation|interface|reads|program|server|model)))\b",
    re.IGNORECASE,
)
"""Words that no comment or docstring contains."""
NOT_A_VERB: Final = frozenset(
    (
        *("the", "a", "an", "what", "whether", "how", "where", "when", "which", "who", "whose", "why", "if", "as"),
        *("all", "every", "each", "both", "no", "none", "one", "two", "some", "any", "its", "their", "this", "that"),
        *("in", "on", "of", "for", "from", "with", "without", "by", "to", "at", "like", "same", "it", "they", "so"),
    )
)
"""First words that make a function's docstring something else than an imperative."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: str
    text: str
    tree: ast.Module
    is_package: bool


def main(arguments: list[str]) -> int:
    """Print the findings and return the exit code."""
    product = list(read_modules(PRODUCT))
    findings = [*find_cycles(product), *find_shared_class_names(product)]
    for module in product:
        findings += [*find_names(module), *find_docstrings(module), *find_retired_text(module)]
    for module in (*product, *read_modules(STARTS_PROGRAMS)):
        findings += find_interpreters(module)
    for module in read_modules(ALSO_NAMED_WELL):
        findings += find_names(module)
    findings += find_long_files(list(read_modules(LENGTH_CHECKED)))
    findings += find_stray_files(tracked_files())
    prefixes = [Path(argument).resolve().relative_to(REPOSITORY).as_posix() for argument in arguments]
    shown = [f for f in sorted(set(findings)) if not prefixes or any(is_below(f.path, prefix) for prefix in prefixes)]
    for finding in shown:
        print(finding)
    print(f"check_structure: {len(shown)} findings" if shown else "check_structure: no findings")
    return 1 if shown else 0


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is the folder or in it."""
    return folder == "." or path == folder or path.startswith(f"{folder}/")


def read_modules(tops: tuple[str, ...]) -> Iterator[Module]:
    """Yield every Python module below the given files and folders."""
    for top in tops:
        root = REPOSITORY / top
        for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
            relative = path.relative_to(REPOSITORY)
            name = ".".join(relative.with_suffix("").parts)
            text = path.read_text(encoding="utf-8")
            yield Module(
                name.removesuffix(".__init__"), relative.as_posix(), text, ast.parse(text), path.name == "__init__.py"
            )


def find_cycles(modules: list[Module]) -> Iterator[Finding]:
    """Yield import cycles, wherever the imports stand: between modules, and between the parts of one package.

    The parts of a package are its modules and subpackages; a subpackage imports what any module in it imports.
    """
    by_name = {module.name: module for module in modules}
    graphs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module in modules:
        graphs["modules"][module.name] = set(imports(module, by_name))
        for target in graphs["modules"][module.name]:
            source_parts, target_parts = module.name.split("."), target.split(".")
            depth = next(
                (i for i, pair in enumerate(zip(source_parts, target_parts, strict=False)) if pair[0] != pair[1]), None
            )
            if depth is not None:
                source_part, target_part = (".".join(parts[: depth + 1]) for parts in (source_parts, target_parts))
                graphs[".".join(source_parts[:depth])][source_part].add(target_part)
    seen = set()
    for graph in graphs.values():
        for component in strongly_connected(graph):
            names = ", ".join(sorted(component))
            if len(component) > 1 and names not in seen:
                seen.add(names)
                first = next(module for module in modules if module.name.startswith(min(component)))
                yield Finding(first.path, 1, f"import cycle: {names}")


def imports(module: Module, by_name: dict[str, Module]) -> Iterator[str]:
    """Yield the names of the modules that a module imports, anywhere in it."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, node.module] if node.module else parts)
            for alias in node.names:
                target = f"{base}.{alias.name}"
                target = target if target in by_name else base
                if target in by_name and target != module.name:
                    yield target
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in by_name and alias.name != module.name)


def strongly_connected(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield the strongly connected components of a graph (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            position = stack.index(node)
            components.append(stack[position:])
            del stack[position:]

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10 * len(graph)))
    for node in list(graph):
        if node not in index:
            visit(node)
    yield from components


def find_shared_class_names(modules: list[Module]) -> Iterator[Finding]:
    """Yield public classes whose name another module has, too."""
    places: dict[str, list[tuple[Module, int]]] = defaultdict(list)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append((module, node.lineno))
    for name, occurrences in places.items():
        if len({module.name for module, _ in occurrences}) > 1:
            others = ", ".join(sorted({module.path for module, _ in occurrences}))
            for module, line in occurrences:
                yield Finding(module.path, line, f"class name {name} exists in more than one module: {others}")


def find_long_files(modules: list[Module]) -> Iterator[Finding]:
    """Yield files of more than 400 lines, and exceptions from that which are not needed."""
    long_files = {module.path: lines for module in modules if (lines := module.text.count("\n")) > MAX_LINES}
    for path in sorted(long_files.keys() - LONGER_FILES):
        yield Finding(path, 1, f"{long_files[path]} lines: divide it by subject into files of up to {MAX_LINES}")
    for path in sorted(LONGER_FILES - long_files.keys()):
        yield Finding(path, 1, f"up to {MAX_LINES} lines: remove it from LONGER_FILES")


def tracked_files() -> dict[str, int]:
    """Return the bytes of every file that git tracks, by path."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    paths = [REPOSITORY / name for name in listed.split("\0") if name]
    return {path.relative_to(REPOSITORY).as_posix(): path.stat().st_size for path in paths if path.is_file()}


def find_stray_files(files: Mapping[str, int]) -> Iterator[Finding]:
    """Yield tracked files, bytes by path, that are too large or whose top-level name the repository does not have."""
    for path, size in files.items():
        if path.partition("/")[0] not in TOP_LEVEL:
            yield Finding(path, 1, "nothing of this name belongs at the top: remove it, or add it to TOP_LEVEL")
        elif size > MAX_BYTES and not is_below(path, LARGER_FILES):
            yield Finding(path, 1, f"{size:,} bytes: no tracked file has more than {MAX_BYTES:,}")


def find_names(module: Module) -> Iterator[Finding]:
    """Yield placeholder names, participles as class names, and identifiers with a retired word.

    Fields that a class declares may be the literals of a stored document, so they are exempt.
    """
    fields = {
        statement.target
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(module.tree):
        names: list[tuple[str, int]] = []
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in fields:
            names = [(node.id, node.lineno)]
        elif isinstance(node, ast.arg):
            names = [(node.arg, node.lineno)]
        for name, line in names:
            if name in PLACEHOLDER_NAMES:
                yield Finding(module.path, line, f"placeholder name {name!r}: name it for what it holds")
        if isinstance(node, ast.ClassDef) and node.name.lstrip("_") in PARTICIPLE_CLASSES:
            yield Finding(module.path, node.lineno, f"class name {node.name} is a participle: use a noun")
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append((node.name, node.lineno))
        for name, line in names:
            words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}
            for word in sorted(words & RETIRED_IDENTIFIER_WORDS):
                yield Finding(module.path, line, f"retired term {word!r} in {name}: use the standard term")


def find_docstrings(module: Module) -> Iterator[Finding]:
    """Yield functions whose docstring does not begin with a verb; properties have nouns."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_property(node):
            continue
        words = (ast.get_docstring(node) or "").split()
        first = re.sub(r"[^\w'-].*", "", words[0].lower()) if words else ""
        if first in NOT_A_VERB:
            yield Finding(module.path, node.lineno, f"docstring of {node.name} begins with {words[0]!r}: use a verb")


def find_interpreters(module: Module) -> Iterator[Finding]:
    """Yield uses of the interpreter's path or its arguments: a bundle has none, so one module makes command lines."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            names = [alias.name for alias in node.names]
        else:
            continue
        if module.path != KNOWS_THE_INTERPRETER and {"executable", "orig_argv"} & set(names):
            message = f"sys.{names[0]}: use product_command or program_command of {KNOWS_THE_INTERPRETER}"
            yield Finding(module.path, node.lineno, message)


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is read like an attribute."""
    return any(ast.unparse(decorator).rpartition(".")[2].endswith("property") for decorator in node.decorator_list)


def find_retired_text(module: Module) -> Iterator[Finding]:
    """Yield comments and docstrings with a retired term."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        is_docstring = token.type == tokenize.STRING and token.string.lstrip("rbfu").startswith('"""')
        if token.type == tokenize.COMMENT or is_docstring:
            for match in RETIRED_TEXT.finditer(token.string):
                line = token.start[0] + token.string.count("\n", 0, match.start())
                yield Finding(module.path, line, f"retired term {match[0]!r}: use the standard term")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
