"""Experiments in the browser: stages as a graph, forms from their schemas, run, cancelled, logged."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from browser_world import OpenConsole
from playwright.sync_api import expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_an_expert_makes_an_experiment_and_runs_a_stage_with_other_parameters(
    console: OpenConsole, daemon: Daemon, recording: Path
) -> None:
    opened = console()
    page = opened.open("experiments")
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
    expect(slicing).to_have_attribute("aria-label", "Slicing: completed", timeout=60_000)
    expect(page.get_by_role("log")).to_contain_text("Done.")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()

    experiment = page.url.split("/")[-2]
    stage = httpx.get(f"{daemon.url}/api/v1/experiments/{experiment}/stages/audio_slice").json()
    assert stage["config"]["min_length"] == 2000
    assert opened.accessibility() == []

    page.get_by_role("link", name=re.compile("^SoVITS training:")).click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("text_feature")


def test_the_whole_page_is_there_in_chinese(console: OpenConsole) -> None:
    page = console(locale="zh-CN").open("experiments")
    page.get_by_role("link", name="expert").click()
    expect(page.get_by_role("link", name="音频切片: 已完成")).to_be_visible()
    expect(page.get_by_role("button", name="运行预设")).to_be_visible()
    expect(page.get_by_role("heading", name="日志")).to_be_visible()
