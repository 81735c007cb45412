"""The dashboard and the alert rules read metrics that exist, by labels that they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.http.metrics import Metrics, ServiceSnapshot
from api.http.recovery_metrics import RecoveryCollector
from core.jobs.job import Job
from core.jobs.loaded_models import LoadedModel
from core.jobs.service_counts import TRAINING_SECONDS, TRAINING_STEPS, claim_counts, labeled
from core.limits import GpuInfo, HostInfo
from core.settings import REPOSITORY, read_settings
from recovery.backup.local_state import LocalState

FOLDER = REPOSITORY / "deploy" / "monitoring"
ELSEWHERE = {"up": {"job", "instance"}}
"""Metrics of Prometheus itself."""
ADDED = {"instance", "job"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the names of all samples of `/metrics` with their labels."""
    folder = tmp_path_factory.mktemp("data")
    settings = read_settings(data_path=folder, backup_url=str(folder / "backups"))
    LocalState.of(settings).change_status(name="a", created_at=1.0)
    metrics = Metrics()
    metrics.collectors.append(RecoveryCollector(settings))
    metrics.requests.labels("GET", "/", "200").inc()
    metrics.seconds.labels("/").observe(0.1)
    metrics.speech_seconds.labels("openai").inc()
    metrics.first_audio.observe(0.2)
    gpu = GpuInfo("h", 0, "cuda:0", "a card", "uuid", 100, 50)
    counts = claim_counts("synthesizer", Job(id="a", role="synthesizer", payload={}, created_at=1.0, started_at=2.0))
    counts |= claim_counts("synthesizer", Job(id="b", role="synthesizer", payload={}, attempts=1))
    counts |= {labeled(TRAINING_STEPS, "gpt_train"): 1.0, labeled(TRAINING_SECONDS, "gpt_train"): 1.0}
    snapshot = ServiceSnapshot(
        {"dead": 0},
        {"synthesizer": 1},
        loaded=[LoadedModel("w", "h", "cpu", "voice", "a", 1.0)],
        counts=counts,
        hosts=[HostInfo("h", 2, 100, [gpu])],
        disk=(10, 5),
    )
    families = list(text_string_to_metric_families(metrics.render(snapshot).decode()))
    labels: dict[str, set[str]] = {family.name: set() for family in families}
    for family in families:
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    dashboard = json.loads((FOLDER / "grafana" / "dashboards" / "sovitsd.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in target["expr"] or label == "instance", (panel["title"], label)


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(("title", "expression"), list(expressions()), ids=lambda value: value[:40])
def test_every_metric_exists_with_the_labels_that_are_asked_for(title, expression, shown):
    names = set(re.findall(r"\b(sovits_\w+|up)\b", expression))
    grouping = {label for group in re.findall(r"by \(([\w, ]+)\)", expression) for label in re.findall(r"\w+", group)}
    matched = set(re.findall(r"(\w+)=~?\"", expression))
    metrics = {**shown, **ELSEWHERE}

    assert names
    assert {name for name in names if name not in metrics} == set()
    available = set.union(*(metrics[name] for name in names)) | ADDED
    assert grouping | matched <= available


def test_every_metric_of_the_document_exists(shown):
    document = (REPOSITORY / "docs" / "monitoring.md").read_text()

    of_standby = {"sovits_drill_age_seconds", "sovits_drill_ok", "sovits_recovery_seconds", "sovits_primary"}
    assert set(re.findall(r"`(sovits_\w+)`", document)) - of_standby <= shown.keys()


def test_every_rule_says_what_is_wrong_and_how_bad_it_is():
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_prometheus_accepts_the_rules_and_they_fire():
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")

    for arguments in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")):
        answer = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
