"""Container files: what schemas say of them, and that they agree with the product and with one another."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from core.env_file import setting_names
from core.jobs.roles import PREPROCESSOR, SPLITTER, SYNTHESIZER, TRAINER

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
COMPOSE = {mode: REPOSITORY / f"docker-compose.{mode}.yml" for mode in ("local", "server")}
MANIFESTS = sorted((REPOSITORY / "deploy" / "kubernetes").glob("*.yaml"))
NO_MANIFESTS = ("kustomization.yaml", "prometheus-adapter.yaml")


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / name
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def workloads() -> dict[str, dict[str, Any]]:
    """Return the pods of the manifests by the name of their Deployment."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for path in MANIFESTS
        for manifest in documents(path)
        if manifest.get("kind") == "Deployment"
    }


def test_schemas_and_the_shell_accept_the_files():
    manifests = [path for path in MANIFESTS if path.name not in NO_MANIFESTS]
    for result in (
        run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE.values()),
        run_tool("kubernetes-validate", "--strict", *manifests),
        subprocess.run(
            ["sh", "-n", REPOSITORY / "deploy/container-start"], capture_output=True, text=True, check=False
        ),
    ):
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_copies_only_what_its_ignore_file_lets_in():
    allowed = {
        line.removeprefix("!")
        for line in (REPOSITORY / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in DockerfileParser(fileobj=BytesIO(DOCKERFILE.read_bytes())).structure
        if line["instruction"] == "COPY" and not line["value"].startswith("--from")
        for source in line["value"].split()[:-1]
    }

    assert copied == allowed
    assert all(list(REPOSITORY.glob(source)) for source in copied)


def test_the_image_holds_every_package_of_the_product():
    """A top-level package that `main.py` may import is copied; tests, documents and data are not."""
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"benchmarks", "tests"}
    text = DOCKERFILE.read_text(encoding="utf-8")

    assert packages >= {"api", "core", "GPT_SoVITS"}
    assert all(f"COPY {package} {package}\n" in text for package in (*packages, "client"))


@pytest.mark.parametrize("mode", ["local", "server"])
def test_services_are_confined_and_reached_from_this_machine_only(mode):
    compose = yaml.safe_load(COMPOSE[mode].read_text(encoding="utf-8"))
    own = {name: service for name, service in compose["services"].items() if "sovitsd" in service["image"]}

    for service in own.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert ":latest" not in service["image"]
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.replace("${PUBLISH_ADDRESS:-127.0.0.1}", "127.0.0.1").startswith("127.0.0.1:")
    assert own["api"]["ports"][0].endswith(":8000:8000")
    assert any(volume.endswith(":/app/data") for volume in own["api"]["volumes"])


def test_every_variable_is_a_setting_and_every_role_is_started_once():
    variables = setting_names() | {"FIRST_KEY"}
    compose = yaml.safe_load(COMPOSE["server"].read_text(encoding="utf-8"))
    local = yaml.safe_load(COMPOSE["local"].read_text(encoding="utf-8"))
    own = {name: service for name, service in compose["services"].items() if "sovitsd" in service["image"]}
    settings = documents(REPOSITORY / "deploy/kubernetes/settings.yaml")[0]["data"]

    assert local["services"]["api"]["environment"].keys() <= variables
    assert settings.keys() <= variables
    for commands in (
        [service["command"] for service in own.values()],
        [pod["containers"][0]["args"] for pod in workloads().values()],
    ):
        roles = [role for command in commands if "--roles" in command for role in command[-1].split(",")]
        assert sorted(roles) == sorted([SPLITTER, SYNTHESIZER, PREPROCESSOR, TRAINER])  # files come with them
        assert ["python", "main.py", "api"] in commands
    for service in own.values():
        assert service["environment"].keys() <= variables


def test_pods_run_without_privileges_and_end_in_time():
    pods = workloads()

    assert pods.keys() == {"sovitsd-api", "sovitsd-speech", "sovitsd-training"}
    for pod in pods.values():
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/app/data", "/tmp"}
        assert pod["terminationGracePeriodSeconds"] >= 60


def test_the_autoscaler_reads_a_metric_that_the_adapter_makes():
    scaler = next(d for d in documents(REPOSITORY / "deploy/kubernetes/speech.yaml") if "Autoscaler" in d["kind"])
    rules = documents(REPOSITORY / "deploy/kubernetes/prometheus-adapter.yaml")[0]["rules"]["external"]

    metric = scaler["spec"]["metrics"][0]["external"]["metric"]["name"]
    assert metric in {rule["name"]["as"] for rule in rules}
    assert all("sovits_jobs" in rule["seriesQuery"] for rule in rules)


def test_the_kustomization_lists_every_manifest():
    listed = documents(REPOSITORY / "deploy/kubernetes/kustomization.yaml")[0]["resources"]

    assert sorted(listed) == sorted(path.name for path in MANIFESTS if path.name not in NO_MANIFESTS)
