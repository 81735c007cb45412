"""Errors in Chinese for clients that ask for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import api
from api.http.translations import BY_CODE, TEMPLATES, prefers_chinese, translate

REPOSITORY = Path(api.__file__).parent.parent
PACKAGES = ("common", "core", "api", "supervisor", "roles", "commands", "GPT_SoVITS")


def test_every_code_of_an_error_has_a_message_and_a_hint_in_chinese() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for package in PACKAGES for path in _sources(package)]
    codes = _class_codes(trees) | {code for tree in trees for code in _call_codes(tree)}

    assert {"boot_failed", "internal_error", "job_failed", "upload_refused", "bad_checkpoint", "diverged"} <= codes
    assert codes - BY_CODE.keys() == set()
    for code, (message, hint) in BY_CODE.items():
        assert any("一" <= character <= "鿿" for character in message), code
        assert any("一" <= character <= "鿿" for character in hint), code


def _class_codes(trees: list[ast.Module]) -> set[str]:
    """Return the codes of the classes that are a SovitsError; read from the sources, whatever is imported."""
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def is_error(name: str) -> bool:
        bases = classes[name].bases if name in classes else []
        return name == "SovitsError" or any(is_error(base.id) for base in bases if isinstance(base, ast.Name))

    return {
        str(statement.value.value)
        for name, node in classes.items()
        if is_error(name)
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        and ast.unparse(statement).startswith(("code = ", "code: "))
        and isinstance(statement.value, ast.Constant)
    }


def _call_codes(tree: ast.Module) -> Iterator[str]:
    """Yield the codes that calls pass: the first argument of ModelError, and arguments named `code` or `…_code`."""
    for node in ast.walk(tree):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            values = [word.value for word in node.keywords if re.fullmatch(r"(.*_)?code", word.arg or "")]
            if isinstance(node.func, ast.Name) and node.func.id == "ModelError":
                values += node.args[:1]
        elif isinstance(node, ast.FunctionDef):
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            values = [value for argument, value in pairs if argument.arg.endswith("_code")]
        for value in values:
            # Of a conditional expression, both.
            for part in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
                    yield part.value


def test_every_template_is_a_sentence_that_the_server_says() -> None:
    sentences = {sentence for package in ("api", "core") for sentence in _sentences(package)}

    assert TEMPLATES.keys() - sentences == set()
    for english, chinese in TEMPLATES.items():
        assert english.count("{}") == chinese.count("{"), english


def _sources(package: str) -> Iterator[Path]:
    return (REPOSITORY / package).rglob("*.py")


def _sentences(package: str) -> Iterator[str]:
    """Yield every string of the sources, `{}` for each value in it."""
    for path in _sources(package):
        if path.name == "translations.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield "".join(str(part) for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


async def test_a_client_that_prefers_chinese_reads_messages_and_hints_in_it(client: httpx.AsyncClient) -> None:
    body = {"input": "Hello.", "voice": "nobody"}
    chinese = await client.post("/v1/audio/speech", json=body, headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    missing = (await client.get("/api/v1/nothing", headers={"Accept-Language": "zh"})).json()["error"]
    english = (await client.get("/api/v1/nothing", headers={"Accept-Language": "en-GB,zh;q=0.5"})).json()["error"]

    assert chinese.status_code == 404
    assert chinese.json()["error"]["code"] == "voice_not_found"
    assert "没有名为 'nobody' 的音色。" in chinese.json()["error"]["message"]
    assert chinese.headers["content-language"] == "zh"
    assert "Accept-Language" in chinese.headers["vary"]
    assert missing["message"] == "/api/v1/nothing 处没有内容。"
    assert missing["hint"] == "各路径见 GET /docs。"
    assert english["message"] == "There is nothing at /api/v1/nothing."
    assert missing["code"] == english["code"] == "not_found"


def test_a_message_without_a_translation_is_kept_behind_that_of_its_code() -> None:
    assert translate("conflict", "x is y", "do z") == (
        "当前状态不允许此操作。（x is y）",
        "请先查看其状态，再重试。（do z）",
    )
    assert translate("code_of_a_newer_version", "x is y", "") == ("操作无法完成。（x is y）", "")


def test_values_in_a_message_stay_as_they_are_and_may_change_places() -> None:
    message = "The scope `train` is needed for {this}; this API key has read, speak."

    assert translate("forbidden", message, "")[0] == "{this} 需要权限 `train`；此 API 密钥的权限为 read, speak。"


@pytest.mark.parametrize(
    ("header", "preferred"),
    [
        ("zh", True),
        ("zh-TW,en;q=0.9", True),
        ("en,zh;q=0.9", False),
        ("fr;q=0.4, zh;q=0.9", True),
        ("zh;q=0", False),
        ("zhx", False),
        ("zh;q=wrong, en", False),
        ("", False),
        ("*", False),
        ("," * 1000 + "zh", False),
    ],
)
def test_the_language_with_the_highest_rank_decides(header: str, preferred: bool) -> None:
    assert prefers_chinese(header) is preferred
