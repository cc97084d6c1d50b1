"""A browser whose tabs can be behind each other: Playwright has each of its pages be in front."""

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.integration.browsing import DEADLINE_MS
from tools.browser import CHROMIUM, HOW_TO_HAVE_IT


class Tab:
    """A tab, over Chromium's own protocol: what it evaluates, and how many bytes its WebSockets were sent."""

    def __init__(self, stack: ExitStack, about: dict[str, str]) -> None:
        self.id = about["id"]
        self._received = 0
        self._socket = stack.enter_context(connect(about["webSocketDebuggerUrl"], max_size=None))
        self._calls = 0
        self._call("Network.enable")

    def go_to(self, url: str) -> None:
        """Load a page."""
        self._call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return what a script says, awaited."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def received(self) -> int:
        """Return how many bytes its WebSockets were sent by now."""
        self.evaluate("0")  # what came before its answer is counted
        return self._received

    def until(self, script: str) -> None:
        """Wait until a script says something true."""
        end_s = time.monotonic() + DEADLINE_MS / 1000
        while not self.evaluate(script):
            assert time.monotonic() < end_s, script
            time.sleep(0.05)

    def _call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(DEADLINE_MS / 1000))
            if message.get("method") == "Network.webSocketFrameReceived":
                self._received += len(message["params"]["response"]["payloadData"].encode())
            elif message.get("id") == self._calls:
                return message["result"]


class Tabs:
    """The tabs of one window."""

    def __init__(self, stack: ExitStack, port: int) -> None:
        self._stack = stack
        self._address = f"http://127.0.0.1:{port}/json"

    def open(self) -> Tab:
        """Open an empty tab in front of all others."""
        request = urllib.request.Request(f"{self._address}/new?about:blank", method="PUT")
        with urllib.request.urlopen(request) as answer:
            tab = Tab(self._stack, json.load(answer))
        self.show(tab)
        return tab

    def show(self, tab: Tab) -> None:
        """Have a tab be in front."""
        urllib.request.urlopen(f"{self._address}/activate/{tab.id}").close()


@contextmanager
def running_tabs() -> Iterator[Tabs]:
    """Run a browser for the block; skip the test where there is none that has tabs."""
    if CHROMIUM is None:
        pytest.skip(HOW_TO_HAVE_IT)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        options = ("--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0")
        browser = stack.enter_context(
            subprocess.Popen(
                [CHROMIUM, *options, f"--user-data-dir={folder}", "about:blank"],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(browser.terminate)
        assert browser.stderr is not None
        said = next(line for line in browser.stderr if "DevTools listening on ws://" in line)
        yield Tabs(stack, int(said.partition("ws://")[2].partition("/")[0].rpartition(":")[2]))
