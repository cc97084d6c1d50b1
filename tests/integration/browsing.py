"""A browser in front of the dashboard: what it says and asks for is watched."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.dashboard_process import Process
from tests.integration.harness import DEADLINE_S, HOST, free_port
from tools.browser import HEADLESS, HOW_TO_HAVE_IT

pytest.importorskip("playwright.sync_api", reason="no playwright here: make setup")
pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

# Whoever imports them from here is skipped where there is no browser to be driven.
__all__ = ["Browser", "Locator", "Page", "expect"]

needs_browser = [
    pytest.mark.skipif(HEADLESS is None, reason=HOW_TO_HAVE_IT),
    pytest.mark.skipif(sys.platform == "win32", reason="its processes are ended by signals"),
]

PAGES = ("/", "/game", "/history", "/health", "/services", "/signals", "/cameras")
DEADLINE_MS = round(DEADLINE_S * 1000)  # for whatever is waited for on a page


class Watched:
    """A browser's context with what it said and asked for."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        context.set_default_timeout(DEADLINE_MS)
        context.on("console", self._record_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        context.on("page", lambda page: page.on("websocket", self._record_socket))

    def _record_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _record_socket(self, opened: Any) -> None:
        self.hosts.add(urlsplit(opened.url).hostname or "")

    def is_fine(self) -> None:
        assert self.complaints == []
        assert self.hosts <= {HOST, ""}, "a request left the machine"  # "": data: and blob:


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser for the block."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=HEADLESS)
        yield browser
        browser.close()


@contextmanager
def watched_context(browser: Browser, url: str, **options: Any) -> Iterator[Watched]:
    """Open a context of a browser on a desk for the block, whose pages are those at `url`."""
    expect.set_options(timeout=DEADLINE_MS)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=url, **options)
    yield Watched(context)
    context.close()


@contextmanager
def running_dashboard(
    directory: Path,
    hub: str,
    gateway: str = f"http://{HOST}:9",
    cameras: str = f"http://{HOST}:9",
    *more: str,
) -> Iterator[str]:
    """Run the dashboard of a hub for the block, with archive, recordings and log in `directory`; return its
    address.
    """
    listen = f"{HOST}:{free_port()}"
    dashboard = Process(
        directory,
        *("dashboard", "--hub", hub, "--listen", listen, "--no-open"),
        *("--archive", str(directory / "archive.sqlite3"), "--gateway", gateway),
        *("--cameras", cameras, *more),
    )
    try:
        yield f"http://{listen}"
    finally:
        status = dashboard.end()
    assert status == 0
