"""Every page in both languages and themes: axe finds nothing, nothing is English in Chinese, controls can be read."""

from __future__ import annotations

import httpx
import pytest
from browser_world import OpenConsole
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SERVICE = ("overview", "jobs", "dead-letters", "limits", "webhooks", "keys", "audit")
PAGES = (
    *("speak", "new-voice", "voices", "voices/models", "voices/detect", "voices/allison", "datasets", "experiments"),
    *(f"service/{tab}" for tab in SERVICE),
)
CONTROLS = (
    *("[type=submit]", "button.outline.small", "nav.pages a:not([aria-current])", "nav.pages a[aria-current]"),
    *("details > summary", ".choose", ".choices select"),
)


def names_of_users(url: str) -> list[str]:
    """Return what the tests before this one have named, the longest first."""
    lists = (("voices", "name"), ("tasks", "exp_name"), ("experiments", "exp_name"), ("datasets", "name"))
    items = [(httpx.get(f"{url}/api/v1/{kind}").json()["items"], field) for kind, field in lists]
    return sorted({str(item[field]) for page, field in items for item in page}, key=len, reverse=True)


def test_every_page_is_accessible_in_both_languages_and_themes(console: OpenConsole) -> None:
    opened = console()
    page = opened.open("speak")
    faults = {}
    names = names_of_users(opened.url)
    for route in PAGES:
        page.goto(f"{opened.url}/console/#/{route}")
        expect(page.locator("nav.pages a[aria-current=page]")).to_have_attribute("href", f"#/{route.split('/')[0]}")
        expect(page.locator("main > :not(h1)").first).to_be_visible()
        expect(page.get_by_text("Loading …")).to_have_count(0)
        closed = page.locator("main details:not([open]) > summary")
        while closed.count():  # an open one may show others
            closed.first.click()
        faults[route] = opened.faults_of_access(names)

    assert {route: messages for route, messages in faults.items() if messages} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_controls_can_be_read_while_they_are_pointed_at_and_focused(console: OpenConsole, scheme: str) -> None:
    opened = console(color_scheme=scheme)
    page = opened.open("speak")
    page.get_by_label("Text", exact=True).fill("Hello.")
    for control in CONTROLS:
        element = page.locator(control).first
        element.hover()
        assert opened.accessibility(control) == [], f"{control} under the pointer"
        element.focus()
        assert opened.accessibility(control) == [], f"{control} focused"


def test_nothing_moves_for_who_prefers_it_so(console: OpenConsole) -> None:
    page = console().open("speak")
    page.locator("[type=submit]").evaluate("button => button.setAttribute('aria-busy', 'true')")

    durations = page.evaluate(
        "[...document.querySelectorAll('*')].map(element => getComputedStyle(element).transitionDuration)"
    )
    assert set(durations) == {"0s"}


@pytest.mark.parametrize(("locale", "language"), [("en-GB", "en"), ("zh-CN", "zh-CN")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_language_and_theme_are_the_browsers(
    console: OpenConsole, locale: str, language: str, scheme: str
) -> None:
    page = console(locale=locale, color_scheme=scheme).open("speak")

    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    expect(page.get_by_role("heading", level=1)).to_have_text("朗读" if language == "zh-CN" else "Speak")


def test_on_a_phone_the_page_that_is_open_is_seen_in_the_navigation(console: OpenConsole) -> None:
    page = console(locale="zh-CN", viewport={"width": 390, "height": 800}).open("service")

    expect(page.get_by_role("navigation").get_by_text("服务", exact=True)).to_be_in_viewport(ratio=1)
