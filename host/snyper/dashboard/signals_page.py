"""Signals: live plots of streams, each tab as fast as it draws them."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from nicegui import Client, ui

from snyper.client.labels import mark_name
from snyper.dashboard import widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.frames import IDLE_S, Frames, Said
from snyper.dashboard.recorded_past import Shelved, Window
from snyper.dashboard.signal_feed import Signal
from snyper.dashboard.signal_lines import SignalLines, View
from snyper.dashboard.signal_recorders import clock_length
from snyper.dashboard.signals import Signals
from snyper.dashboard.widgets import plural
from snyper.device.errors import TransferError
from snyper.recordings.errors import InUse, RecordingError
from snyper.system import steady
from snyper.system.files import shown
from snyper.system.text import harmless

SPANS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400),
)
MIN_SPAN_US = 100_000
MAX_SPAN_S = 366 * 86_400  # of a recording
MOST_SHOWN = 6  # in one tab
MOST_LISTED = 200
FRAME_S = 1 / 30
MAX_US = 1 << 60
MARK = "mark"  # the name of one that is given none


class SignalsPage:
    """One browser's view of it."""

    def __init__(self, feed: HubFeed, client: Client, messages_per_s: int) -> None:
        """`messages_per_s` is how many a tab may send, of which acknowledgements take half."""
        self._feed = feed
        self._client = client
        self._shown: dict[str, SignalLines | None] = {}
        self._view = View(10_000_000)  # of all streams
        self._views: dict[str, View] = {}  # of the recordings that are open, by their folders
        self._wholes: dict[str, View] = {}  # from begin to end of each
        self._reading: dict[str, asyncio.Task[None]] = {}  # what recordings have of a plot
        self._columns = 0  # of a plot, 0 before the browser says so
        self._is_rolling = False
        self._before: int | None = None  # of which page of arrays, None for the first
        self._arrays: Said | None = None  # as the browser has them
        self._state: Said = {}  # as the browser has it
        self._state_s = 0.0  # when that was found
        with widgets.box("div", "page"):
            with widgets.box("div", "heading"), widgets.box("div"):
                widgets.text("h1", "Signals")
            self._plots = Signals(self._act)
        self._frames = Frames(client, self._plots, max(FRAME_S, 2 / messages_per_s), self._frame)
        client.on_connect(self._begin_anew)

    # --- what the browser says

    def _act(self, event: Any) -> Awaitable[None] | None:
        said = event.args if isinstance(event.args, dict) else {}
        act = said.get("act")
        if act == "drawn":
            self._frames.acknowledge(said.get("number"))
        elif act == "size":
            is_first = not self._columns
            self._columns = int(said["columns"])
            self._shown = dict.fromkeys(self._shown)
            if is_first:
                self._begin_anew()
        elif act == "look":
            self._look(said.get("recording"), float(said["span_s"]), said.get("to_us"))
        elif act == "choose" and self._feed.past.find(str(said.get("name"))) is not None:
            return self._open(str(said.get("name")))
        elif act == "choose":
            self._choose(str(said.get("name")))
        elif act == "pause":
            self._pause(said.get("to_us"))
        elif act == "rolling":
            self._is_rolling = said.get("on") is True
            self._send_whole()
        self._state_s = 0.0 if act != "drawn" else self._state_s
        self._frames.hurry()
        if act == "page":
            self._before = None if said.get("before") is None else int(said["before"])
        elif act == "delete":
            return self._delete(int(said["index"]))
        elif act == "mark":
            return self._mark(mark_name(str(said.get("name"))) or MARK)
        if act == "record":
            return self._record(str(said.get("name")), is_on=said.get("on") is True)
        return None

    def _choose(self, name: str) -> None:
        """Show a stream, or no more where it was shown."""
        if name in self._shown:
            self._close(name)
        elif len(self._shown) < MOST_SHOWN and name in self._feed.signals.names():
            self._shown[name] = None

    def _close(self, name: str) -> None:
        del self._shown[name]
        self._views.pop(name, None)

    async def _open(self, folder: str) -> None:
        """Show a recording from begin to end, or no more where it was shown."""
        if folder in self._shown:
            self._close(folder)
        elif (one := await self._feed.past.look_at(folder)) and len(self._shown) < MOST_SHOWN:
            self._views[folder] = self._wholes[folder] = _whole_of(one)
            self._shown[folder] = None
        self._state_s = 0.0
        self._frames.hurry()

    def _grow(self) -> None:
        """Have a recording that is seen as a whole be seen with what it has by now."""
        for name in self._views:
            one, whole = self._feed.past.find(name), self._wholes[name]
            if one is None or (grown := _whole_of(one)) == whole:
                continue
            self._wholes[name] = grown
            self._state_s = 0.0
            if self._views[name] == whole:
                self._views[name], self._shown[name] = grown, None

    def _streams(self) -> list[str]:
        return [name for name in self._shown if name not in self._views]

    def _look(self, recording: Any, span_s: float, to_us: Any) -> None:
        """Have the time be another that is looked at: of a recording, or of all streams."""
        if not SPANS_S[0] <= span_s <= MAX_SPAN_S:
            return
        view = View(round(span_s * 1e6), _instant(to_us))
        if recording is not None:
            if recording in self._views:
                is_whole = view.end_us is None
                self._views[recording] = self._wholes[recording] if is_whole else view
                self._shown[recording] = None
            return
        self._view = view
        self._shown |= dict.fromkeys(self._streams())

    def _pause(self, to_us: Any) -> None:
        """Have all streams stay as they are seen, until that instant, or go on with None."""
        end_us = _instant(to_us)
        for name in self._streams():
            lines = self._shown[name]
            if end_us is not None and lines is not None:
                lines.hold(end_us)
            elif lines is not None and lines.is_held:
                lines.release()
            else:
                self._shown[name] = None
        self._view = replace(self._view, end_us=end_us)

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
        self._frames.hurry()

    async def _mark(self, mark: str) -> None:
        """Put a mark into each stream that is shown, and into those of them that are recorded."""
        recorders, names = self._feed.recorders, self._streams()
        errors = await asyncio.gather(*(recorders.mark(name, mark) for name in names))
        for name, error in zip(names, errors, strict=True):
            if error is not None:
                words = f"No mark {mark!r} in {name}: {error.message or error.code}"
                kept = "Its recording has it." if name in recorders.running else ""
                widgets.notice(self._client, words, kept)

    async def _delete(self, index: int) -> None:
        with self._client.layout, ui.dialog() as dialog, widgets.box("form", "sheet"):
            dialog.props('aria-label="Delete an array"')
            widgets.text("h2", f"Delete array {index}?")
            widgets.text("p", "It is gone for everybody, and cannot be brought back.")
            with widgets.box("div", "actions"):
                widgets.Button("Keep it", lambda: dialog.submit(False))
                widgets.Button("Delete", lambda: dialog.submit(True), kind="stop")
        if not await widgets.answer(dialog):
            return
        try:
            await self._feed.arrays.delete(index)
        except TransferError as error:
            widgets.notice(self._client, f"Array {index} is not deleted: {error}")
        self._frames.hurry()

    def _send_whole(self) -> None:
        for lines in self._shown.values():
            if lines is not None:
                lines.begin_anew()

    def _begin_anew(self) -> None:
        """Have all of it sent: who has connected may have missed any frame."""
        self._send_whole()
        self._state, self._state_s = {}, 0.0
        self._arrays = None
        if self._columns:  # else it is not ready yet
            self._frames.begin_anew()

    # --- what it is sent

    async def _frame(self) -> Said:
        if self._shown:
            self._frames.hurry()  # there may be news at any time
        signals = self._feed.signals
        signals.refresh()
        self._feed.past.refresh(self._views)
        found = {name: signals.want(name) for name in self._streams()}
        self._grow()
        frame: Said = {}
        if steady.now_s() - self._state_s >= IDLE_S:
            self._state_s = steady.now_s()
            state = self._state_of(found)
            if state != self._state:
                frame["state"] = self._state = state
        if news := await self._news(found):
            frame["news"] = news
        arrays = self._feed.arrays.page(self._before)
        if arrays is not None and arrays != self._arrays:
            frame["arrays"] = self._arrays = arrays
        return frame

    async def _news(self, found: dict[str, Signal | None]) -> Said:
        news = {}
        for name in list(self._shown):
            signal = found.get(name)
            lines = self._lines_of(name, signal)
            if lines is None:
                continue
            await lines.take()
            self._read_past(name, lines)
            if lines.view.end_us is not None and not lines.is_past_known:
                continue  # which comes at once, or shortly
            now_us = self._feed.model.hub_us(time.monotonic())
            if self._shown.get(name) is lines and (said := lines.news(self._is_rolling, now_us)):
                news[name] = said
        return news

    def _lines_of(self, name: str, signal: Signal | None) -> SignalLines | None:
        """Return what is shown of a stream or a recording, made where that is due; None for nothing."""
        lines = self._shown.get(name)
        view = self._views.get(name)
        if view is not None:
            recording = self._feed.past.find(name)
            if lines is None and recording is not None:
                lines = SignalLines(None, view, self._columns, recording.utc_ahead_us)
        elif signal is not None and (lines is None or lines.is_other(signal)):
            lines = SignalLines(signal, self._view, self._columns, self._feed.signals.utc_ahead_us())
        if lines is not None and name in self._shown:
            self._shown[name] = lines
        return lines

    def _read_past(self, name: str, lines: SignalLines) -> None:
        """Have read what recordings have of a plot, unless that is known."""
        window = lines.past_window(self._feed.model.boot_id)
        if lines.is_past_asked or (window is None and lines.view.end_us is None and lines.newest_us is None):
            return
        lines.is_past_asked = True
        if (before := self._reading.pop(name, None)) is not None:
            before.cancel()
        if window is None:
            lines.is_past_known = True
        else:
            self._reading[name] = asyncio.create_task(self._take_past(name, lines, window))

    async def _take_past(self, name: str, lines: SignalLines, window: Window) -> None:
        past = None
        try:
            if name in self._views:
                past = await self._feed.past.of_recording(name, window)
            else:
                ahead_us = self._feed.signals.utc_ahead_us()
                past = await self._feed.past.of_stream(name, window, ahead_us)
        except (RecordingError, OSError, ValueError) as error:
            lines.problem = f"What was recorded cannot be read: {error}"
        lines.set_past(past)
        self._frames.hurry()

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
            "gateway": harmless(self._feed.arrays.where),
            "empty": not names and self._feed.signals.is_listed,
            "shown": [self._face_of(name, signal) for name, signal in found.items()],
            "opened": [self._face_of_recording(name) for name in self._views],
            "recordings": [self._entry_of(one) for one in self._feed.past.shelf],
            "more_recordings": widgets.shown_of(
                len(self._feed.past.shelf), self._feed.past.count, "recording"
            ),
            "recordings_problem": self._feed.past.problem,
            "is_full": len(self._shown) >= MOST_SHOWN,
            "spans_s": SPANS_S,
        }

    def _entry_of(self, one: Shelved) -> Said:
        began = None if one.utc_ahead_us is None else (one.begin_us + one.utc_ahead_us) // 1000
        running = self._feed.recorders.running.values()
        now = next((it for it in running if it.folder is not None and it.folder.name == one.folder), None)
        figures = [clock_length((one.end_us - one.begin_us) / 1e6), plural(one.samples, "sample")]
        figures += [f"{one.missing:,} missing"] if one.missing else []
        return {
            "folder": one.folder,
            "stream": harmless(one.stream),
            "began_ms": began,
            "figures": figures if now is None else [now.figures()],
            "recorded": now is not None,
            "on": one.folder in self._views,
        }

    def _face_of_recording(self, name: str) -> Said:
        one, lines, whole = self._feed.past.find(name), self._shown.get(name), self._wholes[name]
        problem = "It is not there any more" if one is None else lines.problem if lines else ""
        return {
            "name": name,
            "stream": harmless(one.stream) if one else name,
            "words": problem,
            "bad": bool(problem),
            "view": {"span_s": whole.span_us / 1e6, "to_us": whole.end_us},
        }

    def _face_of(self, name: str, signal: Signal | None) -> Said:
        words, is_bad = self._how_of(signal)
        face = {"name": name, "words": words, "bad": is_bad, "live": not is_bad, "recorded": False}
        running = self._feed.recorders.running.get(name)
        if running is not None:
            words, is_bad = running.words()
            face |= {"recorded": True, "recording": words, "recording_bad": is_bad}
        elif problem := self._feed.recorders.problems.get(name):
            face |= {"recording": f"The recording has ended: {problem}", "recording_bad": True}
        elif (lines := self._shown.get(name)) is not None and lines.problem:
            face |= {"recording": lines.problem, "recording_bad": True}
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


def _whole_of(one: Shelved) -> View:
    """Return the view of all of a recording."""
    length_us = one.end_us + 1 - one.begin_us
    return View(min(max(MIN_SPAN_US, length_us), MAX_SPAN_S * 10**6), one.end_us + 1)


def _instant(to_us: Any) -> int | None:
    """Return an instant that a browser says, or None for now."""
    return None if to_us is None else min(max(int(to_us), -MAX_US), MAX_US)
