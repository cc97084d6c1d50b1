"""The dashboard as people use it: in a real browser, with a real hub and targets that somebody shoots at."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from snyper.dashboard.limits import LIMITS
from snyper.hub.journal import Journal
from tests.integration.browsing import (
    DEADLINE_MS,
    PAGES,
    Browser,
    Page,
    Watched,
    expect,
    needs_browser,
    watched_context,
)
from tests.integration.dashboard_process import Process
from tests.integration.harness import HOST, ROOT, at_length, free_port
from tests.integration.stopwatch import running_s

pytestmark = [*needs_browser, pytest.mark.slow]

TARGETS = 3
PASSWORD = "correct horse"
LOST_S = 2.0  # within which a lost hub is shown
SLACK_S = 1.5  # for a machine that has other tests to run: a mistake in the waits costs more
NOTE_BANNER = """() => {
    const banner = document.querySelector(".banner");
    const note = () => { if (banner.checkVisibility()) window.bannerAt ??= Date.now(); };
    new MutationObserver(note).observe(banner, {attributes: true});
}"""  # when it is first seen, by the browser's own clock, which is this computer's


class Range:
    """A hub, targets that are always hit, and a dashboard, each a process."""

    def __init__(self, directory: Path, targets: int = TARGETS) -> None:
        self.directory = directory
        self.hub_address = f"{HOST}:{free_port()}"
        self.listen = f"{HOST}:{free_port()}"
        self.hub = self.start_hub()
        self.shooting = Process(
            directory,
            *("simulate", "--targets", str(targets), "--engine", "cpython"),
            *("--hub", self.hub_address, "--hit-rate", "1"),
        )
        self.dashboard = self.start_dashboard()

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    def start_hub(self) -> Process:
        return Process(self.directory, "hub", "--listen", self.hub_address, "--no-journal")

    def start_dashboard(self) -> Process:
        archive = str(self.directory / "kept" / "archive.sqlite3")
        return Process(
            self.directory,
            *("dashboard", "--hub", self.hub_address, "--listen", self.listen),
            *("--archive", archive, "--no-open"),
        )

    def close(self) -> None:
        for process in (self.dashboard, self.shooting, self.hub):
            process.end()


@pytest.fixture(scope="module")
def shooting_range(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    found = Range(tmp_path_factory.mktemp("range"))
    try:
        yield found
    finally:
        found.close()


MANY = 61
GAMES = 5_000


def write_games(path: Path) -> None:
    """An archive of GAMES games of Ann's, every fifth against Bob; each player has a hit and a miss in it."""
    path.parent.mkdir()
    now_ms = round(time.time() * 1000)
    seq = 0
    archive = Journal(path)
    for number in range(GAMES):
        game_id, players = f"b-g{number}", ["Ann", "Bob"][: 2 if number % 5 == 0 else 1]
        about = {"game": "duel" if number % 2 else "quick", "title": "Duel" if number % 2 else "Quick"}
        events: list[tuple[str, str, dict[str, Any]]] = [
            ("game_started", "", {"game_id": game_id, "players": players, **about})
        ]
        for player in players:
            hit = {"reaction_ms": 300 if player == "Bob" else 400}
            said = {"game_id": game_id, "player": player}
            events += [
                ("game_turn", "", said),
                ("hit", "target_1", hit),
                ("game_score", "target_1", {**said, "points": 5, "total": 5, **hit}),
                ("miss", "target_2", {"reason": "time_up"}),
            ]
        over = {"game_id": game_id, "reason": "finished", "scores": [5] * len(players), "winner": players[0]}
        for event, target_id, data in [*events, ("game_over", "", over)]:
            seq += 1
            archive.record("log", seq, event, target_id, data, now_ms - (GAMES - number) * 60_000)
            if seq % 5_000 == 0:
                assert archive.flush(DEADLINE_MS / 1000)
    assert archive.flush(DEADLINE_MS / 1000)
    archive.close()


@pytest.fixture(scope="module")
def large_range(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    """Many targets, and many games in the archive."""
    directory = tmp_path_factory.mktemp("large")
    write_games(directory / "kept" / "archive.sqlite3")
    found = Range(directory, MANY)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def desk(browser: Browser, shooting_range: Range) -> Iterator[Watched]:
    with watched_context(browser, shooting_range.url, color_scheme="light") as desk:
        yield desk


@pytest.fixture
def large_desk(browser: Browser, large_range: Range) -> Iterator[Watched]:
    with watched_context(browser, large_range.url, accept_downloads=True) as desk:
        yield desk


def card(page: Page, target_id: str) -> Any:
    return page.locator(f'article.card[aria-label="{target_id}"]')


def open_range(watched: Watched) -> Page:
    """The range with every target on it, all of them down."""
    page = watched.context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-live="true"]')).to_have_count(TARGETS)
    page.get_by_role("button", name="Lay down", exact=True).click()
    expect(page.locator('article.card[data-state="down"]')).to_have_count(TARGETS)
    return page


def test_commands_move_one_target_and_all(desk: Watched) -> None:
    page = open_range(desk)
    page.get_by_role("button", name="Stand target_2 up").click()
    expect(card(page, "target_2")).to_have_attribute("data-state", "standing")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(TARGETS - 1)
    page.get_by_role("button", name="Stand up", exact=True).click()
    expect(page.locator('article.card[data-state="standing"]')).to_have_count(TARGETS)
    page.get_by_role("button", name="Lay target_1 down").click()
    expect(card(page, "target_1")).to_have_attribute("data-state", "down")
    page.get_by_role("button", name="Identify target_3").click()
    expect(page.get_by_text("the light of target_3 flickers")).to_be_visible()
    desk.is_fine()


@pytest.mark.long
def test_a_cease_fire_from_every_page_by_button_and_key(desk: Watched) -> None:
    page = open_range(desk)
    bar = page.locator(".safety")
    for path in at_length(PAGES, ("/", "/cameras")):
        for by_key in (False, True):
            page.goto("/")
            expect(bar).to_have_attribute("data-state", "armed")
            page.get_by_role("button", name="Stand target_2 up").click()
            expect(card(page, "target_2")).to_have_attribute("data-state", "standing")
            page.goto(path)
            expect(bar).to_have_attribute("data-state", "armed")
            if by_key:
                page.keyboard.press("x")
            else:
                page.get_by_role("button", name="Cease fire").click()
            expect(bar).to_have_attribute("data-state", "safe")
            expect(bar.get_by_text("cease fire by the dashboard, 127.0.0.1")).to_be_visible()
            page.goto("/")
            expect(page.locator('article.card[data-state="down"]')).to_have_count(TARGETS)
            page.get_by_role("button", name="Stand target_2 up").click()
            expect(page.get_by_text("Then release the cease fire, above")).to_be_visible()
            page.get_by_role("button", name="Release…").click()
            page.get_by_role("button", name="Keep it safe").click()
            page.get_by_role("button", name="Release…").click()
            page.get_by_role("button", name="Release", exact=True).click()
            expect(bar.get_by_text("released by the dashboard, 127.0.0.1")).to_be_visible()
    desk.is_fine()


def test_the_key_of_a_cease_fire_but_for_where_text_is_typed(desk: Watched) -> None:
    page = open_range(desk)
    bar = page.locator(".safety")

    def release() -> None:
        expect(bar).to_have_attribute("data-state", "safe")
        page.get_by_role("button", name="Release…").click()
        page.get_by_role("button", name="Release", exact=True).click()
        expect(bar).to_have_attribute("data-state", "armed")

    page.get_by_label("Armed for how long").click()  # and the focus stays on it
    page.get_by_role("option", name="10 s", exact=True).click()
    page.keyboard.press("x")
    release()
    page.evaluate(
        """() => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", {key: "ч", code: "KeyX", bubbles: true}))"""
    )
    release()
    page.get_by_role("button", name="Groups of target_1").click()
    field = page.locator(".q-dialog input").first
    field.click()
    page.keyboard.type("xx")
    expect(field).to_have_value("xx")
    page.keyboard.press("Escape")
    page.goto("/game")
    expect(bar).to_have_attribute("data-state", "armed")
    desk.is_fine()


def test_a_hit_is_shown_with_its_reaction_time(desk: Watched) -> None:
    page = open_range(desk)
    page.get_by_role("button", name="Activate target_1").click()
    expect(card(page, "target_1")).to_have_attribute("data-news", re.compile("^hit"))
    expect(card(page, "target_1").locator(".flash")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(card(page, "target_1")).to_have_attribute("data-state", "down")
    assert not card(page, "target_2").get_attribute("data-news")
    desk.is_fine()


def test_a_refused_command_says_what_to_do(desk: Watched, shooting_range: Range) -> None:
    page = open_range(desk)
    name, _, port = shooting_range.hub_address.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=10) as sock, sock.makefile("rw") as target:

        def say(**message: object) -> None:
            target.write(json.dumps(message) + "\n")
            target.flush()

        say(type="register", id=0, target_id="stubborn", data={"heartbeat_ms": 60_000})
        page.get_by_role("button", name="Stand stubborn up").click()
        for line in target:
            request = json.loads(line)
            if request["type"] == "stand_up":
                refusal = {"code": "busy", "message": "a hand is in the way"}
                say(type="error", id=request["id"], status="error", data=refusal)
                break
        expect(page.get_by_text("Stand up: stubborn: a hand is in the way")).to_be_visible()
        expect(page.get_by_text("wait for it, or lay it down first")).to_be_visible()
    expect(card(page, "stubborn").locator(".state")).to_contain_text("away")
    desk.is_fine()


def test_a_name_that_no_group_can_have(desk: Watched) -> None:
    page = open_range(desk)
    page.get_by_role("button", name="Groups of target_1").click()
    page.get_by_label("New group").last.fill("no spaces please")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1 to 32 letters")).to_be_visible()
    desk.is_fine()


def test_groups_by_dragging_and_by_dialog(desk: Watched) -> None:
    page = open_range(desk)
    page.get_by_role("button", name="Groups of target_1").click()
    page.get_by_label("New group").last.fill("left")
    page.get_by_role("button", name="Save").click()
    zone = page.locator("button.zone", has_text="left")
    expect(zone.locator(".count")).to_have_text("1")
    card(page, "target_3").locator("h2").drag_to(zone)
    expect(zone.locator(".count")).to_have_text("2")
    expect(card(page, "target_3").get_by_text("left", exact=True)).to_be_visible()

    zone.click()
    expect(zone).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Stand up", exact=True).click()
    for target_id, state in (("target_1", "standing"), ("target_2", "down"), ("target_3", "standing")):
        expect(card(page, target_id)).to_have_attribute("data-state", state)

    for target_id in ("target_1", "target_3"):
        page.get_by_role("button", name=f"Lay {target_id} down").click()
        expect(card(page, target_id)).to_have_attribute("data-state", "down")
        page.get_by_role("button", name=f"Take {target_id} out of left").click()
        expect(card(page, target_id).get_by_text("left", exact=True)).to_have_count(0)
    expect(zone).to_have_count(0)
    desk.is_fine()


def test_a_game_to_its_end_and_its_history(desk: Watched, shooting_range: Range) -> None:
    open_range(desk)
    page, wall = desk.context.new_page(), desk.context.new_page()
    page.goto("/game")
    wall.goto("/game?wall=1")
    page.get_by_role("radio", name="Quick").click()
    for player in ("Anna", "Bert"):
        page.get_by_label("Name of a player").fill(player)
        page.get_by_label("Name of a player").press("Enter")
        expect(page.get_by_role("button", name=f"Take {player} off")).to_be_visible()
    page.get_by_text("Options, targets, seed").click()
    for option, value in (("Rounds", "1"), ("Countdown", "1500"), ("Pause", "300"), ("Changeover", "500")):
        page.get_by_label(option, exact=True).fill(value)
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(wall.locator(".countdown")).to_be_visible()
    expect(wall.locator('.row-player[data-turn="true"] .player')).to_have_text("Bert", timeout=40_000)
    expect(wall.locator(".board")).to_have_attribute("data-status", "over", timeout=40_000)
    expect(wall.locator(".verdict")).to_have_text(re.compile("(Anna|Bert) wins|A draw"))
    expect(wall.locator(".topbar")).to_be_hidden()
    expect(wall.get_by_role("button", name="Cease fire, key X")).to_be_visible()
    shown = dict(
        zip(
            wall.locator(".row-player .player").all_inner_texts(),
            [int(score.replace(",", "")) for score in wall.locator(".row-player .score").all_inner_texts()],
            strict=True,
        )
    )

    page.goto("/history")
    row = page.locator("tbody tr", has_text="Quick").first
    expect(row).to_contain_text("finished")
    for player, score in shown.items():
        expect(row).to_contain_text(f"{player} {score}")
    expect(page.locator("section", has_text="Best times").locator("tbody tr").first).to_contain_text("ms")
    for plot in page.locator(".plot canvas").all():
        expect(plot).to_be_visible()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Games and scores as csv").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("\ufeffgame_id,game,title"), lines  # as Excel wants it
    assert len(lines) == 2
    assert '"[""Anna"", ""Bert""]"' in lines[1]
    desk.is_fine()


def test_a_game_that_is_stopped(desk: Watched) -> None:
    page = desk.context.new_page()
    page.goto("/game")
    page.get_by_role("radio", name="Reaction").click()
    start = page.get_by_role("button", name="Start", exact=True)
    clear_players(page)
    expect(start).to_be_disabled()
    expect(page.get_by_text("1 player needed, 0 so far")).to_be_visible()
    page.get_by_label("Name of a player").fill("Cleo")
    start.click()  # takes the name that is still in the field
    page.get_by_role("button", name="Stop the game").click()
    expect(page.locator(".board")).to_have_attribute("data-status", "over")
    expect(page.locator(".board .status")).to_have_text("Stopped")
    expect(start).to_be_enabled()
    desk.is_fine()


def clear_players(page: Page) -> None:
    """Takes those of the last game off the form."""
    chips = page.get_by_role("button", name=re.compile("^Take .* off$"))
    for left in range(chips.count() - 1, -1, -1):
        chips.first.click()
        expect(chips).to_have_count(left)


def test_eight_players_start_without_a_complaint(desk: Watched) -> None:
    page = desk.context.new_page()
    page.goto("/game")
    page.get_by_role("radio", name="Reaction").click()
    clear_players(page)
    field = page.get_by_label("Name of a player")
    for number in range(1, 9):
        field.fill(f"Player {number}")
        if number < 8:
            field.press("Enter")
            expect(page.get_by_role("button", name=f"Take Player {number} off")).to_be_visible()
            expect(field).to_have_value("")
    page.get_by_role("button", name="Start", exact=True).click()  # takes the eighth along
    expect(page.locator(".row-player")).to_have_count(8)
    page.get_by_role("button", name="Stop the game").click()
    expect(page.locator(".board")).to_have_attribute("data-status", "over")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".board")).to_have_attribute("data-status", "running")
    assert page.locator(".notice").all_inner_texts() == []  # at once: it goes by itself
    page.get_by_role("button", name="Stop the game").click()
    expect(page.locator(".board")).to_have_attribute("data-status", "over")
    field.fill("Player 3")  # who plays already, and so counts once
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    field.fill("Player 9")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    expect(page.get_by_text("Reaction is for at most 8 players")).to_be_visible()
    clear_players(page)
    desk.is_fine()


def fill_in(pages: list[Page]) -> None:
    """Everything for a game in each browser but the start."""
    for number, page in enumerate(pages):
        page.goto("/game")
        page.get_by_role("radio", name="Reaction").click()
        clear_players(page)
        page.get_by_label("Name of a player").fill(f"Guest {number}")
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()


def start_while_it_stands_still(pages: list[Page], hub: "subprocess.Popen[bytes]") -> bool:
    """Both browsers send their start to a hub that takes them afterwards; whether that was so soon that the
    dashboard did not give the hub up meanwhile.
    """
    began_s = time.monotonic()
    hub.send_signal(signal.SIGSTOP)
    try:
        for page in pages:
            # Not `click`, which looks for a while whether the button stands still.
            page.get_by_role("button", name="Start", exact=True).evaluate("button => button.click()")
        for page in pages:
            taken, lost = page.get_by_role("button", name="Take Guest"), page.get_by_text("The hub is lost")
            expect(taken.or_(lost).first).to_be_visible()
    finally:
        hub.send_signal(signal.SIGCONT)
    return time.monotonic() - began_s < LOST_S / 2


@pytest.mark.slow
def test_two_browsers_start_at_once(desk: Watched, shooting_range: Range) -> None:
    """The second is told what it can do about the first one's game."""
    pages = [desk.context.new_page() for _ in range(2)]
    fill_in(pages)
    while not start_while_it_stands_still(pages, shooting_range.hub.process):
        stop = (sys.executable, "-m", "snyper.cli", "game", "stop", "--hub", shooting_range.hub_address)
        subprocess.run(stop, check=False, timeout=DEADLINE_MS / 1000)  # if one has been started
        fill_in(pages)
    said = pages[1].locator(".notice")
    expect(said).to_contain_text("a game is played already")
    expect(said).to_contain_text("Wait until that one is over, or stop it")
    expect(said).not_to_contain_text("lay it down")
    pages[1].get_by_role("button", name="Stop the game").click()
    expect(pages[0].locator(".board")).to_have_attribute("data-status", "over")
    for page in pages:
        clear_players(page)
    desk.is_fine()


def test_a_game_needs_its_targets_where_it_is_played(desk: Watched) -> None:
    page = desk.context.new_page()
    page.goto("/game")
    page.get_by_role("radio", name="Simon").click()
    clear_players(page)
    page.get_by_label("Name of a player").fill("Ann")
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_enabled()
    page.get_by_text("Options, targets, seed").click()
    page.get_by_label("Targets", exact=True).click()
    page.get_by_role("option", name="Only target_2").click()
    expect(start).to_be_disabled()
    expect(start).to_have_attribute("title", "2 targets needed, 1 here")
    desk.is_fine()


def test_a_command_is_for_what_is_found(large_desk: Watched) -> None:
    page = large_desk.context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY)
    find = page.get_by_label("Find targets")
    find.fill("target_7")
    page.get_by_role("button", name="Stand up 1", exact=True).click()
    expect(card(page, "target_7")).to_have_attribute("data-state", "standing")
    expect(page.locator(".subtitle").first).to_have_text(f"{MANY} of {MANY} targets here, 1 up, 1 shown")
    find.fill("get_6")  # 6, 60, 61
    expect(page.locator("article.card")).to_have_count(3)
    expect(page.get_by_role("button", name="Activate 3", exact=True)).to_be_enabled()
    find.blur()
    page.keyboard.press("Shift+S")
    expect(page.locator('article.card[data-state="standing"]')).to_have_count(3)
    find.fill("")
    expect(page.locator('article.card[data-state="standing"]')).to_have_count(4)
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY - 4)
    find.fill("up")
    expect(page.locator("article.card")).to_have_count(4)
    find.fill("nobody")
    expect(
        page.get_by_text("No target has “nobody” in its name, nor is it a state or a group")
    ).to_be_visible()
    lay = page.get_by_role("button", name="Lay down 0", exact=True)
    expect(lay).to_be_disabled()
    expect(lay).to_have_attribute("title", "No target is here that is found")
    find.fill("")
    page.get_by_role("button", name="Lay down", exact=True).click()
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY)
    large_desk.is_fine()


def test_only_the_card_that_changes_is_sent(large_desk: Watched) -> None:
    page = large_desk.context.new_page()
    sent: list[str] = []
    page.on("websocket", lambda opened: opened.on("framereceived", lambda frame: sent.append(str(frame))))
    page.goto("/")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY)
    button = page.get_by_role("button", name="Stand target_5 up", exact=True)
    button.focus()
    sent.clear()
    page.keyboard.press("Enter")
    expect(card(page, "target_5")).to_have_attribute("data-state", "standing")
    expect(button).to_be_focused()
    drawn = [frame for frame in sent if "target_" in frame]
    assert drawn
    assert [frame for frame in drawn if "target_5" not in frame or "target_4" in frame] == []
    page.get_by_role("button", name="Lay target_5 down", exact=True).click()
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY)
    large_desk.is_fine()


def test_health_says_how_many_it_shows(large_desk: Watched) -> None:
    page = large_desk.context.new_page()
    page.goto("/health")
    expect(page.locator(".subtitle").first).to_have_text(f"All is well; 60 of {MANY} targets shown")
    expect(page.get_by_text(f"8 of {MANY} targets", exact=True)).to_be_visible()
    large_desk.is_fine()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_the_history_of_many_games(large_desk: Watched) -> None:
    page = large_desk.context.new_page()
    page.goto("/history")
    subtitle, stats = page.locator(".subtitle").first, page.locator(".stats")
    pager = page.locator(".pager")
    expect(subtitle).to_have_text(f"{GAMES:,} games, {GAMES * 6 // 5:,} hits")
    expect(pager).to_contain_text(f"1 to 50 of {GAMES:,}")
    previous, following = (pager.get_by_role("button", name=name) for name in ("Previous", "Next"))
    expect(previous).to_be_disabled()
    expect(previous).to_have_attribute("title", "These are the newest")
    following.click()
    expect(pager).to_contain_text(f"51 to 100 of {GAMES:,}")
    choose(page, "Player", "Bob")
    expect(subtitle).to_have_text(f"{GAMES // 5:,} games, {GAMES // 5:,} hits")
    expect(pager).to_contain_text(f"1 to 50 of {GAMES // 5:,}")
    expect(stats).to_contain_text(f"of {GAMES * 2 // 5:,} rounds")
    expect(stats).to_contain_text("300 ms")
    expect(page.locator(".plot").last).to_have_attribute(
        "aria-label", f"Hits of all: target_1: {GAMES // 5} of {GAMES // 5}, target_2: 0 of {GAMES // 5}"
    )
    choose(page, "Game", "Duel")
    expect(subtitle).to_have_text(f"{GAMES // 10} games, {GAMES // 10} hits")
    expect(page.locator("section", has_text="Players").last.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_text("7 days, Duel, Bob")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Hits and misses as csv").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + GAMES // 5
    page.keyboard.press("Escape")
    choose(page, "Player", "Ann")
    for first in (1, 51):
        expect(pager).to_contain_text(f"{first} to {first + 49} of {GAMES // 2:,}")
        following.click()
    expect(pager).to_contain_text(f"101 to 150 of {GAMES // 2:,}")
    choose(page, "Since", "24 hours")
    expect(subtitle).to_have_text(re.compile(r"^7\d\d games, 7\d\d hits$"))
    large_desk.is_fine()


def slowest_click_s(page: Page) -> float:
    slowest_s = 0.0
    for _ in range(5):
        began_s = running_s()
        page.get_by_role("button", name="Groups of target_1", exact=True).click()
        expect(page.get_by_role("button", name="Save")).to_be_visible()
        slowest_s = max(slowest_s, running_s() - began_s)
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Save")).to_be_hidden()
    return slowest_s


@pytest.mark.slow
def test_many_exports_hold_no_page_up(large_desk: Watched, large_range: Range) -> None:
    page = large_desk.context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-live="true"]')).to_have_count(MANY)
    quiet_s = slowest_click_s(page)
    ask = f"GET /export/events.csv HTTP/1.1\r\nHost: {large_range.listen}\r\nConnection: close\r\n\r\n"
    name, _, port = large_range.listen.rpartition(":")
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((name, int(port)), 60)) for _ in range(60)]
        for sock in socks:
            sock.sendall(ask.encode())
        slowest_s = slowest_click_s(page)
        statuses = [sock.recv(64).split()[1] for sock in socks]
    assert slowest_s < quiet_s + 1.0 + SLACK_S
    assert statuses.count(b"200") == LIMITS["exports"].default
    assert statuses.count(b"503") == 60 - LIMITS["exports"].default
    large_desk.is_fine()


def test_without_a_hub_no_page_claims_what_it_does_not_know(large_desk: Watched, large_range: Range) -> None:
    page = large_desk.context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-live="true"]')).to_have_count(MANY)
    large_range.hub.end(signal.SIGKILL)
    try:
        expect(page.locator(".subtitle").first).to_have_text(
            f"The hub is lost: nothing is known of {MANY} targets"
        )
        for name in (
            "Stand up",
            "Lay down",
            "Activate",
            "New group",
            "Stand target_1 up",
            "Groups of target_1",
        ):
            button = page.get_by_role("button", name=name, exact=True)
            expect(button).to_be_disabled()
            expect(button).to_have_attribute("title", "The hub is lost")
        page.keyboard.press("Shift+S")
        expect(page.locator(".notice")).to_have_text(re.compile("^The hub is lost"))
        for path, name in (("/game", "Start"), ("/health", "Read the log of target_1")):
            page.goto(path)
            expect(page.locator(".subtitle").first).to_contain_text("The hub is lost")
            expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute(
                "title", "The hub is lost"
            )
        expect(page.locator('article.panel[aria-label="target_1"] .state')).to_have_text("not known")
    finally:
        large_range.hub = large_range.start_hub()
    large_desk.is_fine()


def test_a_group_stays_chosen_when_the_hub_starts_anew(large_desk: Watched, large_range: Range) -> None:
    page = large_desk.context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY)
    page.get_by_role("button", name="Groups of target_2", exact=True).click()
    page.get_by_label("New group").last.fill("left")
    page.get_by_role("button", name="Save").click()
    zone = page.locator("button.zone", has_text="left")
    zone.click()
    expect(zone).to_have_attribute("aria-pressed", "true")
    large_range.hub.end(signal.SIGKILL)
    expect(page.locator(".banner")).to_be_visible()
    large_range.hub = large_range.start_hub()
    expect(page.locator('article.card[data-live="true"]')).to_have_count(MANY)
    expect(zone).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Stand up", exact=True).click()
    expect(card(page, "target_2")).to_have_attribute("data-state", "standing")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(MANY - 1)
    page.get_by_role("button", name="Take target_2 out of left").click()
    expect(zone).to_have_count(0)
    large_desk.is_fine()


def test_health_shows_every_target_and_its_log(desk: Watched) -> None:
    page = desk.context.new_page()
    page.goto("/health")
    panel = page.locator('article.panel[aria-label="target_1"]')
    expect(panel.locator('[data-fact="Round trip"]')).to_have_text(re.compile(r"^[\d.]+ ms$"))
    expect(panel.locator('[data-fact="Clock"]')).to_have_text(re.compile(r"^± [\d.]+ ms$"))
    # The range's hub has stood still before, in another test.
    expect(panel.locator('[data-fact="Away"]')).to_have_text(re.compile(r"^(never|\d+ ×, \d+ s)$"))
    expect(panel.locator(".spark polyline")).to_be_attached()
    expect(page.locator(".plot canvas")).to_be_visible()
    page.get_by_role("button", name="Read the log of target_1").click()
    expect(page.locator(".sheet.log .hint")).to_have_text(re.compile("empty|line|cannot be read"))
    desk.is_fine()


@pytest.mark.long
@pytest.mark.parametrize(  # as if it crashed; as if its power failed
    "how", at_length([signal.SIGKILL, signal.SIGSTOP], [signal.SIGSTOP])
)
def test_a_hub_that_dies_and_returns(desk: Watched, shooting_range: Range, how: signal.Signals) -> None:
    page = open_range(desk)
    banner = page.locator(".banner")
    expect(banner).to_be_hidden()
    page.evaluate(NOTE_BANNER)
    lost_s = time.time()
    shooting_range.hub.process.send_signal(how)
    expect(banner).to_be_visible()
    assert page.evaluate("window.bannerAt") / 1000 - lost_s < LOST_S + SLACK_S
    shooting_range.hub.end(signal.SIGKILL)
    expect(banner).to_contain_text(f"No hub at {shooting_range.hub_address} since")
    expect(banner).to_contain_text("Start it with")
    expect(page.get_by_role("button", name="Stand up", exact=True)).to_be_disabled()
    expect(card(page, "target_1").locator(".state")).to_have_text("not known")

    shooting_range.hub = shooting_range.start_hub()
    expect(banner).to_be_hidden()
    expect(page.locator('article.card[data-live="true"]')).to_have_count(TARGETS)
    page.get_by_role("button", name="Activate target_2").click()
    expect(card(page, "target_2")).to_have_attribute("data-news", re.compile("^hit"))
    desk.is_fine()


def test_a_browser_finds_a_dashboard_that_was_started_again(desk: Watched, shooting_range: Range) -> None:
    page = open_range(desk)
    page.evaluate("window.before = true")
    assert shooting_range.dashboard.end(signal.SIGTERM) == 0
    shooting_range.dashboard = shooting_range.start_dashboard()
    page.wait_for_function("!window.before")
    expect(page.locator('article.card[data-live="true"]')).to_have_count(TARGETS)
    assert desk.hosts <= {HOST, ""}


def test_a_phone_held_upright(browser: Browser, shooting_range: Range) -> None:
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, base_url=shooting_range.url, has_touch=True, is_mobile=True
    )
    watched = Watched(context)
    page = context.new_page()
    page.goto("/")
    expect(page.locator('article.card[data-live="true"]')).to_have_count(TARGETS)
    for name in ("Range", "Game", "History", "Health", "Services"):
        page.locator(".tabbar").get_by_role("link", name=name).tap()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 400, name
        expect(page.locator(".tabbar [aria-current=page]")).to_have_text(name)
    expect(page.locator(".rail")).to_be_hidden()
    watched.is_fine()
    context.close()


def test_a_narrow_phone_has_room_for_the_password_and_a_reason(
    browser: Browser, shooting_range: Range, tmp_path: Path
) -> None:
    password, why = tmp_path / "password", "somebody is on the range, " * 3
    password.write_text(PASSWORD)
    listen = f"{HOST}:{free_port()}"
    dashboard = Process(
        tmp_path,
        *("dashboard", "--hub", shooting_range.hub_address, "--listen", listen, "--no-open"),
        *("--archive", str(tmp_path / "archive.sqlite3"), "--password-file", str(password)),
    )
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, base_url=f"http://{listen}", is_mobile=True
    )
    page = context.new_page()
    cease_fire = ("cease-fire", "--hub", shooting_range.hub_address)
    try:
        page.goto("/")
        form = page.locator("form").bounding_box()
        assert form is not None
        assert form["x"] + form["width"] <= 320
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        bar = page.locator(".safety")
        expect(bar).to_have_attribute("data-state", "armed")
        assert run_snyper(*cease_fire, "--why", why)[0] == 0
        expect(bar).to_contain_text(why.strip())
        box = bar.bounding_box()
        assert box is not None
        assert box["height"] < 640 / 4
    finally:
        run_snyper(*cease_fire, "--release")
        context.close()
        assert dashboard.end() == 0


def test_with_the_keyboard_alone(desk: Watched) -> None:
    page = open_range(desk)
    page.keyboard.press("Shift+S")
    expect(page.locator('article.card[data-state="standing"]')).to_have_count(TARGETS)
    page.keyboard.press("Shift+L")
    expect(page.locator('article.card[data-state="down"]')).to_have_count(TARGETS)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    for _ in range(40):  # to the first target's own button, as far as that is
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Stand target_1 up":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(card(page, "target_1")).to_have_attribute("data-state", "standing")

    for key, name in (("2", "Game"), ("3", "History"), ("4", "Health"), ("1", "Range")):
        page.keyboard.press(key)
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    desk.is_fine()


def test_light_and_dark(desk: Watched) -> None:
    page = desk.context.new_page()
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    page.wait_for_function(f"{ground} === 'rgb(18, 20, 23)'")
    page.emulate_media(color_scheme="light")  # as when the sun rises
    page.wait_for_function(f"{ground} === 'rgb(245, 244, 240)'")
    theme = page.locator("#theme-button")
    expect(theme).to_have_attribute("aria-label", "Light or dark: as the system says")
    page.keyboard.press("t")
    expect(theme).to_have_attribute("aria-label", "Light or dark: light")
    page.keyboard.press("t")
    page.wait_for_function(f"{ground} === 'rgb(18, 20, 23)'")
    page.goto("/health")  # remembered
    page.wait_for_function(f"{ground} === 'rgb(18, 20, 23)'")
    sound = page.locator("#sound-button")
    expect(sound).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("m")
    expect(sound).to_have_attribute("aria-pressed", "true")
    desk.is_fine()


def test_an_open_hub_is_said_to_be_one(desk: Watched, tmp_path: Path) -> None:
    words = "Open hub: everybody on its network commands it"
    hub_address, listen = (f"{HOST}:{free_port()}" for _ in range(2))
    hub = Process(tmp_path, "hub", "--listen", hub_address, "--no-journal", "--open")
    archive = str(tmp_path / "archive.sqlite3")
    dashboard = Process(
        tmp_path, "dashboard", "--hub", hub_address, "--listen", listen, "--archive", archive, "--no-open"
    )
    page = desk.context.new_page()
    try:
        page.goto(f"http://{listen}/")
        expect(page.get_by_text(words)).to_be_visible()
        page.goto("/")
        expect(page.locator('article.card[data-live="true"]')).to_have_count(TARGETS)
        expect(page.get_by_text(words)).to_be_hidden()
    finally:
        for process in (dashboard, hub):
            assert process.end() == 0
    kept = list(tmp_path.glob("archive.sqlite3*"))
    assert kept
    assert not [path for path in kept if path.stat().st_mode & 0o077]


def test_a_hub_that_refuses_the_dashboards_key_is_not_called_lost(desk: Watched, tmp_path: Path) -> None:
    hub_address, listen = (f"{HOST}:{free_port()}" for _ in range(2))
    right, wrong = ("fleet:" + digits * 32 for digits in ("5a", "00"))
    hub = Process(tmp_path, "hub", "--listen", hub_address, "--no-journal", SNYPER_KEY=right)
    dashboard = Process(
        tmp_path,
        *("dashboard", "--hub", hub_address, "--listen", listen, "--no-open"),
        *("--archive", str(tmp_path / "archive.sqlite3")),
        SNYPER_KEY=wrong,
    )
    page = desk.context.new_page()
    try:
        page.goto(f"http://{listen}/")
        banner = page.locator(".banner")
        expect(banner).to_contain_text(f"The hub at {hub_address} refuses this dashboard since")
        expect(banner).to_contain_text("which --key-file names")
        expect(banner).not_to_contain_text("Start it with")
        said = f"the hub at {hub_address} refuses this dashboard ("
        assert (tmp_path / "dashboard.log").read_text().count(said) == 1
    finally:
        for process in (dashboard, hub):
            assert process.end() == 0


def test_nothing_is_left_where_it_was_started(shooting_range: Range) -> None:
    left = sorted(entry.name for entry in shooting_range.directory.iterdir())
    hubs = ".local"  # the user's data directory, where a hub keeps whether a cease fire holds
    assert [name for name in left if not name.endswith(".log") and name != hubs] == ["kept"]


# A tab whose socket never comes through.
UNCONNECTED = """window.WebSocket = class extends WebSocket {
    constructor(url, ...more) { super(url.replace("_nicegui_ws", "nowhere"), ...more); }
};"""


def test_a_password_is_asked_for(browser: Browser, shooting_range: Range, tmp_path: Path) -> None:
    listen = f"{HOST}:{free_port()}"
    dashboard = Process(
        tmp_path,
        *("dashboard", "--hub", shooting_range.hub_address, "--listen", listen),
        *("--archive", str(tmp_path / "archive.sqlite3"), "--no-open"),
        SNYPER_DASHBOARD_PASSWORD=PASSWORD,
    )
    context = browser.new_context(base_url=f"http://{listen}")
    try:
        page = context.new_page()
        page.goto("/health")
        expect(page).to_have_url(f"http://{listen}/login?next=/health")
        page.get_by_label("Password").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That is not the password.")
        assert raw_status(listen, "GET /_nicegui_ws/socket.io/?EIO=4&transport=polling HTTP/1.1") == 303
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Health", level=1)).to_be_visible()
        expect(page.locator("article.panel")).to_have_count(TARGETS)
        other = context.new_page()
        other.goto("/game")
        expect(other.get_by_role("heading", name="Game", level=1)).to_be_visible()
        never = context.new_page()
        never.add_init_script(UNCONNECTED)
        never.goto("/game")
        expect(never.get_by_role("heading", name="Game", level=1)).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        for signed_out in (page, other, never):  # also where nobody has clicked, or nothing has connected yet
            expect(signed_out.get_by_role("heading", name="Sign in to the range")).to_be_visible()
        page.goto("/")
        expect(page).to_have_url(f"http://{listen}/login?next=/")
        for _ in range(5):
            page.get_by_label("Password").fill("wrong")
            with page.expect_navigation():
                page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_have_text("That is not the password.")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Too many wrong passwords")
    finally:
        context.close()
        assert dashboard.end() == 0


class Terminal:
    """A dashboard that others can reach, started by a person at a terminal of its own."""

    def __init__(self, directory: Path, hub: str) -> None:
        import pty  # which Windows does not have

        self._screen, keyboard = pty.openpty()
        self.shown = ""
        self.listen = f"0.0.0.0:{free_port()}"
        program = (
            "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "from snyper.cli.main import main; main()"
        )
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", program, "dashboard", "--hub", hub, "--listen", self.listen),
                *("--archive", str(directory / "archive.sqlite3"), "--no-open"),
            ],
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        os.close(keyboard)

    def shows(self, words: str) -> None:
        """Waits for `words` among what comes next."""
        until_s = time.monotonic() + DEADLINE_MS / 1000
        while words not in self.shown:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, f"it should show {words!r}, not {self.shown!r}"
            try:
                self.shown += os.read(self._screen, 4096).decode()
            except OSError:  # its end
                raise AssertionError(f"it ended without {words!r}: {self.shown!r}") from None
        self.shown = self.shown.partition(words)[2]

    def types(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(shooting_range: Range, tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path, shooting_range.hub_address)
    yield found
    found.close()


def test_a_password_is_chosen_at_the_terminal(terminal: Terminal) -> None:
    terminal.shows("choose a password")
    for second in ("another one", PASSWORD):
        terminal.shows("Password: ")
        terminal.types(PASSWORD + "\n")
        terminal.shows("Repeat for confirmation: ")
        assert PASSWORD not in terminal.shown
        terminal.types(second + "\n")
        if second != PASSWORD:
            terminal.shows("do not match")
    terminal.shows("Ctrl-C stops it")
    assert PASSWORD not in terminal.shown
    local = f"{HOST}:{terminal.listen.rpartition(':')[2]}"
    assert raw_status(local, "GET / HTTP/1.1") == 303
    for guess, status in (("wrong", 401), (PASSWORD, 303)):
        form = urlencode({"password": guess})
        assert (
            raw_status(local, "POST /login HTTP/1.1", more=f"Content-Length: {len(form)}\r\n\r\n{form}")
            == status
        )
    terminal.types("\x03")
    terminal.shows("stopped")
    assert terminal.process.wait(20) == 0


@pytest.mark.parametrize(
    ("typed", "words", "status"), [("abc\n", "at least 6 characters", 2), ("\x03", "stopped", 130)]
)
def test_no_password_is_chosen(terminal: Terminal, typed: str, words: str, status: int) -> None:
    for prompt in ("Password: ", "Repeat for confirmation: "):
        terminal.shows(prompt)
        terminal.types(typed)
        if "\n" not in typed:
            break
    terminal.shows(words)
    assert terminal.process.wait(20) == status


INJECT = """() => {
    const added = document.createElement("div");
    document.body.append(added);
    added.innerHTML = "<img src=data:, onerror='window.harmed = 1'><b style='color: rgb(1, 2, 3)'>x</b>";
    const script = document.createElement("script");
    script.textContent = "window.harmed = 2";
    const style = document.createElement("style");
    style.textContent = "b { background: rgb(1, 2, 3) }";
    added.append(script, style);
    return new Promise(done => added.querySelector("img").addEventListener("error", () => {
        const seen = getComputedStyle(added.querySelector("b"));
        done([window.harmed ?? null, seen.color, seen.backgroundColor]);
    }));
}"""  # what markup would do that somebody got into a page


@pytest.mark.parametrize("path", PAGES)
def test_what_is_put_into_a_page_does_not_run(desk: Watched, path: str) -> None:
    page = desk.context.new_page()
    answer = page.goto(path)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    plot = page.locator(".plot canvas")
    if path == "/health":
        plot.hover()  # what it says of a point is no HTML
    desk.is_fine()
    harmed, colour, ground = page.evaluate(INJECT)
    assert harmed is None
    assert "rgb(1, 2, 3)" not in (colour, ground)
    assert len(desk.complaints) == 4, desk.complaints


def test_another_site_gets_nothing_from_this_computer(shooting_range: Range) -> None:
    listen = shooting_range.listen
    assert raw_status(listen, "GET / HTTP/1.1") == 200
    assert raw_status(listen, "GET / HTTP/1.1", host="evil.example") == 403
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.example\r\n"
    )
    socket_path = "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1"
    assert raw_status(listen, socket_path, more=upgrade) == 403


def test_what_can_go_wrong_at_the_start(shooting_range: Range, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive.sqlite3")
    status, err = run_snyper("dashboard", "--listen", "0.0.0.0:0", "--no-open", "--archive", archive)
    assert (status, "needs a password: --password-file FILE, or" in err) == (2, True), err
    status, err = run_snyper("dashboard", "--listen", shooting_range.listen, "--archive", archive)
    assert (status, "is another dashboard running?" in err) == (1, True), err
    key_file = tmp_path / "key"
    status, err = run_snyper("dashboard", "--key-file", str(key_file), "--no-open", "--archive", archive)
    assert (status, f"--key-file: {key_file} cannot be read" in err) == (2, True), err
    status, err = run_snyper("dashboard", "--password-file", str(key_file), "--no-open", "--archive", archive)
    assert (status, f"--password-file: {key_file} cannot be read (No such file" in err) == (2, True), err
    status, err = run_snyper("dashboard", "--certificate", str(key_file), "--no-open", "--archive", archive)
    assert (status, f"{key_file} cannot be used for HTTPS (No such file" in err) == (1, True), err
    broken = tmp_path / "broken.pem"
    broken.write_text("no PEM\n")
    status, err = run_snyper("dashboard", "--certificate", str(broken), "--no-open", "--archive", archive)
    assert (status, "cannot be used for HTTPS (no certificate with its key): give" in err) == (1, True), err
    for limit in ("tabs", "tabs=0", "tab=5"):
        status, err = run_snyper("dashboard", "--limit", limit, "--no-open", "--archive", archive)
        assert (status, "--limit: " in err, "register_ms" in err) == (2, True, False), err  # a hub's
    status, err = run_snyper("dashboard", "--hub", "here:there")
    assert (status, "HOST:PORT" in err) == (2, True), err
    taken = str(shooting_range.directory / "kept" / "archive.sqlite3")
    options = ("--hub", shooting_range.hub_address, "--listen", f"{HOST}:0", "--no-open")
    status, err = run_snyper("dashboard", *options, "--archive", taken)
    assert (status, "--archive" in err) == (1, True), err


def run_snyper(*arguments: str) -> tuple[int, str]:
    """The exit status and stderr of a `snyper` that ends by itself. (No coroutine: the browser's driver has a
    loop of its own in this thread.)
    """
    result = subprocess.run(
        [sys.executable, "-m", "snyper.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    return result.returncode, result.stderr


def raw_status(listen: str, request: str, host: str | None = None, more: str = "") -> int:
    """The status of an answer, asked for without a browser's manners."""
    name, _, port = listen.rpartition(":")
    began = running_s()
    with socket.create_connection((name, int(port)), timeout=10) as sock:
        sock.sendall(f"{request}\r\nHost: {host or listen}\r\n{more}\r\n".encode())
        answer = b""
        while b"\r\n" not in answer:
            assert running_s() - began < 10, "no answer"
            piece = sock.recv(4096)
            assert piece, f"the connection ended after {answer!r}"
            answer += piece
    return int(answer.split()[1])
