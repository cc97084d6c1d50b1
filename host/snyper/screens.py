"""What people see in a terminal."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from snyper.client import Event, Hub, TargetInfo, TargetResult

_REFRESH_SECONDS = 0.5
_EVENTS_SHOWN = 12
_STATE_STYLES = {
    "standing": "green",
    "armed": "bold red",
    "rising": "yellow",
    "arming": "yellow",
    "falling": "yellow",
    "fault": "bold white on red",
}
_EVENT_STYLES = {"hit": "bold green", "miss": "yellow", "lost": "bold red", "registered": "cyan"}


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts target_2 before target_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def targets_table(targets: Iterable[TargetInfo], last: dict[str, str] | None = None) -> Table:
    """The targets, with what last happened to each where that is known."""
    table = Table("target", "state", "round trip", "groups", "firmware")
    if last is not None:
        table.add_column("last event")
    for target in sorted(targets, key=lambda target: natural(target.target_id)):
        if target.connected:
            state = Text(target.state or "connected", _STATE_STYLES.get(target.state, ""))
        else:
            state = Text(f"away for {target.seen_ms_ago / 1000:.0f} s", "bold red")
        row: list[RenderableType] = [
            Text(target.target_id),
            state,
            _milliseconds(target.round_trip_us) if target.connected else "",
            Text(" ".join(target.groups)),
            Text(target.firmware),
        ]
        if last is not None:
            row.append(Text(last.get(target.target_id, "")))
        table.add_row(*row)
    return table


def results_table(results: Iterable[TargetResult]) -> Table:
    """What each target made of a command."""
    table = Table("target", "result", "after")
    results = list(results)
    if any(result.message for result in results):
        table.add_column("why")
    for result in results:
        style = "green" if result.ok else "bold red"
        status = result.status if result.ok else f"{result.status}: {result.code}"
        row = [Text(result.target_id), Text(status, style), Text(_milliseconds(result.round_trip_us))]
        table.add_row(*row, Text(result.message))
    return table


def event_line(event: Event) -> Text:
    """One event on one line."""
    return Text.assemble(
        time.strftime("%H:%M:%S "),
        (f"{event.target_id:<12} ", "bold"),
        (f"{event.event:<11}", _EVENT_STYLES.get(event.event, "")),
        _details(event),
    )


def _details(event: Event) -> str:
    data = event.data
    if event.event == "hit":
        return f"after {data.get('reaction_ms')} ms, peak {data.get('peak')}"
    return str(data.get("message") or data.get("reason") or data.get("state") or "")


@contextmanager
def progress(console: Console, title: str) -> Iterator[Callable[[TargetResult], None]]:
    """A counter of results, shown while there are many of them and somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda result: bar.advance(task)


async def watch_live(hub: Hub, console: Console, address: str) -> None:
    """The range as a table that changes as things happen. Raises ProtocolError when the hub is lost."""
    screen = _RangeScreen(address)
    with Live(screen.render(), console=console, refresh_per_second=10) as live:
        events = asyncio.create_task(_follow_events(hub, screen, live))
        try:
            while True:
                screen.targets = await hub.targets()
                live.update(screen.render())
                await asyncio.sleep(_REFRESH_SECONDS)
        finally:
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)


class _RangeScreen:
    """What `watch` has seen."""

    def __init__(self, address: str) -> None:
        self.targets: list[TargetInfo] = []
        self._address = address
        self._last: dict[str, str] = {}
        self._lines: deque[Text] = deque(maxlen=_EVENTS_SHOWN)

    def note(self, event: Event) -> None:
        if event.event != "state":
            self._last[event.target_id] = f"{event.event} {_details(event)}"
        self._lines.append(event_line(event))

    def render(self) -> RenderableType:
        here = sum(target.connected for target in self.targets)
        table = targets_table(self.targets, self._last)
        table.title = f"range at {self._address}: {here} of {len(self.targets)} targets"
        lines = Group(*self._lines) if self._lines else Text("nothing has happened yet", "dim")
        return Group(table, Panel(lines, title="events"), Text("Ctrl-C ends", "dim"))


async def _follow_events(hub: Hub, screen: _RangeScreen, live: Live) -> None:
    async for event in hub.events():
        screen.note(event)
        live.update(screen.render())


def _milliseconds(microseconds: int | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1000:.1f} ms"
