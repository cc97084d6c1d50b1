"""The signal's WebSocket in a browser: in JSON, in bytes, and from a page of another site."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dashboard_process import Process
from tests.integration.harness import HOST
from tools.browser import HEADLESS, HOW_TO_HAVE_IT

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: make setup")

from playwright.sync_api import Page, sync_playwright  # noqa: E402

pytestmark = [pytest.mark.skipif(HEADLESS is None, reason=HOW_TO_HAVE_IT), pytest.mark.slow]

# Opens the WebSocket of a page's own server, or of another, and returns the first messages; of bytes the head
# and the numbers. Of one that is refused it returns nothing.
LISTEN = """
([host, protocols, count]) => new Promise((resolve) => {
  const heard = [], socket = new WebSocket(`ws://${host || location.host}/ws/stream`, protocols);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { socket.send("oops"); socket.send(JSON.stringify({action: "start"})); };
  socket.onerror = () => resolve(heard);
  socket.onmessage = ({data}) => {
    if (typeof data === "string") heard.push(JSON.parse(data));
    else {
      const begin = 4 + new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, begin - 4)));
      const [points] = head.shape;
      const x = new Float64Array(data, begin, points);
      const y = new Float64Array(data, begin + 8 * points, points);
      heard.push({...head, x: [...x], y: [...y], bytes: data.byteLength});
    }
    if (heard.length === count) { socket.close(); socket.onclose = () => resolve(heard); }
  };
})
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with the demonstration signal; its HOST:PORT."""
    home = tmp_path_factory.mktemp("gateway")
    process = Process(home, "gateway", "--demo-signal", "--listen", f"{HOST}:0")
    yield process.said["urls"][0].partition("://")[2]
    assert process.end() == 0


@pytest.fixture(scope="module")
def page(gateway: str) -> Iterator[Page]:
    """A page of the gateway's own."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=HEADLESS)
        page = browser.new_page()
        page.goto(f"http://{gateway}/health")
        yield page
        browser.close()


def listen(page: Page, protocols: list[str], host: str = "") -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = page.evaluate(LISTEN, [host, protocols, 6])
    return heard


@pytest.mark.parametrize("protocols", [[], ["snyper.binary"]], ids=["JSON", "bytes"])
def test_a_browser_listens(page: Page, protocols: list[str]) -> None:
    error, status, *packets = listen(page, protocols)
    assert error["type"] == "error"
    assert status == {"type": "status", "streaming": True}
    timestamps = [packet["timestamp"] for packet in packets]
    assert timestamps == sorted(set(timestamps))
    for packet in packets:
        assert (packet["type"], packet["shape"], packet["dtype"]) == ("data", [100], "float64")
        assert len(packet["x"]) == len(packet["y"]) == 100
        assert packet["x"][0] == packet["timestamp"]
        assert all(abs(value) < 2 for value in packet["y"])
        assert ("bytes" in packet) == bool(protocols)


def test_a_page_of_another_site_is_refused(page: Page, gateway: str, tmp_path: Path) -> None:
    other = Process(tmp_path, "gateway", "--demo-signal", "--listen", f"{HOST}:0")
    try:
        host = other.said["urls"][0].partition("://")[2]
        assert listen(page, [], host) == []
        assert len(listen(page, [], gateway)) == 6
    finally:
        assert other.end() == 0
