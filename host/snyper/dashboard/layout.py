"""The layout around every page: navigation, the hub's sign, the banner when it is lost, shortcuts."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from nicegui import ui

from snyper.client import Event
from snyper.client.events import sound_of
from snyper.client.labels import state_word
from snyper.dashboard import array_export, camera_files, drawings, export, signal_export, widgets
from snyper.dashboard.cameras_page import CamerasPage
from snyper.dashboard.exporting import Exports
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.game_page import GamePage
from snyper.dashboard.health_page import HealthPage
from snyper.dashboard.history_page import HistoryPage
from snyper.dashboard.range_page import RangePage
from snyper.dashboard.safety_bar import KEY, SafetyBar
from snyper.dashboard.services_page import ServicesPage
from snyper.dashboard.signals_page import SignalsPage
from snyper.system import steady

_PAGES = (
    ("/", "Range", "range"),
    ("/game", "Game", "game"),
    ("/history", "History", "history"),
    ("/health", "Health", "health"),
    ("/services", "Services", "services"),
    ("/signals", "Signals", "signals"),
    ("/cameras", "Cameras", "cameras"),
)
OPEN_HUB = "⚠ Open hub: everybody on its network commands it"
PATHS = tuple(path for path, _, _ in _PAGES)

_SHORTCUTS = (
    (KEY, "cease fire: every target down, at once"),
    ("1 2 3 4 5 6 7", "Range, Game, History, Health, Services, Signals, Cameras"),
    ("Shift S", "stand up the targets that are chosen"),
    ("Shift L", "lay them down"),
    ("Shift A", "activate them"),
    ("F", "game on the whole screen"),
    ("P", "signals: pause, go on"),
    ("R", "signals: rolling mean and deviation"),
    ("K", "signals: a mark in all streams that are shown"),
    ("+ -", "signals: less time, more"),
    ("← →", "signals: earlier, later; a large picture: newer, older"),
    ("/", "cameras: look for a plate"),
    ("M", "sound on, off"),
    ("T", "light, dark, as the system says"),
    ("?", "this list"),
    ("Tab, Enter", "go to a button, press it (groups: a target's tag)"),
    ("Esc", "close, leave the whole screen"),
)


def add_pages(app: FastAPI, feed: HubFeed, limits: Mapping[str, int], can_leave: bool, head: str) -> None:
    """Add every page of the dashboard, with `head` in the head of each. `can_leave`: people sign in, so they
    can sign out.
    """
    exports = Exports(limits["exports"])
    export.add_route(app, feed.store, exports)
    signal_export.add_route(app, feed, exports)
    array_export.add_route(app, feed.arrays, exports)
    camera_files.add_route(app, feed.cameras)

    def page(request: Request) -> None:
        ui.add_head_html(head)
        Layout(feed, can_leave, limits)

    for path, name, _ in _PAGES:
        ui.page(path, title=f"{name} · SNYPER")(_copy(page))


def _copy(page: Any) -> Any:
    """Copy a page's function: NiceGUI knows a page by it, so each path has one of its own."""

    def builder(request: Request) -> None:
        page(request)

    return builder


class Layout:
    """One browser's page, and the frame around its pages."""

    def __init__(self, feed: HubFeed, can_leave: bool, limits: Mapping[str, int]) -> None:
        self._feed = feed
        self._client = ui.context.client
        self._links: dict[str, list[Any]] = {}
        self._heard: dict[str, None] = {}  # the sounds of what has happened, in order
        self._help: ui.dialog | None = None  # made when somebody asks for it
        self._safety = SafetyBar(feed, self._client)
        widgets.text("a", "Skip to the content", "skip").props('href="#content"')
        with widgets.box("header", "topbar"):
            with widgets.box("div", "brand"):
                widgets.svg(drawings.LOGO)
                widgets.text("span", "SNYPER")
            self._navigation("rail", "Pages")
            with widgets.box("div", "tools"):
                self._make_sign()
                self._safety.make_button()
                self._tool("sound-button", "silent", "Sound is off", "snyper.toggleSound()")
                self._tool("theme-button", "auto", "Light or dark: as the system says", "snyper.nextTheme()")
                widgets.Button("", self._open_help, "help", "ghost", "Keyboard shortcuts and help")
                if can_leave:
                    with widgets.box("form").props('method=post action="/logout"'):
                        leave = widgets.box("button", "button ghost")
                        with leave.props('type=submit aria-label="Sign out" title="Sign out"'):
                            widgets.svg(drawings.icon("leave"))
        self._safety.make()
        self._make_banner()
        self._open_hub = widgets.text("p", OPEN_HUB, "open-hub").props("role=status")
        with widgets.box().props("id=content tabindex=-1"):
            self.pages = ui.sub_pages(
                {
                    "/": lambda: self._show("/", partial(RangePage, most=limits["cards"])),
                    "/game": lambda: self._show("/game", GamePage),
                    "/history": lambda: self._show("/history", HistoryPage),
                    "/health": lambda: self._show("/health", HealthPage),
                    "/services": lambda: self._show("/services", ServicesPage),
                    "/signals": lambda: self._show(
                        "/signals", partial(SignalsPage, messages_per_s=limits["messages_per_s"])
                    ),
                    "/cameras": lambda: self._show("/cameras", CamerasPage),
                }
            )
        self._navigation("tabbar", "Pages, below")
        self._mark()
        self._client.on_connect(lambda: self._client.run_javascript("snyper.ready()"))
        ui.on("shortcut", self._shortcut)
        widgets.keep_drawn(feed, self._frame, self._draw, self._on_event)

    def _open_help(self) -> None:
        self._help = self._help or self._make_help()
        self._help.open()

    def _make_help(self) -> ui.dialog:
        with self._client.layout, ui.dialog() as dialog, widgets.box("section", "sheet help"):
            dialog.props('aria-label="Help"')
            widgets.text("h2", "Keyboard")
            with widgets.box("dl", "shortcuts"):
                for keys, meaning in _SHORTCUTS:
                    with widgets.box("dt"):
                        for key in keys.split(" ") if "," not in keys else keys.split(", "):
                            widgets.text("kbd", key)
                    widgets.text("dd", meaning)
            widgets.text("h2", "The picture of a target")
            with widgets.box("div", "legend"):
                for state, words in LEGEND:
                    with widgets.attributes(widgets.box("figure"), data_state=state):
                        widgets.svg(drawings.TARGET)
                        widgets.text("figcaption", words)
            widgets.Button("Close", dialog.close, kind="wide")
        return dialog

    def _navigation(self, classes: str, label: str) -> None:
        with widgets.attributes(widgets.box("nav", classes), aria_label=label):
            for path, name, icon in _PAGES:
                with widgets.attributes(ui.element("a"), href=path) as link:
                    widgets.svg(drawings.icon(icon))
                    widgets.text("span", name)
                self._links.setdefault(path, []).append(link)

    def _make_sign(self) -> None:
        with widgets.box("div", "sign").props("role=status") as self._frame:
            widgets.box("span", "dot")
            self._sign_text = widgets.text("span", "", "where")
            self._sign_more = widgets.text("span", "", "more")

    def _tool(self, id: str, icon: str, label: str, script: str) -> None:
        button = widgets.box("button", "button ghost")
        with widgets.attributes(button, type="button", id=id, aria_label=label, title=label):
            widgets.svg(drawings.icon(icon))
        button.on("click", js_handler=f"() => {script}")

    def _make_banner(self) -> None:
        with widgets.box("div", "banner").props("role=alert") as self._banner:
            widgets.svg(drawings.icon("lost"))
            with widgets.box("div"):
                self._banner_title = widgets.text("strong")
                self._banner_text = widgets.text("p")
        self._banner.set_visibility(False)

    def _show(self, path: str, make: Any) -> None:
        self._path = path
        self._mark()
        name = next(name for known, name, _ in _PAGES if known == path)
        ui.page_title(f"{name} · SNYPER")
        self._page = make(self._feed, self._client)

    def _mark(self) -> None:
        """Mark the current page in every navigation."""
        for path, links in self._links.items():
            for link in links:
                if path == self._path:
                    link.props("aria-current=page")
                else:
                    link.props(remove="aria-current")

    def _draw(self) -> None:
        self._sound()
        model = self._feed.model
        now_s = steady.now_s()
        widgets.set_prop(self._frame, "data-online", str(model.online).lower())
        widgets.set_text(self._sign_text, model.hub)
        if model.online:
            uptime = f", up {widgets.duration(model.status.uptime_ms / 1000)}" if model.status else ""
            widgets.set_text(self._sign_more, f"{widgets.plural(model.overview().here, 'target')}{uptime}")
        else:
            widgets.set_text(self._sign_more, "no hub")
        lost = not model.online and bool(model.since_s)
        if lost:
            where = f"at {model.hub}"
            what = f"The hub {where} refuses this dashboard" if model.is_refused else f"No hub {where}"
            widgets.set_text(
                self._banner_title,
                f"{what} since {widgets.clock_time(steady.unix_s(model.since_s))}"
                f" ({widgets.duration(now_s - model.since_s)}): {model.reason}",
            )
            widgets.set_text(
                self._banner_text,
                "Start the dashboard with a key of this hub, which --key-file names. "
                "This page goes on by itself as soon as it is let in."
                if model.is_refused
                else "Start it with “snyper hub”, or check its power and the network. "
                "This page goes on by itself as soon as it is back.",
            )
        if self._banner.visible != lost:
            self._banner.set_visibility(lost)
        if self._open_hub.visible != model.is_open:
            self._open_hub.set_visibility(model.is_open)

    def _on_event(self, event: Event) -> None:
        if self._client.has_socket_connection:
            self._heard[sound_of(event)] = None

    def _sound(self) -> None:
        """Have the browser play what is to be heard since the last drawing, each sound once."""
        for sound in filter(None, self._heard):
            self._client.run_javascript(f"snyper.heard({json.dumps(sound)})")
        self._heard.clear()

    async def _shortcut(self, event: Any) -> None:
        key = str(event.args)
        if key == KEY:
            await self._safety.call()
        elif key == "?":
            self._open_help()
        elif key in map(str, range(1, len(_PAGES) + 1)):
            ui.navigate.to(_PAGES[int(key) - 1][0])
        elif isinstance(self._page, RangePage):
            await self._page.shortcut(key)


LEGEND = (
    ("down", state_word("down")),
    ("rising", f"{state_word('rising')}, {state_word('falling')}"),
    ("standing", state_word("standing")),
    ("armed", state_word("armed")),
    ("away", state_word("away")),
    ("fault", state_word("fault")),
)
