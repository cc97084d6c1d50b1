"""The range live in a terminal: a table of targets, and what happened last."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from snyper.cli import scoreboard
from snyper.cli.screens import (
    SMALL_COLUMNS,
    SMALL_ROWS,
    event_line,
    fitted,
    milliseconds,
    piezo_warnings,
    safety_bar,
    state_text,
)
from snyper.client import (
    CeaseFire,
    Event,
    GameState,
    HubStatus,
    ReconnectingClient,
    TargetInfo,
    events,
)
from snyper.client.labels import duration, natural, plural
from snyper.client.range_model import RangeModel, TargetModel
from snyper.shared.socket_protocol import ProtocolError
from snyper.system.text import one_line

_REFRESH_SECONDS = 0.5
_SAFETY_POLLS = 10  # after which it asks for a cease fire too, should its event have been missed
_EVENTS_SHOWN = 12
_MIN_EVENTS_SHOWN = 3  # if there is space for them below the targets
_FRAME_ROWS = 3  # around the events, and the line below them
_TITLE_GAP = Text("   ")
_GROUPS_COLUMNS = 24
_LESSER = ("clock", "uptime", "groups", "round\ntrip", "last hit", "drops")  # the first goes first
_NEEDS_HEADER = ("round\ntrip", "uptime", "clock", "drops")


async def watch_live(hub: ReconnectingClient, console: Console, address: str) -> None:
    """Show the range and its game as things happen, and that there is no hub while it is lost. Raises
    ProtocolError for a hub that refuses to say.
    """
    screen = RangeScreen(address, console)
    await screen.learn_game(hub)
    with Live(screen.render(), console=console, refresh_per_second=10) as live:
        following = asyncio.create_task(_follow_events(hub, screen, live))
        try:
            while not following.done():
                await screen.refresh(hub)
                live.update(screen.render(), refresh=True)  # not only in its thread: see streams.py
                await asyncio.wait((following,), timeout=_REFRESH_SECONDS)
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


class RangeScreen:
    """The picture that `watch` draws, and the events that it has seen."""

    def __init__(self, address: str, console: Console) -> None:
        self._model = RangeModel()
        self._address = address
        self._console = console
        self._status: HubStatus | None = None
        self._status_ns = 0
        self._boot_id = ""
        self._polls = 0
        self._lost = ""  # why there is no hub
        self._events: deque[_Seen] = deque(maxlen=_EVENTS_SHOWN)

    @property
    def targets(self) -> list[TargetInfo]:
        return [target.info for target in self._model.targets.values()]

    @targets.setter
    def targets(self, found: Iterable[TargetInfo]) -> None:
        known = self._model.targets
        self._model.targets = {
            info.target_id: replace(known.get(info.target_id) or TargetModel(info), info=info)
            for info in found
        }

    @property
    def game(self) -> GameState:
        return self._model.game

    @game.setter
    def game(self, state: GameState) -> None:
        self._model.game = state

    async def learn_game(self, hub: ReconnectingClient) -> None:
        """Ask the hub, which has started since, for its game and a cease fire. Raises ProtocolError when it
        is lost or refuses.
        """
        boot_id = hub.boot_id
        self.game = await hub.game()
        self.record_safety(await hub.cease_fire_state())
        self._boot_id = boot_id

    async def refresh(self, hub: ReconnectingClient) -> None:
        """Ask the hub how things stand. Raises ProtocolError when it refuses, but not when it is lost."""
        try:
            if self._boot_id != hub.boot_id:
                await self.learn_game(hub)
            self._polls += 1
            if self._polls % _SAFETY_POLLS == 0:
                self.record_safety(await hub.cease_fire_state())
            self.record_status(await hub.status())
            self.targets = await hub.targets()
            self._lost = ""
        except ProtocolError as error:
            if not hub.is_lost:
                raise
            self._lost = one_line(error.message)

    def record_safety(self, state: CeaseFire | None) -> None:
        self._model.cease_fire, self._model.cease_fire_s = state, time.monotonic()

    def record_status(self, status: HubStatus) -> None:
        self._status = status
        self._status_ns = time.monotonic_ns()

    def record(self, event: Event) -> None:
        events.fold(self._model, event, time.monotonic())
        self._events.append(_Seen(event, time.strftime("%H:%M:%S")))

    def render(self) -> RenderableType:
        """Draw no higher than the terminal, which would show the upper part of it."""
        columns, rows = self._console.size
        is_small = columns < SMALL_COLUMNS or rows < SMALL_ROWS
        head: list[RenderableType] = [self._title(is_small), *piezo_warnings(self.targets)]
        if self._model.cease_fire is not None:
            ago_s = time.monotonic() - self._model.cease_fire_s
            head.insert(0, safety_bar(self._model.cease_fire, ago_s, columns))
        game: list[RenderableType] = []
        if self.game.status != "none":
            draw = scoreboard.summary if is_small else scoreboard.scoreboard
            game = [draw(self.game, self._hub_us(), self._model.note)]
        frame = 0 if is_small else _FRAME_ROWS
        rows_left = rows - self._height(*head, *game) - frame
        targets = self._targets(max(1, rows_left - _MIN_EVENTS_SHOWN), is_small)
        rows_left = max(1, rows_left - self._height(targets))
        lines = [self._line(event, is_small) for event in list(self._events)[-rows_left:]]
        seen = Group(*lines) if lines else Text("nothing has happened yet", "dim")
        if is_small:
            return Group(*head, targets, *game, seen)
        return Group(*head, targets, *game, Panel(seen, title="events"), Text("Ctrl-C ends", "dim"))

    def _height(self, *parts: RenderableType) -> int:
        return len(self._console.render_lines(Group(*parts))) if parts else 0

    def _line(self, event: "_Seen", is_small: bool) -> Text:
        line = event_line(event.event, event.at, is_small)
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _title(self, is_small: bool) -> Text:
        """Format how the range is; on a small terminal in as many words as fit a line."""
        here = sum(target.connected for target in self.targets)
        words = [
            Text.assemble(("range ", "dim"), (self._address, "bold")),
            Text(f"{here} of {plural(len(self.targets), 'target')}"),
        ]
        failing = False
        if self._status is not None:
            words.append(Text(f"hub up {duration(self._status.uptime_ms / 1000)}"))
            failing = self._status.journal == "failing"
        title = _TITLE_GAP.join(words)
        for fewer in (words[:2], words[1:2]):
            if is_small and title.cell_len > self._console.width:
                title = _TITLE_GAP.join(fewer)
        if self._lost:
            return title.append(f"   no hub: {self._lost}", "bold red")
        return title.append("   its journal fails: see its log", "bold red") if failing else title

    def _targets(self, rows: int, is_small: bool) -> RenderableType:
        """Draw the targets in at most `rows` lines, and say how many do not fit."""
        targets = sorted(self.targets, key=lambda target: natural(target.target_id))
        shown = targets[:rows]
        over = self._over(shown, rows, is_small)
        while over > 0 and len(shown) > 1:
            shown = shown[: max(1, len(shown) - over)]
            over = self._over(shown, rows, is_small)
        more = [Text(f"and {len(targets) - len(shown)} more", "dim")] if shown != targets else []
        return Group(self._table(shown, is_small), *more)

    def _over(self, shown: list[TargetInfo], rows: int, is_small: bool) -> int:
        """Count the lines by which these, and the one that says how many more there are, are too many."""
        return self._height(self._table(shown, is_small)) + (len(shown) < len(self.targets)) - rows

    def _table(self, targets: list[TargetInfo], is_small: bool) -> Table:
        """Build a table with names and states whole; of the lesser columns those that fit."""
        table = Table(box=None if is_small else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.show_header = self._console.height >= SMALL_ROWS
        table.add_column("target", overflow="fold")
        table.add_column("state", no_wrap=True)
        names = ["round\ntrip", "last hit", "uptime", "clock"]
        if any(target.dropped for target in self.targets):
            names.append("drops")
        if not table.show_header:
            names = [name for name in names if name not in _NEEDS_HEADER]
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("groups", no_wrap=True, overflow="ellipsis", max_width=_GROUPS_COLUMNS)
        is_narrow = self._console.width < SMALL_COLUMNS
        for target in targets:
            cells = [self._cell(name, target) for name in names]
            groups = Text(one_line(" ".join(target.groups)))
            table.add_row(Text(target.target_id), state_text(target, is_narrow), *cells, groups)
        return fitted(table, self._console, _LESSER)

    def _cell(self, name: str, target: TargetInfo) -> RenderableType:
        """Format what a column says of a target: of one that is away, what is still so."""
        if name == "last hit":
            return _last_hit(self._model.targets[target.target_id])
        if name == "drops":
            return Text(str(target.dropped or ""), "bold red")
        if not target.connected:
            return ""
        if name == "uptime":
            return "" if target.uptime_ms is None else duration(target.uptime_ms / 1000)
        if name == "clock":
            return "" if target.uncertainty_us is None else f"±{milliseconds(target.uncertainty_us)}"
        return milliseconds(target.round_trip_us)

    def _hub_us(self) -> int | None:
        """Return the hub's clock now, from its last word."""
        if self._status is None:
            return None
        return self._status.hub_us + (time.monotonic_ns() - self._status_ns) // 1000


class _Seen(NamedTuple):
    event: Event
    at: str  # time of day


def _last_hit(target: TargetModel) -> str:
    if target.last_hit_s is None:
        return ""
    ago = f"{duration(time.monotonic() - target.last_hit_s)} ago"
    return ago if target.last_hit_ms is None else f"{target.last_hit_ms} ms, {ago}"


async def _follow_events(hub: ReconnectingClient, screen: RangeScreen, live: Live) -> None:
    async for event in hub.events():
        screen.record(event)
        live.update(screen.render())
