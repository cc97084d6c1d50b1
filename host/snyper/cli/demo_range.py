"""The range as `make demo` shows it: commands, hits, a power cut, a game."""

import asyncio
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from snyper.boards.board import BoardProcess
from snyper.cli import scoreboard
from snyper.cli.demo_step import DemoError, say
from snyper.client import HubClient, TargetResult
from snyper.client.events import fold
from snyper.client.labels import result_word
from snyper.client.range_model import RangeModel

TARGETS = 4
PINGS = 50
ROUND_MS = 1_500
GAME_ROUNDS = 6
GAME_SEED = 4
PLAYER = "Somebody with a toy gun"
VICTIM = 2  # target_3
STEP_TIMEOUT_S = 15.0
GAME_TIMEOUT_S = 60.0


class RangeDemo:
    """The steps, and what they counted."""

    def __init__(self, console: Console, hub: HubClient, boards: list[BoardProcess]) -> None:
        self._console = console
        self._say = partial(say, console)
        self._hub = hub
        self._boards = boards
        self._commands = 0
        self._events: Counter[str] = Counter()
        self._states: dict[str, str] = {}
        self._pings_us: list[int] = []
        self._model = RangeModel()
        self._changed = asyncio.Event()

    async def play(self) -> str:
        """Take all steps in order. Raises DemoError for the first that does not do what it should."""
        listener = asyncio.create_task(self._listen())
        try:
            await self._register()
            await self._ping()
            await self._move("stand up", self._hub.stand_up)
            await self._move("lay down", self._hub.lay_down)
            await self._shoot()
            await self._power_cut()
            await self._move("stand up", self._hub.stand_up)
            await self._move("lay down", self._hub.lay_down)
            await self._play_quick()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        return (
            f"targets={TARGETS} commands={self._commands} hits={self._events['hit']}"
            f" misses={self._events['miss']} score={self._model.game.scores[0]}"
            f" ping_p50_ms={statistics.median(self._pings_us) / 1000:.2f}"
        )

    async def _register(self) -> None:
        began = time.monotonic()
        for board in self._boards:
            board.start()
        await self._until(lambda: self._events["registered"] >= TARGETS, "four targets should register")
        say(
            self._console,
            "register",
            f"four MicroPython boards are here after {time.monotonic() - began:.1f} s",
        )

    async def _ping(self) -> None:
        for _ in range(PINGS):
            results = await self._all("ping", self._hub.ping())
            self._pings_us.extend(result.round_trip_us for result in results)
        say(
            self._console,
            "ping",
            f"{PINGS} times all four, median {statistics.median(self._pings_us) / 1000:.2f} ms",
        )

    async def _move(self, name: str, command: Callable[[], Awaitable[list[TargetResult]]]) -> None:
        self._show(name, await self._all(name, command()))

    async def _shoot(self) -> None:
        self._show("activate", await self._all("activate", self._hub.activate(duration_ms=ROUND_MS)))
        await self._until(
            lambda: self._events["hit"] + self._events["miss"] >= TARGETS,
            "each armed target ends in a hit or miss",
        )
        await self._until(
            lambda: list(self._states.values()) == ["down"] * TARGETS,
            "after the round all four should be down",
        )
        say(
            self._console,
            "round over",
            f"{self._events['hit']} hit, {self._events['miss']} missed, and all are down",
        )

    async def _power_cut(self) -> None:
        victim = self._boards[VICTIM]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGSTOP)  # unlike SIGKILL it closes no socket: silence, as without power
        began = time.monotonic()
        self._say("power cut", f"{victim.name} falls silent, then all four are told to stand up")
        results = await self._hub.stand_up()
        self._commands += len(results)
        self._show("stand up", results)
        others = [result for result in results if result.target_id != victim.name]
        if len(others) != TARGETS - 1 or not all(result.ok for result in others):
            raise DemoError("the other three should have stood up")
        late_ms = max(result.round_trip_us for result in others) / 1000
        self._say("", f"the other three did not wait for it: they were up after {late_ms:.0f} ms")
        await self._until(
            lambda: self._events["lost"] >= 1, f"the hub should notice that {victim.name} is gone"
        )
        say(
            self._console,
            "lost",
            f"the hub gave {victim.name} up {time.monotonic() - began:.1f} s after its last word",
        )
        victim.kill()
        began = time.monotonic()
        victim.start()
        await self._until(lambda: self._events["registered"] > TARGETS, f"{victim.name} should come back")
        say(
            self._console,
            "back",
            f"{victim.name} has power again, and registered after {time.monotonic() - began:.1f} s",
        )

    async def _play_quick(self) -> None:
        options = {
            "rounds": GAME_ROUNDS,
            "first_up_ms": 2_000,
            "last_up_ms": 1_000,
            "pause_ms": 200,
            "countdown_ms": 0,
        }
        started = await self._hub.start_game("quick", [PLAYER], options, GAME_SEED)
        say(
            self._console,
            "quick game",
            f"{GAME_ROUNDS} rounds, faster and faster, on {started.targets} targets",
        )
        await self._until(
            lambda: self._model.game.status == "over", "the game should come to its end", GAME_TIMEOUT_S
        )
        if self._model.game.reason != "finished":
            raise DemoError(f"the game ended as `{self._model.game.reason}`")
        self._console.print(scoreboard.scoreboard(self._model.game), width=60)

    async def _all(self, name: str, command: Awaitable[list[TargetResult]]) -> list[TargetResult]:
        """Await the results of a command in which no target may fail. Raises DemoError when one does."""
        results = await command
        self._commands += len(results)
        failed = [f"{result.target_id} {result.code}" for result in results if not result.ok]
        if failed or len(results) != TARGETS:
            raise DemoError(f"{name}: {', '.join(failed) or f'{len(results)} results for {TARGETS} targets'}")
        return results

    async def _until(self, holds: Callable[[], bool], what: str, timeout_s: float = STEP_TIMEOUT_S) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DemoError(f"{what}, and did not within {timeout_s:.0f} s") from None

    async def _listen(self) -> None:
        async for event in self._hub.events():
            self._events[event.event] += 1
            fold(self._model, event)
            if event.event == "game_score":
                shot = f"{event.target_id} after {event.data['reaction_ms']} ms"
                self._say("", f"{shot:<24} {event.data['points']:+d} points")
            if event.event == "state":
                self._states[event.target_id] = str(event.data["state"])
            self._changed.set()

    def _show(self, step: str, results: list[TargetResult]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        for result in sorted(results, key=lambda result: result.target_id):
            word = (
                Text(result_word(result.status), "green")
                if result.ok
                else Text(f"{result.status}: {result.code}", "red")
            )
            table.add_row(
                f"{step:<10}", result.target_id, word, f"after {result.round_trip_us / 1000:.1f} ms"
            )
            step = ""
        self._console.print(table)
