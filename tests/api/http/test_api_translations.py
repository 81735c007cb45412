"""Errors in Chinese for clients that ask for it."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest

import api
from api.http.translations import TEMPLATES, prefers_chinese, translate, translate_text, translate_value
from api.http.translations.codes import BY_CODE
from api.http.translations.descriptions import DESCRIPTIONS
from api.http.translations.general import GENERAL
from api.http.translations.validation import VALIDATION
from common.progress_messages import PROGRESS_CODES, progress_message
from core.stages.stage import STAGES

REPOSITORY = Path(api.__file__).parent.parent
PACKAGES = ("common", "core", "api", "recovery", "supervisor", "roles", "commands", "GPT_SoVITS")
MESSAGE_PACKAGES = ("common", "core", "api", "roles", "GPT_SoVITS")
"""Those whose errors the API shows, in its responses or in the records of jobs."""


def test_every_code_of_an_error_has_a_message_and_a_hint_in_chinese() -> None:
    trees = list(_trees(PACKAGES))
    codes = set(_class_codes(trees).values()) | {code for tree in trees for code in _call_codes(tree)}

    assert {"boot_failed", "internal_error", "job_failed", "upload_refused", "bad_checkpoint", "diverged"} <= codes
    assert codes - BY_CODE.keys() == set()
    for code, (message, hint) in BY_CODE.items():
        assert any("一" <= character <= "鿿" for character in message), code
        assert any("一" <= character <= "鿿" for character in hint), code


def _class_codes(trees: list[ast.Module]) -> dict[str, str]:
    """Return the codes of the classes that are a SovitsError, by name; read from the sources, whatever is imported."""
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def code_of(name: str) -> str:
        """Return the code of a class, its own or inherited; empty for one that is no error of ours."""
        if name not in classes:
            return ""
        for statement in classes[name].body:
            named = ast.unparse(statement).startswith(("code = ", "code: "))
            if (
                isinstance(statement, ast.Assign | ast.AnnAssign)
                and named
                and isinstance(statement.value, ast.Constant)
            ):
                return str(statement.value.value) if is_error(name) else ""
        return next((code for base in base_names(name) if (code := code_of(base))), "")

    def base_names(name: str) -> list[str]:
        return [base.id for base in classes[name].bases if isinstance(base, ast.Name)] if name in classes else []

    def is_error(name: str) -> bool:
        return name == "SovitsError" or any(is_error(base) for base in base_names(name))

    return {name: code for name in classes if (code := code_of(name))}


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


def test_every_message_and_hint_of_an_error_is_chinese_in_chinese() -> None:
    english = {}
    for code, kind, sentence in _raised(MESSAGE_PACKAGES):
        if kind == "fragment":
            continue
        message, hint = translate(code, *((sentence, "") if kind == "message" else ("", sentence)))
        if _remains_english(sentence, message if kind == "message" else hint):
            english[sentence] = (code, message, hint)

    assert english == {}


def test_what_a_message_says_of_a_value_is_chinese_in_chinese() -> None:
    fragments = {sentence for _, kind, sentence in _raised(MESSAGE_PACKAGES) if kind == "fragment"}

    assert "is a link" not in fragments
    assert {fragment for fragment in fragments if translate_value("", fragment) == fragment} == set()


def test_every_sentence_that_a_record_may_hold_is_chinese_in_chinese() -> None:
    sentences = {progress_message(code, **dict.fromkeys(PROGRESS_VALUES, 7)) for code in PROGRESS_CODES}
    for module in MODULES_OF_RECORDS:
        for path in REPOSITORY.glob(module):
            sentences |= set(_sentences_said(_tree(path)))

    assert {"Spoke 7 of 7 sentences.", "It is empty.", "The report is being made."} <= sentences
    assert {sentence for sentence in sentences if translate_text(sentence) == sentence} == set()


PROGRESS_VALUES = ("time", "stages", "seconds", "count", "done", "epoch", "number", "voice")
MODULES_OF_RECORDS = (
    "api/routes/inference/events.py",
    "api/services/health.py",
    "api/services/named_voices.py",
    "api/services/speech_session.py",
    "core/datasets/*.py",
    "core/experiments/reconciler.py",
    "core/experiments/scheduler.py",
    "core/jobs/placement_reports.py",
    "core/media/*.py",
    "core/records/repositories/dataset_versions.py",
    "core/records/repositories/webhooks.py",
    "core/speech/batches.py",
    "core/speech/checks.py",
    "core/speech/dubbing.py",
    "core/speech/inference.py",
    "core/stages/parameter_schema.py",
    "core/webhooks/sender.py",
    "roles/datasets/*.py",
    "roles/preprocessing/*.py",
    "roles/speech/*.py",
    "roles/training/*.py",
    "roles/voices/*.py",
    "GPT_SoVITS/dataset/checks.py",
    "GPT_SoVITS/dataset/compare.py",
)
"""Where progress, skipped files, problems of segments, warnings and ends of deliveries get their sentences."""


def _sentences_said(tree: ast.Module) -> Iterator[str]:
    """Yield every sentence of a module but docstrings, descriptions of parameters and lines of the log."""
    silent: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("logger.", "Field", "parser.")):
            silent |= set(ast.walk(node))
        elif isinstance(node, ast.JoinedStr):
            silent |= set(ast.walk(node)) - {node}
    for node in ast.walk(tree):
        if node not in silent:
            for text in _texts(node, "7"):
                # What begins with two values has its words among them, or belongs to a code.
                if re.fullmatch(r"(?!7 7 )(?=.*[a-z])[A-Z7].* .*\.", text):
                    yield text


def _remains_english(sentence: str, translated: str) -> bool:
    """Return whether a sentence was kept behind that of its code, or for want of one as it is."""
    if not re.search("[A-Za-z]", sentence):
        return False  # nothing but a value: a message that comes from elsewhere
    return f"（{sentence}）" in translated or (translated == sentence and not sentence.startswith(UNTRANSLATED))


UNTRANSLATED = ("pip install ", "POST /api/v1/task/create")
"""Hints that are a command or a path."""


def test_every_template_is_a_sentence_that_the_server_says() -> None:
    sentences = {sentence for package in MESSAGE_PACKAGES for sentence in _sentences(package)}
    templates = TEMPLATES | {english: chinese for of_code in GENERAL.values() for english, chinese in of_code.items()}

    assert templates.keys() - sentences == set()
    for english, chinese in (templates | VALIDATION).items():
        assert english.count("{}") == len(re.findall(r"\{\d?\}", chinese)), english


def _sources(package: str) -> Iterator[Path]:
    return (REPOSITORY / package).rglob("*.py")


def _trees(packages: Iterable[str]) -> Iterator[ast.Module]:
    for package in packages:
        yield from (_tree(path) for path in _sources(package))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _raised(packages: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield code, kind (message, hint or fragment) and text of every error that the sources name, 7 for each value."""
    codes = _class_codes(list(_trees(PACKAGES))) | {"UnusableAudio": "bad_audio"}
    trees = list(_trees(packages))
    shared = {name: maker for tree in trees for name, maker in _error_makers(tree, codes) if name[0] != "_"}
    for tree in trees:
        makers = shared | dict(_error_makers(tree, codes))
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name in ("ModelError", "error_from_code"):
                first = call.args[0] if call.args else None
                code = str(first.value) if isinstance(first, ast.Constant) else ""
                names = ["code", "message"]
            elif name in codes:
                code, names = codes[name], ["message"]
            elif name in makers:
                code, names = makers[name]
            else:
                continue
            arguments = [*zip(names, call.args, strict=False)]
            arguments += [(keyword.arg or "", keyword.value) for keyword in call.keywords]
            for parameter, value in arguments:
                kind = parameter if parameter in ("message", "hint") else "fragment"
                if kind != "fragment" or name in makers:
                    for text in _texts(value, "7"):
                        if kind != "fragment" or re.search("[a-z] ", text):
                            yield code, kind, text


def _error_makers(tree: ast.Module, codes: dict[str, str]) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Yield the functions of a module that return an error, with its code and the names of their parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) in {"ModelError", *codes}:
            code = re.search(r"return ModelError\(\s*'(\w+)'", ast.unparse(node))
            parameters = [argument.arg for argument in node.args.args if argument.arg != "self"]
            yield node.name, (code[1] if code else "", parameters)


def _sentences(package: str) -> Iterator[str]:
    """Yield every string of the sources, `{}` for each value in it."""
    for path in _sources(package):
        if path.parent.name != "translations":
            for node in ast.walk(_tree(path)):
                for text in _texts(node, "{}"):
                    yield text
                    yield re.sub(r"\{\w+\}", "{}", text)  # those of progress have names for their values


def _texts(node: ast.AST, value: str) -> Iterator[str]:
    """Yield the text of a string, `value` for each value in it."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else value for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def test_messages_of_several_sentences_are_translated_sentence_by_sentence() -> None:
    message = (
        "The field 'speed' is 9: Input should be less than or equal to 4. There is no field 'sped'. "
        "The field 'input' is missing."
    )
    assert translate("invalid_request", message, "Languages: zh, en. Try again shortly.") == (
        "字段 'speed' 的值 9 有误：应小于或等于 4。没有字段 'sped'。缺少字段 'input'。",
        "语言：zh, en。请稍后重试。",
    )
    failed = "The report on version 2 failed: The recording lasts 0.2 s; at least 0.5 s are needed."
    assert translate("conflict", failed, "")[0] == "版本 2 的报告失败：录音长 0.2 秒，至少需要 0.5 秒。"
    assert translate("conflict", "The text is empty. Nobody said so before.", "")[0] == (
        "当前状态不允许此操作。（The text is empty. Nobody said so before.）"
    )


async def test_what_is_wrong_with_the_fields_of_a_request_is_said_in_chinese(client: httpx.AsyncClient) -> None:
    body = {"input": "Hello.", "voice": "x", "speed": 9, "sped": 1, "response_format": "ogg", "seed": "many"}
    response = await client.post("/v1/audio/speech", json=body, headers={"Accept-Language": "zh"})
    error = response.json()["error"]

    assert "（" not in error["message"]
    assert "'speed'" in error["message"]
    assert "应小于或等于 4" in error["message"]
    assert "没有字段 'sped'" in error["message"] or "'sped'" not in error["message"]


async def test_the_parameters_of_every_stage_are_described_in_chinese(client: httpx.AsyncClient) -> None:
    described = set()
    for stage in STAGES:
        response = await client.get(f"/api/v1/stages/{stage}/schema", headers={"Accept-Language": "zh"})
        english = (await client.get(f"/api/v1/stages/{stage}/schema")).json()
        for name, parameter in response.json()["parameters"].items():
            described.add(english["parameters"][name]["description"])
            assert re.search("[一-鿿]", parameter["description"]), parameter["description"]
        assert "Accept-Language" in response.headers["vary"]

    assert DESCRIPTIONS.keys() == described


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
    assert translate("conflict", "x was y", "do z") == (
        "当前状态不允许此操作。（x was y）",
        "请先查看其状态，再重试。（do z）",
    )
    assert translate("code_of_a_newer_version", "x is y", "") == ("操作无法完成。（x is y）", "")


def test_values_in_a_message_stay_as_they_are_and_may_change_places() -> None:
    message = "The scope `train` is needed for {this}; this API key has read, speak."

    assert translate("forbidden", message, "")[0] == "{this} 需要权限 `train`；此 API 密钥的权限为 read, speak。"


def test_a_value_may_hold_what_separates_values() -> None:
    assert translate("not_found", "There is nothing at /a. is ; it.", "")[0] == "/a. is ; it 处没有内容。"
    assert translate("not_allowed", "PUT is not for /a is not for.", "")[0] == "/a is not for 不接受 PUT。"


def test_a_long_message_that_almost_matches_templates_is_translated_at_once() -> None:
    began = time.process_time()
    for piece in (". is ", ". is ; ", " is not for ", "The scope ` is needed for ", " s; at least "):
        translate("not_found", "The " + piece * 10_000, "")

    assert time.process_time() - began < 2


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
