"""What the tests of the console share: a page of the real browser that reports every fault, and axe."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

WAIT_MS = 20_000
expect.set_options(timeout=WAIT_MS)
_WATCH_POLICY = """
window.violations = [];
addEventListener('securitypolicyviolation', ({violatedDirective, blockedURI}) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
"""
_AXE = "axe.min.js"


class ConsolePage:
    """A tab with the console, in a browser profile of its own."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(
            **{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, "permissions": ["microphone"], **options}
        )
        self.context.add_init_script(_WATCH_POLICY)
        self.url = url
        self.faults: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))

    def open(self, route: str = "") -> Page:
        """Open a page of the console and wait for its heading."""
        self.page.goto(f"{self.url}/console/#/{route}")
        self.page.locator("h1").wait_for()
        return self.page

    def violations(self) -> list[str]:
        """Return what the content security policy kept the page from doing."""
        return list(self.page.evaluate("window.violations"))

    def accessibility(self) -> list[str]:
        """Return what axe finds wrong with the page as it is now."""
        self.page.evaluate((files("axe_playwright_python") / _AXE).read_text(encoding="utf-8"))
        report = self.page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
        return [
            f"{violation['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
            for violation in report["violations"]
            for node in violation["nodes"]
        ]

    def _hear(self, kind: str, text: str) -> None:
        # A browser logs every status of 4xx and 5xx, also those that the page expects and explains.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def close(self) -> None:
        self.context.close()


OpenConsole = Callable[..., ConsolePage]
"""The fixture `console`: (url of a server, options of the profile) → a page."""
