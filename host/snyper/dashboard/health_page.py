"""Health: how well everybody hears everybody, and what the boards say about themselves."""

import statistics
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any

from nicegui import Client, ui

from snyper.dashboard import charts, drawings, widgets
from snyper.dashboard.cards import Cards, Face
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Target
from snyper.dashboard.plot import Plot
from snyper.shared.socket_protocol import ProtocolError
from snyper.system import steady

CHART_S = 2.0  # between two drawings of the plot
DRAW_S = 0.5  # between two of the rest: an event is no reason
MAX_CARDS = 60
MAX_LINES = 8  # in the plot
SPARK = 100  # round trips in a card's line
LOG_S = 0.5  # between two drawings of a log that is read


class HealthPage:
    """One browser's view of it."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client
        self._names: list[str] = []  # of the targets that are shown
        self._log: ui.dialog | None = None  # one at a time
        self._plotted_s = self._drawn_s = 0.0
        self._was_online = False
        with widgets.box("div", "page") as page:
            with widgets.box("div", "heading"), widgets.box("div"):
                widgets.text("h1", "Health")
                self._subtitle = widgets.text("p", "", "subtitle")
            with widgets.box("div", "health-top"):
                self._hub = HubCard(feed)
                with widgets.box("section", "panel"):
                    widgets.text("h2", "Round trips, the last five minutes")
                    self._plot_hint = widgets.text("p", "", "hint")
                    self._plot = Plot(charts.round_trips({})).classes("plot").props("role=img")
            self._cards = Cards("health", self._act)
        widgets.keep_drawn(feed, page, self._draw)

    def _draw(self) -> None:
        model = self._feed.model
        now_s = steady.now_s()
        if now_s - self._drawn_s < DRAW_S and model.online == self._was_online:
            return
        self._drawn_s, self._was_online = now_s, model.online
        overview = model.overview()
        in_need = [name for name in overview.names if needs_attention(model.targets[name])]
        first = set(in_need)
        found = sorted(overview.ranked, key=lambda name: name not in first)
        self._names = names = model.pick(found[:MAX_CARDS], self._names, MAX_CARDS)
        self._cards.show([face_of(model.targets[name], model.online, now_s) for name in names])
        self._hub.draw(now_s)
        widgets.set_text(self._subtitle, self._words(len(overview.names), in_need))
        if now_s - self._plotted_s >= CHART_S:
            self._plotted_s = now_s
            self._draw_plot(names)

    def _words(self, count: int, in_need: list[str]) -> str:
        if not self._feed.model.online:
            return f"{widgets.HUB_LOST}: what is shown is what it said last"
        words = "All is well" if count else "No target has registered yet"
        if in_need:
            more = [f"{len(in_need) - 4:,} more"] if len(in_need) > 4 else []
            words = f"Look at {widgets.joined([*in_need[:4], *more])}"
        cut = widgets.shown_of(min(MAX_CARDS, count), count, "target")
        return f"{words}; {cut} shown" if cut else words

    def _draw_plot(self, names: list[str]) -> None:
        model = self._feed.model
        lines = {
            name: [(steady.unix_s(at_s), trip / 1000) for at_s, trip in model.targets[name].round_trips_us]
            for name in names[:MAX_LINES]
        }
        cut = widgets.shown_of(len(lines), len(model.targets), "target")
        widgets.set_text(self._plot_hint, cut)
        self._plot_hint.set_visibility(bool(cut))
        lines["hub"] = [(steady.unix_s(at_s), trip / 1000) for at_s, trip in model.hub_round_trips_us]
        self._plot.options.clear()
        self._plot.options.update(charts.round_trips(lines))
        widgets.attributes(self._plot, aria_label=charts.describe(lines, "Round trips in milliseconds"))
        self._plot.update()

    async def _act(self, event: Any) -> None:
        name = event.args.get("name") if isinstance(event.args, dict) else None
        is_log_open = self._log is not None and self._log.value  # false before it is off the page
        if isinstance(name, str) and name in self._feed.model.targets and not is_log_open:
            await self.show_log(name)

    async def show_log(self, target_id: str) -> None:
        """Show the log that the board keeps, page by page as it comes."""
        with self._client.layout, ui.dialog() as dialog, widgets.box("section", "sheet log"):
            widgets.attributes(dialog, aria_label=f"Log of {target_id}")
            widgets.text("h2", f"Log of {target_id}")
            said = widgets.text("pre", "").props("tabindex=0")
            state = widgets.text("p", "Reading …", "hint").props("role=status")
            widgets.Button("Close", dialog.close, kind="wide")
        dialog.on("hide", dialog.delete)
        self._log = dialog
        dialog.open()
        try:
            if self._feed.hub.is_lost:
                widgets.set_text(state, f"{widgets.HUB_LOST}.")
                return
            text, shown_s = "", 0.0
            async for page in self._feed.hub.log(target_id):
                if dialog.is_deleted:
                    return
                text += page
                if steady.now_s() - shown_s >= LOG_S:
                    shown_s = steady.now_s()
                    widgets.set_text(said, text)
            widgets.set_text(said, text)
            lines = text.count("\n")
            words = f"{widgets.plural(lines, 'line')}, the newest last" if lines else "It is empty."
            widgets.set_text(state, words)
        except ProtocolError as error:
            if not dialog.is_deleted:
                widgets.set_text(state, f"It cannot be read: {error.message or error.code}")


def needs_attention(target: Target) -> bool:
    """Tell whether a person had better see to it."""
    info = target.info
    is_broken = target.state == "fault" or bool(info.dropped or info.last_error or info.rests_at)
    return is_broken or not info.connected


class HubCard:
    """The card of the hub: what it says of itself."""

    def __init__(self, feed: HubFeed) -> None:
        self._feed = feed
        with widgets.box("section", "panel hub") as self.element:
            widgets.text("h2", "Hub")
            self._address = widgets.text("p", "", "subtitle")
            self._spark = widgets.svg("")
            self._facts = Facts(("Round trip", "Jitter", "Up for", "Journal", "Lost", "History"))

    def draw(self, now_s: float) -> None:
        model = self._feed.model
        status = model.status
        trips = [trip for _, trip in model.hub_round_trips_us]
        widgets.set_text(self._address, model.hub)
        self._spark.set_content(drawings.sparkline(trips, "Round trips to the hub"))
        journals = {"ok": "written", "failing": "FAILING: see the hub's log", "": "keeps none"}
        lost_s = sum((end or now_s) - begin for begin, end in model.hub_outages)
        lost = f"{len(model.hub_outages)} ×, {widgets.duration(lost_s)}" if model.hub_outages else "never"
        self._facts.draw(
            {
                "Round trip": widgets.milliseconds(trips[-1] if trips else None),
                "Jitter": widgets.milliseconds(jitter_us(trips)),
                "Up for": widgets.duration(status.uptime_ms / 1000) if status else "–",
                "Journal": journals.get(status.journal, status.journal) if status else "–",
                "Lost": lost,
                "History": model.archive_failure or model.history or "–",
            },
            bad={
                "Journal": bool(status and status.journal == "failing"),
                "Lost": not model.online,
                "History": bool(model.archive_failure),
            },
        )


def face_of(target: Target, online: bool, now_s: float) -> Face:
    """Return what the card of a target shows: all that is known of it."""
    info = target.info
    live = online and info.connected
    trips = [
        trip for _, trip in islice(target.round_trips_us, max(0, len(target.round_trips_us) - SPARK), None)
    ]
    away = "never"
    if target.outages:
        away = f"{len(target.outages)} ×, {widgets.duration(target.away_s(now_s))}"
    is_namesake = info.last_error == "duplicate"
    return {
        "name": info.target_id,
        "state": target.state,
        "live": live,
        "words": widgets.shown_state(target, online),
        "spark": drawings.points(trips),
        "obstacle": "" if live else widgets.NOT_HERE if online else widgets.HUB_LOST,
        "doing": [],
        "facts": [
            ["Round trip", widgets.milliseconds(info.round_trip_us), False],
            ["Jitter", widgets.milliseconds(jitter_us(trips)), False],
            [
                "Clock",
                "–" if info.uncertainty_us is None else f"± {widgets.milliseconds(info.uncertainty_us)}",
                False,
            ],
            ["Up for", "–" if info.uptime_ms is None else widgets.duration(info.uptime_ms / 1000), False],
            [
                "Heap free",
                "–" if info.heap_free_bytes is None else f"{info.heap_free_bytes / 1000:.0f} kB",
                False,
            ],
            ["Dropped", "–" if info.dropped is None else str(info.dropped), bool(info.dropped)],
            ["Away", away, not info.connected],
            ["Name", "another board's too: rename one" if is_namesake else "its own", is_namesake],
            [
                "Piezo",
                f"rests at {info.rests_at:,}: calibrate it" if info.rests_at else "at rest",
                bool(info.rests_at),
            ],
            ["Firmware", info.firmware or "–", False],
        ],
    }


class Facts:
    """Names and values, some of which are bad news; that is said by a mark, not by colour alone."""

    def __init__(self, names: Sequence[str]) -> None:
        with widgets.box("dl", "facts"):
            self._values = {}
            for name in names:
                with widgets.box("div"):
                    widgets.text("dt", name)
                    self._values[name] = widgets.attributes(widgets.text("dd"), data_fact=name)

    def draw(self, values: dict[str, str], bad: dict[str, bool]) -> None:
        for name, value in values.items():
            is_bad = bad.get(name, False)
            widgets.set_text(self._values[name], f"⚠ {value}" if is_bad else value)
            widgets.set_prop(self._values[name], "data-bad", str(is_bad).lower())


def jitter_us(trips: Sequence[int]) -> int | None:
    """Compute how much one round trip differs from the next: the mean of the differences."""
    if len(trips) < 2:
        return None
    return round(statistics.fmean(abs(a - b) for a, b in pairwise(trips)))
