"""The page of services: a real hub, real servers of calls, and peers that say nothing, in a real browser."""

import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from snyper.dashboard.service_readings import MOST_ANSWER_BYTES, READ_S
from snyper.services.client import Client
from snyper.services.server import Server
from tests.integration.browsing import (
    DEADLINE_MS,
    Locator,
    Page,
    Watched,
    expect,
    needs_browser,
)
from tests.integration.calls_harness import HOST, HubProcess, Powermeter
from tests.integration.dashboard_process import Process
from tests.integration.harness import wait_until

pytestmark = [*needs_browser, pytest.mark.slow]

SERVICES = """
import time
from pathlib import Path

from snyper.services import data_service


@data_service
def weigh(data):
    while data != "bad" and Path("hold").exists():
        time.sleep(0.005)
    if data == "bad":
        raise ValueError("bad")
"""
MARKUP = "<img src=x onerror=window.harmed=1>\u202e"
BOAST = {
    **dict.fromkeys(("workers", "ready", "busy", "waiting"), 10**5_000),
    "services": [
        {"name": MARKUP, "calls": 10**5_000, "failures": -1, "running": 0, "median_s": float("nan")}
    ],
}


def open_page(desk: Watched) -> Page:
    page = desk.context.new_page()
    page.goto("/services")
    return page


def panel(page: Page, name: str) -> Locator:
    return page.locator(f'section.service[aria-label="{name}"]')


def fact(page: Page, name: str, value: str) -> Locator:
    return panel(page, name).locator(f'[data-fact="{value}"]')


def test_without_services_it_says_what_to_do(desk: Watched, hub: HubProcess) -> None:
    page = open_page(desk)
    expect(page.get_by_text("No service has registered yet")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text(f"snyper serve services.py --hub {hub.address}")
    page.goto("/")
    page.keyboard.press("5")
    expect(page.get_by_role("heading", name="Services", level=1)).to_be_visible()
    desk.is_fine()


def test_what_becomes_of_calls(desk: Watched, hub: HubProcess) -> None:
    go_on = threading.Event()

    def measure(what: str) -> None:
        if what == "long":
            go_on.wait(DEADLINE_MS / 1000)
        elif what != "fine":
            raise ValueError(what)

    place: dict[str, Any] = {"hub": hub.address, "name": "lab1"}
    server = Server(Powermeter(), measure, **place)
    server.run(threaded=True)
    try:
        with Client(**place) as client, Client(**place) as other:
            client.measure("fine")
            with pytest.raises(ValueError, match="img"):
                client.measure(MARKUP)
            calling = [threading.Thread(target=one.measure, args=("long",)) for one in (client, other)]
            for thread in calling:
                thread.start()
            page = open_page(desk)
            expect(panel(page, "lab1").locator(".state")).to_have_text("here")
            expect(panel(page, "lab1").locator(".subtitle")).to_have_text("Powermeter, 1 function")
            expect(fact(page, "lab1", "Calls")).to_have_text("2")
            expect(fact(page, "lab1", "Failed")).to_have_text("⚠ 1")
            expect(fact(page, "lab1", "Running")).to_have_text("1")
            expect(fact(page, "lab1", "Waiting")).to_have_text("1")
            expect(panel(page, "lab1").locator(".outcome", has_text="<img src=x")).to_be_visible()
            go_on.set()
            for thread in calling:
                thread.join()
            expect(fact(page, "lab1", "Calls")).to_have_text("4")
    finally:
        go_on.set()
        server.close()
    expect(panel(page, "lab1").locator(".state")).to_contain_text("away")
    expect(panel(page, "lab1")).to_have_attribute("data-live", "false")
    expect(fact(page, "lab1", "Calls")).to_have_text("4")  # what was known stays
    assert page.evaluate("window.harmed ?? null") is None
    desk.is_fine()


def test_workers_and_their_queue(desk: Watched, hub: HubProcess, tmp_path: Path) -> None:
    place: dict[str, Any] = {"hub": hub.address, "name": "laptop"}
    hold = tmp_path / "hold"
    hold.touch()
    (tmp_path / "services.py").write_text(SERVICES)
    serve = Process(
        tmp_path,
        *("serve", "services.py", "--listen", f"{HOST}:0", "--workers", "1", "--limit", "places=2"),
        *("--hub", hub.address, "--name", "laptop"),
    )
    try:
        with Client(**place) as client, Client(**place) as other, Client(**place) as third:
            with pytest.raises(ValueError, match="bad"):
                client.weigh("bad")
            # One is worked on, one waits for the worker, one for a place.
            calling = [threading.Thread(target=one.weigh, args=("much",)) for one in (client, other, third)]
            for thread in calling:
                thread.start()
            page = open_page(desk)
            page.set_viewport_size({"width": 360, "height": 740})
            expect(fact(page, "laptop", "Workers")).to_have_text("1 of 1 busy")
            expect(fact(page, "laptop", "Waiting")).to_have_text("2")
            hold.unlink()
            for thread in calling:
                thread.join()
        cells = panel(page, "laptop").locator("tbody td")
        expect(cells).to_have_text(["weigh", "4", "⚠ 1", "0", re.compile("s$")])
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    finally:
        hold.unlink(missing_ok=True)
        serve.end()
    desk.is_fine()


def test_who_does_not_answer_holds_nobody_up_and_nobody_is_asked_unseen(
    desk: Watched, hub: HubProcess, tmp_path: Path
) -> None:
    host, _, port = hub.address.rpartition(":")
    mute = []
    for number in range(6):  # more than are asked at once
        sock = socket.create_connection((host, int(port)))
        about = {"role": "service", "heartbeat_ms": 60_000, "firmware": MARKUP}
        line = json.dumps({"type": "register", "id": 0, "target_id": f"mute{number}", "data": about})
        sock.sendall(line.encode() + b"\n")
        mute.append(sock)
    liar = Server(hub=hub.address, name="liar", statistics=lambda: {"workers": "many"})
    boaster = Server(hub=hub.address, name="boaster", statistics=lambda: BOAST)
    talker = Server(hub=hub.address, name="talker", statistics=lambda: {"workers": "x" * MOST_ANSWER_BYTES})
    secret = Server(hub=hub.address, name="vault", secret="some words that nobody guesses")
    asked = threading.Semaphore(0)
    well = Server(hub=hub.address, name="well", statistics=asked.release)
    for server in (liar, boaster, talker, secret, well):
        server.run(threaded=True)
    signal = Process(tmp_path, "simulate-signal", "--hub", hub.address, "--name", "signal")
    page = open_page(desk)
    try:
        expect(fact(page, "well", "Calls")).to_have_text("0")
        expect(panel(page, "liar")).to_contain_text("What it says of its work has no sense")
        expect(panel(page, "talker")).to_contain_text("the answer is larger than is taken here")
        expect(panel(page, "boaster").locator("td").first).to_contain_text("<img src=x")
        expect(panel(page, "vault")).to_contain_text("secret")
        expect(panel(page, "signal").locator(".hint")).to_have_text("It serves no calls")
        expect(panel(page, "signal").locator(".problem")).to_have_count(0)
        expect(panel(page, "mute0")).to_contain_text("It does not answer within 2 s")
        expect(panel(page, "mute0").locator(".subtitle")).to_contain_text("<img src=x")
        assert page.evaluate("window.harmed ?? null") is None
        while asked.acquire(blocking=False):
            pass
        held = list(well._entrance.connections)
        for _ in range(2):
            assert asked.acquire(timeout=DEADLINE_MS / 1000)
        assert held == list(well._entrance.connections) != []  # the hub logs each connection
        page.keyboard.press("1")  # another page in the same tab
        expect(page.get_by_role("heading", name="Range", level=1)).to_be_visible()
        while asked.acquire(blocking=False):
            pass
        under_way = 2
        while asked.acquire(timeout=0.5 + READ_S):
            under_way -= 1
            assert under_way
        wait_until(lambda: not well._entrance.connections, "it hung up")
    finally:
        for server in (liar, boaster, talker, secret, well):
            server.close()
        for sock in mute:
            sock.close()
        signal.end()
    desk.is_fine()
