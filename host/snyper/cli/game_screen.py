"""A game on the screen while it is played."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from snyper.cli.commands import warn_of_losses
from snyper.cli.output import can_redraw, drawn_columns, err, out
from snyper.cli.scoreboard import scoreboard, summary
from snyper.cli.screens import event_line, safety_bar, tell_safety
from snyper.client import Event, GameState, HubClient, connect
from snyper.client.events import fold, kind_of
from snyper.client.range_model import RangeModel
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ProtocolError
from snyper.system.streams import noticing_its_end, print_json

_TICK_S = 0.2  # of the countdown


async def follow_one(
    hub: str, as_json: bool, begin: Callable[[HubClient], Coroutine[Any, Any, GameState]]
) -> GameState:
    """Show the game that `begin` starts until it is over, and return how it stands then.

    Raises ProtocolError when the hub is lost or refuses.
    """
    async with noticing_its_end(), connect(hub) as console, _subscribed(console) as events:
        state = await begin(console)
        async with _Screen(console, state, as_json) as screen:
            async for event in events:
                screen.follow_safety(event)
                if kind_of(event).is_of_a_game and event.data.get("game_id") == state.game_id:
                    screen.show(event)
                    if event.event == "game_over":
                        return screen.state
    raise AssertionError("a hub that is lost raises")


async def follow_all(hub: str, as_json: bool) -> None:
    """Show the game that is played, and every one after it, through losses of the hub. Does not return.

    Raises ProtocolError when there is no hub at first, or when it refuses.
    """
    async with (
        noticing_its_end(),
        connect(hub, reconnect=True) as console,
        _subscribed(console) as events,
        _Screen(console, await console.game(), as_json) as screen,
    ):
        if not screen.is_drawn:
            warn_of_losses(console, hub)
        asking: set[asyncio.Task[None]] = set()

        def on_state(state: str) -> None:
            if state == SessionState.CONNECTED:  # perhaps another start of the hub, which plays no game
                asking.add(asyncio.create_task(screen.ask_again()))

        console.on_state(on_state)
        async for event in events:
            screen.follow_safety(event)
            if kind_of(event).is_of_a_game:
                screen.show(event)


@asynccontextmanager
async def _subscribed(console: HubClient) -> AsyncIterator[AsyncIterator[Event]]:
    """Read the events from now on, also those of what is asked before the first is read."""
    arrived: asyncio.Queue[Event | ProtocolError] = asyncio.Queue()

    async def read() -> None:
        try:
            async for event in console.events():
                arrived.put_nowait(event)
        except ProtocolError as error:
            arrived.put_nowait(error)

    async def taken() -> AsyncIterator[Event]:
        while True:
            item = await arrived.get()
            if isinstance(item, ProtocolError):
                raise item
            yield item

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)  # now it has asked; the hub takes what one console asks in that order
    try:
        yield taken()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class _Screen:
    """A game's output: as JSON, as a board in a terminal, or as lines in a file or pipe."""

    def __init__(self, console: HubClient, state: GameState, as_json: bool) -> None:
        self._model = RangeModel(game=state)
        self._console = console
        self._as_json = as_json
        self._ahead_us = 0  # the hub's clock less this computer's
        self._live: Live | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def state(self) -> GameState:
        return self._model.game

    @property
    def is_drawn(self) -> bool:
        """Whether it is a board that is drawn again and again."""
        return self._live is not None

    async def ask_again(self) -> None:
        """Ask the hub, which was lost and is back, for its clock and its game."""
        before = self.state
        with suppress(ProtocolError):
            await self._learn_clock()
            await self._learn_safety()
            self._model.game = await self._console.game()
        was_running = before.status == "running"
        if was_running and not before.game_id.startswith(self._console.boot_id) and self._live is None:
            err.print("the game ended with the hub, which has started anew")

    async def _learn_clock(self) -> None:
        status = await self._console.status()
        self._ahead_us = status.hub_us + status.round_trip_us // 2 - time.monotonic_ns() // 1000

    async def _learn_safety(self) -> None:
        self._model.cease_fire = await self._console.cease_fire_state()
        self._model.cease_fire_s = time.monotonic()

    async def __aenter__(self) -> "_Screen":
        await self._learn_clock()
        await self._learn_safety()
        if not self._as_json and can_redraw(out):
            self._live = Live(self._board(), console=out, refresh_per_second=10)
            self._live.start()
            self._ticking = asyncio.create_task(self._tick())
        else:
            tell_safety(self._model.cease_fire)
            if not self._as_json and self.state.status == "running":
                print_board(self.state)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._live is not None:
            self._live.update(self._board())
            self._live.stop()

    def follow_safety(self, event: Event) -> None:
        """Show that a cease fire was called, or released."""
        if event.event in ("cease_fire", "release"):
            self.show(event)

    def show(self, event: Event) -> None:
        """Show what has happened."""
        fold(self._model, event, time.monotonic())
        if self._as_json:
            print_json(asdict(event))
        elif self._live is not None:
            self._live.update(self._board())
        else:
            out.print(event_line(event), soft_wrap=True)

    def _board(self) -> Any:
        if self._console.is_lost:
            return Text("the hub is lost: this goes on when it is back", "bold red")
        if self.state.status == "none":
            hint = Text("no game is played yet; `snyper game start GAME` starts one", "dim")
            return self._with_safety(hint)
        now_us = time.monotonic_ns() // 1000 + self._ahead_us
        board = self._with_safety(scoreboard(self.state, now_us, self._model.note))
        if len(out.render_lines(board)) > out.height:  # a terminal would show the upper part of it
            return self._with_safety(summary(self.state, now_us, self._model.note))
        return board

    def _with_safety(self, board: RenderableType) -> RenderableType:
        state = self._model.cease_fire
        if state is None:
            return board
        return Group(safety_bar(state, time.monotonic() - self._model.cease_fire_s, out.width), board)

    async def _tick(self) -> None:
        while self._live is not None:
            self._live.update(self._board(), refresh=True)  # not only in its thread: see streams.py
            await asyncio.sleep(_TICK_S)


def print_board(state: GameState) -> None:
    """Print how a game stands."""
    out.print(scoreboard(state), width=drawn_columns())
