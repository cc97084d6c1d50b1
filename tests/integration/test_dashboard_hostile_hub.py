"""The dashboard with a hub that somebody plays: what it says is shown as text, whatever it is."""

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.browsing import (
    PAGES,
    Browser,
    Watched,
    expect,
    needs_browser,
    running_browser,
    running_dashboard,
    watched_context,
)
from tests.integration.harness import HOST

pytestmark = [*needs_browser, pytest.mark.slow]

EVIL = 'x" innerHTML="<img src=x onerror=harmed=1>" :a="harmed=1" <img src=x onerror=harmed=1>{{harmed=1}}'
STEADY, OTHER = "target_1", "target_2"  # names of targets are checked where they come in
LOG_PAGE = "12:00 all is well\n" * 100


class HostileHub(socketserver.BaseRequestHandler):
    """Says EVIL wherever it can, and a wrong kind once."""

    pages = 0  # of the log that it was asked for

    def handle(self) -> None:
        with self.request.makefile("rwb") as stream:
            for line in stream:
                for answer in self.answers(json.loads(line)):
                    stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()

    def answers(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind, id = asked["type"], asked.get("id")

        def reply(word: str, status: str = "ok", **data: Any) -> dict[str, Any]:
            return {"type": word, "id": id, "status": status, "data": data}

        if kind == "register":
            yield reply("registered", boot_id="boot", heartbeat_ms=1_000, version=1)
        elif kind == "ping":
            yield reply("pong", uptime_ms=5_000, targets=2, hub_us=5_000_000, journal=EVIL)
        elif kind == "list_targets":
            known = {"connected": True, "seen_ms_ago": 0, "firmware": EVIL, "last_error": EVIL}
            for name, state in ((STEADY, "down"), (OTHER, EVIL)):
                data = {**known, "state": state, "groups": [EVIL], "round_trip_us": 5}
                yield {"type": "target", "id": id, "target_id": name, "data": data}
            yield reply("targets", count=2)
        elif kind == "list_games":
            option = {"name": EVIL, "default": EVIL, "meaning": EVIL, "choices": ["a", "b"]}
            game = {"game": EVIL, "title": EVIL, "rules": EVIL, "options": [option]}
            yield {
                "type": "game",
                "id": id,
                "data": {**game, "min_players": 1, "max_players": 1, "min_targets": 1},
            }
            yield reply("games", count=1)
        elif kind == "get_game":
            data = {
                "game_id": EVIL,
                "game": EVIL,
                "players": [EVIL],
                "scores": [1],
                "unit": EVIL,
                "turn": EVIL,
            }
            yield reply("game_state", "running", **data, total=1, done=1)
        elif kind == "subscribe":
            yield reply("subscribed", seq=0, log_id="log")
            for seq, (event, data) in enumerate(EVENTS, 1):
                yield {
                    "type": "event",
                    "id": seq,
                    "target_id": STEADY,
                    "data": {"event": event, "seq": seq, **data},
                }
        elif kind == "read_log":
            type(self).pages += 1
            page = {"text": LOG_PAGE, "next": asked["data"]["offset"] + len(LOG_PAGE)}
            yield {"type": "log", "id": id, "target_id": STEADY, "status": "ok", "data": page}
        else:
            code = "unknown_type" if kind.startswith("get_") else EVIL
            yield {"type": "error", "id": id, "status": "error", "data": {"code": code, "message": EVIL}}


WRONG: tuple[Any, ...] = (EVIL, "[/]", -1, 1e308, True, None, [], [1], {}, {"a": 1})
EVENTS = [
    *(("hit", {"reaction_ms": wrong, "peak": wrong, "at_us": wrong}) for wrong in WRONG),
    *(("miss", {"reason": wrong}) for wrong in WRONG),
    *(("state", {"state": wrong}) for wrong in WRONG),
    *(("groups", {"groups": wrong}) for wrong in WRONG),
    *(("game_score", {"player": wrong, "points": wrong, "total": wrong}) for wrong in WRONG),
    *(("game_over", {"scores": wrong, "results": wrong, "winner": wrong}) for wrong in WRONG[1:]),
    *((EVIL, {"a": wrong}) for wrong in WRONG),
    ("state", {"state": "standing"}),
]


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server((HOST, 0), HostileHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{HOST}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def url(hub: str, directory: Path) -> Iterator[str]:
    with running_dashboard(directory, hub) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def desk(browser: Browser, url: str) -> Iterator[Watched]:
    with watched_context(browser, url) as desk:
        yield desk


@pytest.mark.parametrize("path", PAGES)
def test_what_a_hub_says_is_shown_as_text(desk: Watched, path: str) -> None:
    page = desk.context.new_page()
    page.goto(path)
    if path in ("/", "/health"):
        expect(page.locator("article")).to_have_count(2)
        expect(page.get_by_text(EVIL, exact=True).first).to_be_visible()
    elif path == "/game":
        expect(page.locator("[role=radio]", has_text=EVIL)).to_be_attached()
    else:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("window.harmed ?? null") is None
    assert page.locator("img, [innerhtml], [onerror]").count() == 0
    desk.is_fine()


def test_events_of_wrong_kinds_hold_nothing_up(desk: Watched, directory: Path) -> None:
    page = desk.context.new_page()
    page.goto("/")
    card = page.locator(f'article.card[aria-label="{STEADY}"]')
    expect(card).to_have_attribute("data-live", "true")
    said = (directory / "dashboard.log").read_text()
    assert "Traceback" not in said
    assert "is lost" not in said
    desk.is_fine()


def test_a_log_without_end_has_one(desk: Watched) -> None:
    page = desk.context.new_page()
    page.goto("/health")
    page.get_by_role("button", name=f"Read the log of {STEADY}").click()
    expect(page.locator(".sheet.log .hint")).to_contain_text("answers its log without end")
    asked = HostileHub.pages
    page.keyboard.press("Escape")
    expect(page.locator(".sheet.log")).to_have_count(0)
    page.get_by_role("button", name=f"Read the log of {STEADY}").click()  # and no more was read meanwhile
    expect(page.locator(".sheet.log .hint")).to_contain_text("answers its log without end")
    assert HostileHub.pages == 2 * asked
    desk.is_fine()
