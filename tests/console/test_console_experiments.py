"""Experiments in the browser: stages as a graph, forms from their schemas, run, cancelled, logged."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from browser_world import ConsolePage, OpenConsole
from playwright.sync_api import Browser, expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def experiment(browser: Browser, daemon: Daemon, recording: Path) -> str:
    """Return the id of an experiment that was made in the browser, and whose first stage has run there."""
    console = ConsolePage(browser, daemon.url)
    page = console.open("experiments")
    page.get_by_text("New experiment").click()
    page.get_by_label("Name", exact=True).fill("expert")
    page.get_by_label("Choose a recording").set_input_files(recording)
    expect(page.get_by_text("recording.wav")).to_be_visible()
    expect(page.get_by_role("button", name="Create the experiment")).to_be_enabled()
    page.get_by_role("button", name="Create the experiment").click()
    slicing = page.get_by_role("link", name=re.compile("^Slicing:"))
    expect(slicing).to_have_attribute("aria-label", "Slicing: not started")
    slicing.click()
    field = page.get_by_label("min_length")
    expect(field).to_have_value("4000")
    expect(page.get_by_text("From 1000 to 10000.")).to_be_visible()
    field.fill("2000")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("Done.", timeout=180_000)
    expect(slicing).to_have_attribute("aria-label", "Slicing: completed", timeout=180_000)
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    console.close()
    return page.url.split("/")[-2]


def test_a_stage_runs_with_the_parameters_of_the_form(console: OpenConsole, daemon: Daemon, experiment: str) -> None:
    stage = httpx.get(f"{daemon.url}/api/v1/experiments/{experiment}/stages/audio_slice").json()
    opened = console()
    page = opened.open(f"experiments/{experiment}/audio_slice")
    expect(page.get_by_label("min_length")).to_have_value("2000")
    expect(page.get_by_role("log")).to_contain_text("Done.")

    assert stage["config"]["min_length"] == 2000
    assert opened.faults_of_access(stage["config"]) == []


def test_a_stage_that_cannot_run_yet_says_what_is_missing(console: OpenConsole, experiment: str) -> None:
    page = console(locale="zh-CN").open(f"experiments/{experiment}/sovits_train")
    page.get_by_role("button", name="运行", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("text_feature")
    expect(page.get_by_role("alert")).to_contain_text("需要")
