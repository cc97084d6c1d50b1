"""What people see in a terminal."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from snyper import scoreboard
from snyper.client import Event, GameState, Hub, HubStatus, TargetInfo, TargetResult
from snyper.output import one_line
from snyper.words import AWAY, result_word, state_word

_REFRESH_SECONDS = 0.5
_EVENTS_SHOWN = 12
_MIN_EVENTS_SHOWN = 3  # in a terminal that is low
_FRAME_ROWS = 3  # around the events, and the line below them
_STATE_STYLES = {
    "standing": "green",
    "armed": "bold red",
    "rising": "yellow",
    "arming": "yellow",
    "falling": "yellow",
    "fault": "bold white on red",
}
_EVENT_STYLES = {
    "hit": "bold green",
    "miss": "yellow",
    "lost": "bold red",
    "duplicate": "bold red",
    "registered": "cyan",
    "journal": "bold red",
    "game_over": "bold",
}


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts target_2 before target_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def targets_table(targets: Iterable[TargetInfo]) -> Table:
    """The targets and what the hub knows of them."""
    table = Table("target", "state", "round trip", "groups", "firmware")
    for target in sorted(targets, key=lambda target: natural(target.target_id)):
        table.add_row(
            Text(target.target_id),
            _state(target),
            _milliseconds(target.round_trip_us) if target.connected else "",
            Text(" ".join(target.groups)),
            Text(target.firmware),
        )
    return table


def results_table(results: Iterable[TargetResult]) -> Table:
    """What each target made of a command."""
    table = Table("target", "result", "after")
    results = list(results)
    scheduled = any("error_us" in result.data for result in results)
    if scheduled:
        table.add_column("began", justify="right")
    refused = any(result.message for result in results)
    if refused:
        table.add_column("why")
    for result in results:
        style = "green" if result.ok else "bold red"
        status = result_word(result.status) if result.ok else f"{result.status}: {result.code}"
        row = [Text(result.target_id), Text(status, style), Text(_milliseconds(result.round_trip_us))]
        if scheduled:
            row.append(Text(_begin(result.data)))
        if refused:
            row.append(Text(result.message))
        table.add_row(*row)
    return table


def _begin(data: dict[str, object]) -> str:
    """How far from its instant a target began, and how sure it is of that."""
    error_us, uncertainty_us = data.get("error_us"), data.get("uncertainty_us")
    if not isinstance(error_us, int) or not isinstance(uncertainty_us, int):
        return ""
    return f"{error_us / 1000:+.1f} ms ±{uncertainty_us / 1000:.1f}"


def event_line(event: Event) -> Text:
    """One event on one line, whatever its words are."""
    return Text.assemble(
        time.strftime("%H:%M:%S "),
        (f"{event.target_id:<12} ", "bold"),
        (f"{event.event:<15} ", _EVENT_STYLES.get(event.event, "")),
        one_line(_details(event)),
    )


def _details(event: Event) -> str:
    data = event.data
    if event.event == "hit":
        return f"after {data.get('reaction_ms')} ms, peak {data.get('peak')}"
    if event.event == "game_started":
        return f"{data.get('game')} with {', '.join(map(str, _list(data.get('players'))))}"
    if event.event == "game_score":
        points = data.get("points")
        gained = f"{points:+d}" if isinstance(points, int) else points
        return f"{data.get('player')} {gained}, has {data.get('total')}"
    if event.event == "game_progress":
        return f"{data.get('done')} of {data.get('total')} {data.get('unit')}"
    if event.event == "groups":
        return " ".join(map(str, _list(data.get("groups"))))
    if event.event == "state":
        return state_word(str(data.get("state", "")))
    for name in ("message", "text", "reason", "player"):
        if data.get(name):
            return str(data[name])
    return ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


@contextmanager
def progress(console: Console, title: str) -> Iterator[Callable[[TargetResult], None]]:
    """A counter of results, shown while there are many of them and somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda result: bar.advance(task)


async def watch_live(hub: Hub, console: Console, address: str) -> None:
    """The range and its game, as things happen. Raises ProtocolError when the hub is lost."""
    screen = _RangeScreen(address, console)
    screen.game = await hub.game()
    with Live(screen.render(), console=console, refresh_per_second=10) as live:
        events = asyncio.create_task(_follow_events(hub, screen, live))
        try:
            while not events.done():
                screen.note_status(await hub.status())
                screen.targets = await hub.targets()
                live.update(screen.render(), refresh=True)  # not only in its thread: see streams.py
                await asyncio.wait((events,), timeout=_REFRESH_SECONDS)
            await events
        finally:
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)


class _RangeScreen:
    """What `watch` has seen."""

    def __init__(self, address: str, console: Console) -> None:
        self.targets: list[TargetInfo] = []
        self.game = GameState("none")
        self._address = address
        self._console = console
        self._status: HubStatus | None = None
        self._status_ns = 0
        self._hits: dict[str, _LastHit] = {}
        self._note = ""
        self._lines: deque[Text] = deque(maxlen=_EVENTS_SHOWN)

    def note_status(self, status: HubStatus) -> None:
        self._status = status
        self._status_ns = time.monotonic_ns()

    def note(self, event: Event) -> None:
        if event.event == "hit":
            self._hits[event.target_id] = _LastHit(event.data.get("reaction_ms"), time.monotonic())
        self.game = scoreboard.after(self.game, event)
        if event.event == "game_started":
            self._note = ""
        elif event.event == "game_note":
            self._note = str(event.data.get("text", ""))
        line = event_line(event)
        line.no_wrap, line.overflow = True, "ellipsis"
        self._lines.append(line)

    def render(self) -> RenderableType:
        parts: list[RenderableType] = [self._title(), self._table()]
        if self.game.status != "none":
            parts.append(scoreboard.scoreboard(self.game, self._hub_us(), self._note))
        above = len(self._console.render_lines(Group(*parts)))
        room = max(_MIN_EVENTS_SHOWN, self._console.height - above - _FRAME_ROWS)
        lines = Group(*list(self._lines)[-room:]) if self._lines else Text("nothing has happened yet", "dim")
        return Group(*parts, Panel(lines, title="events"), Text("Ctrl-C ends", "dim"))

    def _title(self) -> Text:
        here = sum(target.connected for target in self.targets)
        title = Text.assemble(
            ("range ", "dim"), (self._address, "bold"), f"   {here} of {len(self.targets)} targets"
        )
        if self._status is not None:
            title.append(f"   hub up {_duration(self._status.uptime_ms)}")
            if self._status.journal == "failing":
                title.append("   its journal fails: see its log", "bold red")
        return title

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("target", "state"):
            table.add_column(name, no_wrap=True)
        drops = any(target.dropped for target in self.targets)
        for name in ("round\ntrip", "last hit", "uptime", "clock", *(["drops"] if drops else [])):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("groups", overflow="ellipsis", min_width=len("groups"))
        for target in sorted(self.targets, key=lambda target: natural(target.target_id)):
            clock = "" if target.uncertainty_us is None else f"±{_milliseconds(target.uncertainty_us)}"
            live = target.connected
            table.add_row(
                Text(target.target_id),
                _state(target),
                _milliseconds(target.round_trip_us) if live else "",
                str(self._hits.get(target.target_id, "")),
                _duration(target.uptime_ms) if live and target.uptime_ms is not None else "",
                clock if live else "",
                *([Text(str(target.dropped or ""), "bold red")] if drops else []),
                Text(" ".join(target.groups)),
            )
        return table

    def _hub_us(self) -> int | None:
        """The hub's clock now, from its last word."""
        if self._status is None:
            return None
        return self._status.hub_us + (time.monotonic_ns() - self._status_ns) // 1000


class _LastHit(NamedTuple):
    reaction_ms: object
    at_s: float

    def __str__(self) -> str:
        return f"{self.reaction_ms} ms, {_duration(round((time.monotonic() - self.at_s) * 1000))} ago"


async def _follow_events(hub: Hub, screen: _RangeScreen, live: Live) -> None:
    async for event in hub.events():
        screen.note(event)
        live.update(screen.render())


def _state(target: TargetInfo) -> Text:
    if target.connected:
        state = Text(state_word(target.state), _STATE_STYLES.get(target.state, ""))
        return state.append(", twice", "bold red") if target.trouble == "duplicate" else state
    return Text(f"{AWAY} for {_duration(target.seen_ms_ago)}", "bold red")


def _duration(milliseconds: int) -> str:
    """In the one or two units that matter: 7 s, 3 min, 5 h 12 min."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _milliseconds(microseconds: int | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1000:.1f} ms"
