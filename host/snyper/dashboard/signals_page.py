"""Signals: live plots of streams, each tab as fast as it draws them."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from nicegui import Client

from snyper.dashboard import widgets
from snyper.dashboard.faults import log_fault
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.signal_feed import Signal
from snyper.dashboard.signal_lines import Said, SignalLines
from snyper.dashboard.signals import Signals
from snyper.recordings.errors import InUse
from snyper.system import steady
from snyper.system.files import shown
from snyper.system.text import harmless

SPANS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60)
MOST_SHOWN = 6  # in one tab
MOST_LISTED = 200
FRAME_S = 1 / 30
IDLE_S = 0.5  # until a frame with no news, so that it is known whether somebody looks
HIDDEN_S = 5.0  # without an acknowledgement, after which nobody looks


class SignalsPage:
    """One browser's view of it. A tab is sent the next frame when it has drawn the last: what is hidden costs
    nothing, and whatever comes meanwhile is in the next one.
    """

    def __init__(self, feed: HubFeed, client: Client, messages_per_s: int) -> None:
        """`messages_per_s` is how many a tab may send, of which acknowledgements take half."""
        self._feed = feed
        self._client = client
        self._frame_s = max(FRAME_S, 2 / messages_per_s)
        self._shown: dict[str, SignalLines | None] = {}
        self._span_s: float = 10
        self._columns = 0  # of a plot, 0 before the browser says so
        self._is_paused = False
        self._is_rolling = False
        self._number = 0  # of the frame that was sent last
        self._sent_s = 0.0
        self._is_drawn = True
        self._state: Said = {}  # as the browser has it
        self._state_s = 0.0  # when that was found
        self._held: dict[str, tuple[Signal, int]] = {}  # where each stands while it is paused
        self._due = asyncio.Event()
        with widgets.box("div", "page"):
            with widgets.box("div", "heading"), widgets.box("div"):
                widgets.text("h1", "Signals")
            self._plots = Signals(self._act)
        client.on_connect(self._begin_anew)
        self._sending = asyncio.create_task(self._send())

    # --- what the browser says

    def _act(self, event: Any) -> Awaitable[None] | None:
        said = event.args if isinstance(event.args, dict) else {}
        act = said.get("act")
        if act == "drawn":
            self._is_drawn = self._is_drawn or said.get("number") == self._number
        elif act == "size":
            self._columns = int(said["columns"])
            self._shown = dict.fromkeys(self._shown)
        elif act == "span" and said.get("span_s") in SPANS_S:
            self._span_s = said["span_s"]
            self._shown = dict.fromkeys(self._shown)
        elif act == "choose":
            self._choose(str(said.get("name")))
        elif act == "pause":
            self._is_paused = said.get("on") is True
            self._held = {name: lines.place for name, lines in self._shown.items() if lines}
        elif act == "rolling":
            self._is_rolling = said.get("on") is True
            self._send_whole()
        self._state_s = 0.0 if act != "drawn" else self._state_s
        self._due.set()
        if act == "record":
            return self._record(str(said.get("name")), is_on=said.get("on") is True)
        return None

    def _choose(self, name: str) -> None:
        if name in self._shown:
            del self._shown[name]
        elif len(self._shown) < MOST_SHOWN and name in self._feed.signals.names():
            self._shown[name] = None

    async def _record(self, name: str, is_on: bool) -> None:
        recorders = self._feed.recorders
        if is_on and name in self._feed.signals.names():
            try:
                await recorders.begin(name)
            except (InUse, OSError, ValueError) as error:
                widgets.notice(self._client, f"{name} is not recorded: {error}")
        elif not is_on and (ended := await recorders.end(name)) is not None:
            where = "" if ended.folder is None else f"In {shown(ended.folder)}"
            widgets.notice(self._client, f"{name}: {ended.figures()}", where, good=True)
        self._state_s = 0.0
        self._due.set()

    def _send_whole(self) -> None:
        for lines in self._shown.values():
            if lines is not None:
                lines.begin_anew()

    def _begin_anew(self) -> None:
        """Have all of it sent: who has connected may have missed any frame."""
        self._send_whole()
        self._state, self._state_s = {}, 0.0
        self._is_drawn = True
        self._due.set()

    # --- what it is sent

    async def _send(self) -> None:
        while not (self._plots.is_deleted or self._client.is_deleted):
            self._due.clear()
            began_s = steady.now_s()
            try:
                await self._turn()
            except Exception as error:
                log_fault("a page could not be drawn", error)
                await asyncio.sleep(IDLE_S)
            took_s = steady.now_s() - began_s
            await asyncio.sleep(max(self._frame_s - took_s, took_s))  # half of the time is the hub's
            if not (self._is_drawn and self._client.has_socket_connection and self._shown):
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_S):
                await self._due.wait()
        except TimeoutError:
            pass

    async def _turn(self) -> None:
        if steady.now_s() - self._sent_s > HIDDEN_S and not self._is_drawn:
            return  # nobody looks
        if not self._client.has_socket_connection or not self._columns:
            return
        signals = self._feed.signals
        signals.refresh()
        found = {name: signals.want(name) for name in self._shown}
        if not self._is_drawn:
            return
        frame: Said = {}
        if steady.now_s() - self._state_s >= IDLE_S:
            self._state_s = steady.now_s()
            state = self._state_of(found)
            if state != self._state:
                frame["state"] = self._state = state
        if news := await self._news(found):
            frame["news"] = news
        if frame or steady.now_s() - self._sent_s >= IDLE_S:
            self._number += 1
            self._is_drawn, self._sent_s = False, steady.now_s()
            self._plots.send({"number": self._number, **frame})

    async def _news(self, found: dict[str, Signal | None]) -> Said:
        news = {}
        for name, signal in found.items():
            if signal is None or name not in self._shown:
                continue
            until = None
            if self._is_paused:
                held, until = self._held.setdefault(name, (signal, signal.next))
                if held is not signal:
                    continue
            lines = self._shown[name]
            if lines is None or lines.signal is not signal:
                lines = self._shown[name] = SignalLines(signal, self._span_s, self._columns)
            await lines.take(until)
            if self._shown.get(name) is lines and (said := lines.news(self._is_rolling)):
                news[name] = said
        return news

    def _state_of(self, found: dict[str, Signal | None]) -> Said:
        names, recorders = self._feed.signals.names(), self._feed.recorders
        listed = list(names.items())[:MOST_LISTED]
        return {
            "words": self._words(names),
            "streams": [
                {"name": name, "live": live, "on": name in found, "recorded": name in recorders.running}
                for name, live in listed
            ],
            "cut": widgets.shown_of(len(listed), len(names), "stream"),
            "hub": harmless(self._feed.model.hub),
            "empty": not names and self._feed.signals.is_listed,
            "shown": [self._face_of(name, signal, names.get(name, False)) for name, signal in found.items()],
            "is_full": len(found) >= MOST_SHOWN,
            "spans_s": SPANS_S,
            "span_s": self._span_s,
        }

    def _face_of(self, name: str, signal: Signal | None, is_here: bool) -> Said:
        words, is_bad = self._how_of(signal)
        face = {"name": name, "words": words, "bad": is_bad, "live": not is_bad, "recorded": False}
        running = self._feed.recorders.running.get(name)
        if running is not None:
            words, is_bad = running.words()
            face |= {"recorded": True, "recording": words, "recording_bad": is_bad}
        elif problem := self._feed.recorders.problems.get(name):
            face |= {"recording": f"The recording has ended: {problem}", "recording_bad": True}
        return face

    def _how_of(self, signal: Signal | None) -> tuple[str, bool]:
        """Return how a signal stands, and whether that is bad news."""
        if not self._feed.model.online:
            return f"{widgets.HUB_LOST}: what is shown came before that", True
        if signal is None:
            return "Too many streams are looked at: close one elsewhere", True
        if signal.problem:
            return signal.problem, True
        if signal.is_gone:
            return "Its source is away: it goes on when that is back", True
        if signal.last is None:
            return "Nothing came yet", False
        rate_hz = signal.last[0].rate_hz
        said = f"{rate_hz:,.0f}" if rate_hz >= 1_000 else f"{rate_hz:g}"
        words = [f"{said if rate_hz else f'about {signal.measured_hz():,.0f}'} samples/s"]
        if signal.lost:
            words.append(f"{signal.lost:,} lost")
        return ", ".join(words), False

    def _words(self, names: dict[str, bool]) -> str:
        signals = self._feed.signals
        if not self._feed.model.online:
            return f"{widgets.HUB_LOST}: what is shown was said last"
        if signals.problem:
            return f"The streams cannot be listed: {signals.problem}"
        if not signals.is_listed:
            return "Reading …"
        if not names:
            return "No stream here yet"
        here = sum(names.values())
        return f"{here:,} of {widgets.plural(len(names), 'stream')} here"
