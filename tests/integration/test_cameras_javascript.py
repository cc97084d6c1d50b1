"""docs/cameras.md's JavaScript with socket.io-client 4: in Node, and on a page of another site."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cameras_harness import DETECTION, CameraGateway, connected
from tests.integration.harness import HOST
from tests.integration.test_cameras_docs import SHOWN_URLS, code_under
from tools.browser import HEADLESS, HOW_TO_HAVE_IT

CLIENT = "socket.io-client@4.8.4"
# What the document's code is put into: what it prints is collected, until each of READY was there.
PROGRAM = """
const said = [];
const told = console.log;
console.log = console.error = (...words) => {{ said.push(words); }};
{setup}
{document}
const begun = Date.now();
await new Promise((resolve, reject) => {{
  const look = setInterval(() => {{
    const heard = said.map((words) => JSON.stringify(words));
    const ready = {ready}.every((part) => heard.some((text) => text.includes(part)));
    if (ready || Date.now() - begun > 20000) {{
      clearInterval(look);
      if (ready) resolve(); else reject(new Error(heard.join("\\n")));
    }}
  }}, 5);
}});
const transport = socket.io.engine.transport.name;
socket.disconnect();
"""
# A part of what is printed for each answer.
READY = [
    "Connected to LPR Server",
    "Camera registered:",
    "detection_id",
    "health_id",
    '"pong"',
    "New detection:",
    "Health update:",
    '"status":"online"',
]


def document(url: str) -> str:
    """Return all JavaScript of the document: who watches joins before anything is there to be seen."""
    connect, *others = code_under("Over Socket.IO", "javascript")
    joins = [code for code in others if "join_" in code]
    assert len(joins) == 2
    code = "\n".join([connect, *joins, *(one for one in others if one not in joins)])
    for shown in SHOWN_URLS:
        code = code.replace(shown, url)
    return code


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install socket.io-client once for all runs; return its folder of modules."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no Node here: apt install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "snyper" / "npm" / CLIENT
    if not cache.exists():
        fresh = tmp_path_factory.mktemp("npm")
        command = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(fresh),
            CLIENT,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install {CLIENT} here: {done.stderr[-300:]}")
        cache.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(shutil.copytree(fresh, cache.with_name(f"{CLIENT}.{os.getpid()}")))
        try:
            staged.rename(cache)
        except OSError:  # another process was first
            shutil.rmtree(staged)
    return cache / "node_modules"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
        assert running.end() == 0


def in_node(modules: Path, directory: Path, program: str) -> list[Any]:
    file = directory / "program.mjs"
    file.write_text(program, encoding="utf-8")
    (directory / "node_modules").symlink_to(modules)
    command = ["node", str(file)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told: list[Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("transport", ["polling", "websocket", ""])
def test_in_node(gateway: CameraGateway, modules: Path, tmp_path: Path, transport: str) -> None:
    code = document(gateway.url)
    if transport:
        code = code.replace("io('", "io.connect('").replace("')", f"', {{transports: ['{transport}']}})", 1)
    setup = "import { io } from 'socket.io-client';"
    program = PROGRAM.format(setup=setup, document=code, ready=json.dumps(READY))
    last, said = in_node(modules, tmp_path, program + "told(JSON.stringify([transport, said]));")
    assert last == (transport or "websocket")
    assert not [words for words in said if "error" in str(words).lower()]


def test_reserved_events_reach_nobody(gateway: CameraGateway, modules: Path, tmp_path: Path) -> None:
    """The client drops a connection on which one comes: it stays, with acknowledgements."""
    program = f"""
import {{ io }} from 'socket.io-client';
const socket = io('{gateway.url}', {{reconnection: false}});
const events = [], ends = [];
socket.onAny((name) => events.push(name));
socket.on('disconnect', (reason) => ends.push(reason));
const answers = [];
answers.push(await socket.emitWithAck('camera_register', {json.dumps(DETECTION)}));
answers.push(await socket.emitWithAck('join_dashboard', null));
for (let n = 0; n < 100; n++) answers.push(await socket.emitWithAck('lpr_data', {json.dumps(DETECTION)}));
answers.push(await socket.timeout(5000).emitWithAck('nonsense', 1));
const connected = socket.connected;
socket.disconnect();
console.log(JSON.stringify([connected, ends, [...new Set(events)], answers.map((one) => one.success)]));
"""
    connected_still, ends, events, answers = in_node(modules, tmp_path, program)
    assert (connected_still, ends) == (True, ["io client disconnect"])
    assert set(events) == {
        "camera_register",
        "status",
        "lpr_response",
        "new_detection",
        "error",
    }
    assert answers == [True] * 102 + [False]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_: object) -> None:
        pass


@pytest.fixture
def site(modules: Path, tmp_path: Path) -> Iterator[str]:
    """A page of another origin, which has loaded the client; its address."""
    (tmp_path / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,"><script src="socket.io.js"></script>'
    )
    shutil.copy(modules / "socket.io-client" / "dist" / "socket.io.js", tmp_path)
    with ThreadingHTTPServer((HOST, 0), partial(_Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{HOST}:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(HEADLESS is None, reason=HOW_TO_HAVE_IT)
def test_in_a_browser(gateway: CameraGateway, site: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: make setup")
    program = PROGRAM.format(setup="", document=document(gateway.url), ready=json.dumps(READY))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=HEADLESS)
        page = browser.new_page()
        complaints: list[str] = []
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.goto(site)
        transport = page.evaluate(f"async () => {{ {program} return transport; }}")
        fetched = page.evaluate(
            """async ([url, body]) => (await fetch(url + "/api/detection", {method: "POST",
                headers: {"content-type": "application/json"}, body: JSON.stringify(body)})).json()""",
            [gateway.url, DETECTION],
        )
        browser.close()
    assert transport == "websocket"
    assert fetched["success"] is True
    assert complaints == []


@pytest.mark.slow
@pytest.mark.skipif(HEADLESS is None, reason=HOW_TO_HAVE_IT)
def test_a_page_that_may_not(tmp_path: Path, site: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: make setup")
    with (
        CameraGateway(tmp_path / "home", "--origin", "https://lab.example") as gateway,
        playwright.sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=HEADLESS)
        page = browser.new_page()
        page.goto(site)
        refused = page.evaluate(
            """(url) => new Promise((resolve) => {
                const socket = io(url, {reconnection: false});
                socket.on("connect", () => resolve("connected"));
                socket.on("connect_error", () => resolve("refused"));
            })""",
            gateway.url,
        )
        browser.close()
        assert refused == "refused"
        with connected(gateway.url) as (client, _):
            assert client.call("ping", {})["success"] is True
