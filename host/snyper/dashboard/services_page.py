"""Services: who is there, and what becomes of the calls and the work that others give them."""

import math
from dataclasses import dataclass

from nicegui import Client, ui

from snyper.dashboard import drawings, widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.history_page import table
from snyper.dashboard.service_readings import FunctionFigures, ServiceReading
from snyper.dashboard.widgets import plural

LOOK_S = 0.5  # between two looks at what has been read
MOST_ROWS = 12  # of functions


@dataclass(frozen=True)
class Face:
    """A service as it is shown, in words."""

    name: str
    is_here: bool
    state: str
    serves: str
    problem: str
    facts: tuple[tuple[str, str, bool], ...]
    functions: tuple[tuple[str, ...], ...]
    cut: str
    latest: tuple[tuple[str, ...], ...]


class ServicesPage:
    """One browser's view of it."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client
        self._faces: list[Face] | None = None
        self._panels: dict[str, tuple[Face, ui.element]] = {}
        with widgets.box("div", "page"):
            with widgets.box("div", "heading"), widgets.box("div"):
                widgets.text("h1", "Services")
                self._subtitle = widgets.text("p", "Reading …", "subtitle").props("role=status")
            self._body = widgets.box("div", "services")
        ui.timer(LOOK_S, self._look)
        self._look()

    def _look(self) -> None:
        if not self._client.has_socket_connection and self._faces is not None:
            return  # nobody looks
        readings = self._feed.services
        readings.refresh()
        online = self._feed.model.online
        widgets.set_text(self._subtitle, self._words(online))
        faces = [face_of(one, online) for one in readings.shown]
        if faces == self._faces or not (readings.is_listed or readings.problem):
            return
        if not faces or [face.name for face in faces] != [face.name for face in self._faces or ()]:
            self._body.clear()
            self._panels = {}
        self._faces = faces
        with self._body:
            if not faces:
                draw_nothing(self._feed.model.hub, readings.problem)
            for face in faces:
                self._draw(face)

    def _draw(self, face: Face) -> None:
        known = self._panels.get(face.name)
        if known is not None and known[0] == face:
            return
        panel = known[1] if known is not None else widgets.box("section", "panel service")
        panel.clear()
        widgets.attributes(panel, aria_label=face.name)
        widgets.set_prop(panel, "data-live", str(face.is_here).lower())
        with panel:
            draw_face(face)
        self._panels[face.name] = (face, panel)

    def _words(self, online: bool) -> str:
        readings = self._feed.services
        if not online:
            return f"{widgets.HUB_LOST}: what is shown is what was said last"
        if readings.problem:
            return f"The services cannot be listed: {readings.problem}"
        if not readings.is_listed:
            return "Reading …"
        count = len(readings.found)
        if not count:
            return "No service has registered yet"
        here = sum(one.info.connected for one in readings.found.values())
        failures = sum(one.failures for one in readings.shown)
        words = [f"{here:,} of {plural(count, 'service')} here"]
        words.append(plural(sum(one.calls for one in readings.shown), "call"))
        words.append(f"{plural(failures, 'failure')}" if failures else "no failure")
        cut = widgets.shown_of(len(readings.shown), count, "service")
        return ", ".join([*words, *([f"{cut} shown"] if cut else [])])


def draw_nothing(hub: str, problem: str) -> None:
    """Say what to do where there is no service."""
    with widgets.box("section", "empty"):
        widgets.svg(drawings.icon("services"), "sign-of-page")
        widgets.text("h2", "No service here yet")
        if not problem:
            widgets.text("p", "Functions and instruments of yours, for other computers:")
            widgets.text("code", f'Server(pm, name="lab1", hub="{hub}").run()')
            widgets.text("p", "Heavy work of small devices, in processes of its own:")
            widgets.text("code", f"snyper serve services.py --hub {hub} --name laptop")


def draw_face(face: Face) -> None:
    """Draw what is known of a service."""
    with widgets.box("header"):
        widgets.text("h2", face.name)
        with widgets.attributes(widgets.box("span", "state"), data_here=str(face.is_here).lower()):
            if not face.is_here:
                widgets.svg(drawings.icon("lost"))
            widgets.text("span", face.state)
    if face.serves:
        widgets.text("p", face.serves, "subtitle")
    if face.problem:
        widgets.text("p", f"⚠ {face.problem}", "problem")
    if face.facts:
        with widgets.box("dl", "facts"):
            for name, value, is_bad in face.facts:
                with widgets.box("div"):
                    widgets.text("dt", name)
                    said = widgets.text("dd", f"⚠ {value}" if is_bad else value)
                    widgets.attributes(said, data_fact=name, data_bad=str(is_bad).lower())
    if face.functions:
        table(("Function", "Calls", "Failed", "Running", "Median"), face.functions, "")
    if face.cut:
        widgets.text("p", face.cut, "hint")
    if face.latest:
        widgets.text("h3", "Latest calls")
        with widgets.box("ol", "latest"):
            for name, when, who, outcome in face.latest:
                with widgets.box("li"):
                    widgets.text("span", name, "name")
                    widgets.text("span", when, "when")
                    widgets.text("span", f"{who}: {outcome}", "outcome")


def face_of(service: ServiceReading, online: bool) -> Face:
    """Return what is shown of a service."""
    info = service.info
    is_here = online and info.connected
    state = "here" if is_here else "not known" if not online else f"away {_ago(info.seen_ms_ago)}"
    functions = sorted(service.functions.items(), key=lambda pair: -pair[1].calls)
    return Face(
        name=info.target_id,
        is_here=is_here,
        state=state,
        serves=info.firmware,
        problem=service.problem if is_here else "",
        facts=facts_of(service, is_here) if service.is_read else (),
        functions=tuple(_row(name, one) for name, one in functions[:MOST_ROWS]),
        cut=widgets.shown_of(min(MOST_ROWS, len(functions)), len(functions), "function")
        if service.serves_calls
        else "It serves no calls",
        latest=tuple(
            (
                call.name,
                f"{took(call.seconds)} at {widgets.clock_time(call.at_s)}",
                call.who,
                f"⚠ {call.outcome}" if call.is_failure else call.outcome,
            )
            for call in reversed(service.latest)
        ),
    )


def facts_of(service: ServiceReading, is_here: bool) -> tuple[tuple[str, str, bool], ...]:
    """Return the figures of a service: their names, values, and whether one is bad news."""
    facts = [
        ("Calls", f"{service.calls:,}", False),
        ("Failed", f"{service.failures:,}", service.failures > 0),
        ("Running", f"{service.running:,}" if is_here else "–", False),
        ("Waiting", f"{service.waiting:,}" if is_here else "–", False),
    ]
    workers = service.workers
    if workers is not None and is_here:
        facts.append(("Workers", f"{workers.busy:,} of {workers.count:,} busy", False))
        if workers.ready < workers.count:
            facts.append(("Ready", f"{workers.ready:,} of {workers.count:,}", True))
    if is_here and service.info.round_trip_us is not None:
        facts.append(("Round trip", widgets.milliseconds(service.info.round_trip_us), False))
    return tuple(facts)


def took(seconds: float | None) -> str:
    """Format how long a call took, with as many digits as say something."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 0.0001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return widgets.milliseconds(round(seconds * 1e6))
    return f"{seconds:.1f} s" if seconds < 60 else widgets.duration(seconds)


def _row(name: str, one: FunctionFigures) -> tuple[str, ...]:
    failed = f"⚠ {one.failures:,}" if one.failures else "0"
    return (name, f"{one.calls:,}", failed, f"{one.running:,}", took(one.median_s))


def _ago(milliseconds: int) -> str:
    return widgets.duration(milliseconds / 1000)
