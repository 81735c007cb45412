"""What the tests of the console share: a page of the real browser that reports every fault, and axe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)
_WATCH_POLICY = """
window.violations = [];
addEventListener('securitypolicyviolation', ({violatedDirective, blockedURI}) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
"""
_AXE = "axe.min.js"
_VISIBLE_TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  const ours = 'code, bdi, pre, script, style, textarea, input, .brand, [lang=en], [dir=auto], [data-user]';
  while (walker.nextNode()) {
    const {parentElement: element, data} = walker.currentNode;
    if (data.trim() && element.checkVisibility() && !element.closest(ours)) texts.push(data.trim());
  }
  for (const element of document.querySelectorAll('[aria-label], [placeholder]')) {
    if (!element.closest(ours)) texts.push(element.ariaLabel || element.placeholder);
  }
  return texts;
}"""
_ENGLISH = re.compile(r"[A-Za-z]{4}")
_PROPER_NAMES = re.compile(  # of products, formats, parameters, and of the bundled voices
    r"sovitsd|SoVITS|DNSMOS|SSML|HTTPS?|POST|Redis|ARPAbet|webhook|Webhook|nano|allison|xiaoyi|yunjian|default"
    r"|https?://\S+|[\w-]*\.(?:list|ssml|ckpt|\w{3})\b|(?:ckpt|exp)-\S+|\w+_\w+|asr"
)


class ConsolePage:
    """A tab with the console, in a browser profile of its own."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(
            **{
                "locale": "en-GB",
                "viewport": {"width": 1280, "height": 900},
                "permissions": ["microphone"],
                "reduced_motion": "reduce",  # axe measures colors, which change for a moment otherwise
                **options,
            }
        )
        self.context.add_init_script(_WATCH_POLICY)
        self.url = url
        self.faults: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.streams: set[Request] = set()
        self.page.on("request", self._open_stream)
        for end in ("requestfinished", "requestfailed"):
            self.page.on(end, lambda request: self.streams.discard(request))

    def open(self, route: str = "") -> Page:
        """Open a page of the console and wait for its heading."""
        self.page.goto(f"{self.url}/console/#/{route}")
        self.page.locator("h1").wait_for()
        return self.page

    def violations(self) -> list[str]:
        """Return what the content security policy kept the page from doing."""
        return list(self.page.evaluate("window.violations"))

    def count_streams(self) -> int:
        """Return how many event streams are open, once those that are being closed are."""
        deadline = time.monotonic() + 10
        while len(self.streams) > 1 and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        return len(self.streams)

    def faults_of_access(self, names: Collection[str] = ()) -> list[str]:
        """Return what axe finds wrong with the page in both languages and themes, and what is English in Chinese.

        `names`: what stays as it is, as a text or in one.
        """
        faults: list[str] = []
        for language in ("en", "zh"):
            self.page.locator(".choices select").first.select_option(language)
            for theme in ("light", "dark"):
                self.page.locator(".choices select").nth(1).select_option(theme)
                faults += [f"{language} {theme}: {fault}" for fault in self.accessibility()]
        faults += [f"English: {text}" for text in self.english_texts(names)]
        self.page.locator(".choices select").first.select_option("en")
        return faults

    def english_texts(self, names: Collection[str] = ()) -> list[str]:
        """Return texts of the page with an English word; not names, code and what the user wrote (`dir=auto`)."""
        not_english = re.compile("|".join([*map(re.escape, names), _PROPER_NAMES.pattern]))
        return [text for text in self.page.evaluate(_VISIBLE_TEXTS) if _ENGLISH.search(not_english.sub("", text))]

    def accessibility(self, selector: str = "") -> list[str]:
        """Return what axe finds wrong with the page as it is now, or with the contrast of one element."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate((files("axe_playwright_python") / _AXE).read_text(encoding="utf-8"))
        options = {"resultTypes": ["violations"], "preload": False}
        if selector:
            options["runOnly"] = ["color-contrast"]
        report = self.page.evaluate("([where, options]) => axe.run(where || document, options)", [selector, options])
        return [
            f"{violation['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
            for violation in report["violations"]
            for node in violation["nodes"]
        ]

    def _open_stream(self, request: Request) -> None:
        if request.headers.get("accept") == "text/event-stream":
            self.streams.add(request)

    def _hear(self, kind: str, text: str) -> None:
        # A browser logs every status of 4xx and 5xx, also those that the page expects and explains.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def close(self) -> None:
        self.context.close()


OpenConsole = Callable[..., ConsolePage]
"""The fixture `console`: (url of a server, options of the profile) → a page."""
