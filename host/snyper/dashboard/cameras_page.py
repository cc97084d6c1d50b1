"""Cameras: the last picture of each, the records of what they detected, and what came of rules."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from nicegui import Client

from snyper.dashboard import camera_faces as faces, charts, widgets
from snyper.dashboard.camera_feed import MOST_TILES
from snyper.dashboard.camera_gateway import GatewayFailed
from snyper.dashboard.camera_search import Search, search_of
from snyper.dashboard.cameras import CamerasElement
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.frames import Frames, Said
from snyper.dashboard.plot import Plot
from snyper.system import steady
from snyper.system.text import harmless

FRAME_S = 0.2
MOST_PLACES = 500  # that a field proposes
_MOST_CHARS = 128
_BUCKETS = {"hour": "Hours", "day": "Days"}
_SPANS_S = {"hour": 25 * 3_600, "day": 31 * 86_400}  # of what the gateway counts, with the part before
_THEN = {"cease_fire": "cease fire"}


class CamerasPage:
    """One browser's view of it."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._cameras = feed.cameras
        self._hub = feed.model.hub
        self._client = client
        self._find = ""
        self._search = Search()
        self._bucket = "hour"
        self._sent: dict[str, Said] = {}  # the tiles that the browser has, in their order
        self._said: Said = {}  # all else that it has
        self._drawn: Said | None = None  # the history in the plot
        with widgets.box("div", "page"):
            with widgets.box("div", "heading"), widgets.box("div"):
                widgets.text("h1", "Cameras")
            self._element = CamerasElement(self._act)
            self._make_plot()
        self._frames = Frames(client, self._element, FRAME_S, self._frame)
        client.on_connect(self._reconnect)
        client.on_delete(self._cameras.listen(self._frames.hurry))

    # --- what the browser says

    def _act(self, event: Any) -> Awaitable[None] | None:
        said = event.args if isinstance(event.args, dict) else {}
        act = said.get("act")
        if act == "drawn":
            self._frames.acknowledge(said.get("number"))
        elif act == "ready":
            self._begin_anew()
        elif act == "find":
            self._find = str(said.get("words"))[:_MOST_CHARS].strip().lower()
        elif act == "search":
            self._search = search_of(said)
        elif act == "page":
            self._search = self._search.at(str(said.get("before") or ""))
        elif act == "protect":
            return self._protect(int(said["cursor"]), said.get("on") is True)
        self._frames.hurry()
        return None

    async def _protect(self, cursor: int, is_protected: bool) -> None:
        try:
            await self._cameras.protect(cursor, is_protected)
        except GatewayFailed as error:
            widgets.notice(self._client, f"Not {'protected' if is_protected else 'let go'}: {error}")

    def _show_history(self, bucket: str) -> None:
        self._bucket = bucket
        self._frames.hurry()

    def _reconnect(self) -> None:
        if self._said:  # else it is not ready yet
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._sent, self._said = {}, {}
        self._frames.begin_anew()

    # --- what it is sent

    async def _frame(self) -> Said:
        self._cameras.record_viewer()
        frame: Said = {}
        tiles = self._tiles()
        changed = [tile for name, tile in tiles.items() if self._sent.get(name) != tile]
        if changed:
            frame["tiles"] = changed
        if list(tiles) != list(self._sent) or not self._said:
            frame["order"] = list(tiles)
        self._sent = tiles
        said = self._state()
        for name, value in said.items():
            if name not in self._said or self._said[name] != value:
                frame[name] = value
        self._said = said
        self._draw_plot()
        if frame:
            frame["now_s"] = steady.now_s()  # by which cameras were seen
        return frame

    def _tiles(self) -> dict[str, Said]:
        found = [one for one in self._cameras.cameras.values() if self._is_found(one)][:MOST_TILES]
        return {one["id"]: {**one, "record": self._cameras.last_record(one["id"])} for one in found}

    def _is_found(self, camera: Said) -> bool:
        words = (camera["name"], camera["place"], camera["state"])
        return not self._find or any(self._find in one.lower() for one in words)

    def _state(self) -> Said:
        cameras = self._cameras
        known = list(cameras.cameras.values())
        found = sum(map(self._is_found, known))
        return {
            "words": self._words(known),
            "problem": harmless(cameras.problem),
            "is_read": cameras.is_read,
            "where": harmless(cameras.gateway.url),
            "hub": harmless(self._hub),
            "count": len(known),
            "cut": widgets.shown_of(min(found, MOST_TILES), found, "camera"),
            "cameras": [one["id"] for one in known[:MOST_PLACES]],
            "places": sorted({one["place"] for one in known if one["place"]})[:MOST_PLACES],
            "is_first": not self._search.before,
            "found": cameras.found(self._search) if known else None,
            "figures": figures_of(cameras.statistics) if known else [],
            "rules": rules_of(cameras.rules),
        }

    def _words(self, known: list[Said]) -> str:
        cameras = self._cameras
        if cameras.problem:
            return "What is shown was said last" if cameras.is_read else "No cameras"
        if not cameras.is_read:
            return "Reading …"
        if not known:
            return "No camera has sent anything yet"
        here = sum(one["state"] == "here" for one in known)
        words = [f"{here:,} of {widgets.plural(len(known), 'camera')} here"]
        warned = sum(bool(one["warnings"]) for one in known)
        return ", ".join([*words, *([f"{warned:,} with a warning"] if warned else [])])

    # --- the plot below

    def _make_plot(self) -> None:
        with widgets.box("section", "panel detections").props(
            'aria-label="Detections over time"'
        ) as self._panel:
            with widgets.box("header"):
                widgets.text("h2", "Detections")
                with widgets.box("div", "zones").props('role=group aria-label="What a bar is"'):
                    self._choices = {
                        bucket: widgets.Button(words, partial(self._show_history, bucket), kind="zone")
                        for bucket, words in _BUCKETS.items()
                    }
            self._plot_hint = widgets.text("p", "", "hint")
            self._plot = Plot(charts.detections({}, 0, 0)).classes("plot").props("role=img")

    def _draw_plot(self) -> None:
        """Draw the history, where it is another."""
        history = self._cameras.history(self._bucket) if self._cameras.cameras else None
        self._panel.set_visibility(bool(self._cameras.cameras))
        for bucket, button in self._choices.items():
            widgets.set_prop(button, "aria-pressed", str(bucket == self._bucket).lower())
        if history is None or history == self._drawn:
            return
        self._drawn = history
        problem = history.get("problem")
        widgets.set_text(self._plot_hint, f"They cannot be counted: {problem}" if problem else "")
        self._plot_hint.set_visibility(bool(problem))
        self._plot.set_visibility(not problem)
        counts = history.get("counts", {})
        now_s = self._cameras.now_s()
        self._plot.options.clear()
        self._plot.options.update(charts.detections(counts, now_s - _SPANS_S[self._bucket], now_s))
        self._plot.update()
        totals = {name: sum(number for _, number in points) for name, points in counts.items()}
        words = ", ".join(f"{name}: {number:,}" for name, number in totals.items())
        widgets.set_prop(self._plot, "aria-label", f"Detections of each camera: {words or 'none'}")


def figures_of(statistics: Said) -> list[tuple[str, str, str]]:
    """Return the counters of all that came: each with its name, its value and more words."""
    count = {name: f"{faces.count(value):,}" for name, value in statistics.items()}
    return [
        (
            "Detections today",
            count.get("today_detections", "–"),
            f"{count.get('total_detections', '–')} in all",
        ),
        (
            "Health checks today",
            count.get("today_health_checks", "–"),
            f"{count.get('total_health_checks', '–')} in all",
        ),
        ("Cameras here", count.get("active_cameras", "–"), f"of {count.get('unique_cameras', '–')}"),
        ("Socket.IO clients", count.get("connected_clients", "–"), "this page too"),
    ]


def rules_of(said: Said) -> Said:
    """Return the rules that there are and what they did last, in words."""
    return {
        "rules": [(faces.text(one.get("name")), faces.rule_words(one), _then(one)) for one in said["rules"]],
        "fired": [
            {
                "at_s": faces.seconds(one.get("at")),
                "rule": faces.text(one.get("rule")),
                "camera": faces.text(one.get("camera_id")),
                "what": (faces.text(one.get("result")) or _then(one)) + faces.times_words(one),
            }
            for one in said["fired"]
        ],
    }


def _then(said: Said) -> str:
    word = faces.text(said.get("then"))
    return _THEN.get(word, word)
