"""Runs the hub's games, one at a time: start, stop, state.

What games need is loaded for the moment: a board has no memory for what is not played.
"""

import asyncio

from snyper.firmware.master.router import Router
from snyper.shared.log import log, log_exception
from snyper.shared.runtime import collect_garbage, unload
from snyper.shared.socket_protocol import ALL_TARGETS, ErrorCode, MessageType, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from snyper.firmware.master.games.state import GameState


class GameRunner:
    """Runs one game at a time. `router` is the hub's; `boot_id` makes the ids of its games its own."""

    def __init__(self, router: Router, boot_id: str) -> None:
        self._router = router
        self._boot_id = boot_id
        self._count = 0
        self._game: "GameState | None" = None
        self._task: "asyncio.Task[None] | None" = None
        self._ended = asyncio.Event()
        self._last: "dict[str, object]" = {"status": "none"}

    def names(self) -> "list[str]":
        """Return the names of all games, as `start` takes them."""
        try:
            from snyper.firmware.master.games.catalogue import NAMES

            return list(NAMES)
        finally:
            _unload_modules("")

    def describe(self, name: str) -> "dict[str, object]":
        """Return the data of the `game` message of one of `names`: title, rules, players, options. Raises
        ProtocolError `bad_message` for another.
        """
        try:
            from snyper.firmware.master.games.catalogue import describe, load

            return describe(name, load(name))
        finally:
            _unload_modules(name)

    def start(
        self,
        name: str,
        players: "Sequence[str]" = (),
        options: "dict[str, Any] | None" = None,
        seed: "int | None" = None,
        target: str = ALL_TARGETS,
    ) -> "dict[str, object]":
        """Start one of `names` with these targets (a name, `group:NAME` or `all`) and return its `state`.

        `players` are as many as the game needs where they are left out, `options` have their defaults, `seed`
        (0 to 2^31 - 1) is drawn. Raises ProtocolError: `busy` while another is played or there is no memory,
        `unknown_target` where there are not enough, `bad_message` for what the game does not take,
        `cease_fire` while one holds.
        """
        if self._router.cease_fire is not None:
            refusal = self._router.cease_fire.refusal(MessageType.START_GAME)
            assert refusal is not None
            raise refusal
        if self._game is not None:
            raise ProtocolError(ErrorCode.BUSY, "a game is played already")
        collect_garbage()
        try:
            from snyper.firmware.master.games.factory import create_game

            game_id = "%s-g%d" % (self._boot_id, self._count + 1)
            lineup, playing = create_game(self._router, game_id, name, players, options or {}, seed, target)
        except MemoryError:  # the last game may still hold its memory for a moment
            raise ProtocolError(ErrorCode.BUSY, "no memory for it: try again, or restart the hub") from None
        finally:
            _unload_modules(name)
        self._count += 1
        self._game = lineup.state
        self._last = {}  # a board has a use for its memory
        self._ended.clear()
        stop_listening = self._router.events.listen(lineup.on_event)
        self._task = asyncio.create_task(self._run(playing, stop_listening))
        return lineup.state.describe()

    async def stop(self) -> "dict[str, object]":
        """End the game that is played and return the last one's `state`, once its targets lie: after 3 s
        at the latest. Without a game nothing happens.
        """
        if self._game is not None:
            self._game.stop()
            await self._ended.wait()
        return self._last

    def halt(self) -> None:
        """Have the game that is played end, and do not wait for it."""
        if self._game is not None:
            self._game.stop()

    def state(self) -> "dict[str, object]":
        """Return the state of the game, or of the last one at its end: the data of `game_state`, with its
        `status` (`running`, `over`, or `none` before the first). Takes little time and memory.
        """
        return self._last if self._game is None else self._game.describe()

    async def _run(self, playing: "Coroutine[Any, Any, None]", stop_listening: "Callable[[], None]") -> None:
        try:
            await playing
        except Exception as error:
            log_exception("game", error)
        finally:
            self._last = self.state()
            self._game = self._task = None
            stop_listening()
            log("game", "over: %s" % self._last["reason"])
            self._ended.set()
        collect_garbage()


def _unload_modules(game: str) -> None:
    """Unload the modules of games, but for those that the game under way came from."""
    for name in (game, "game", "lineup", "state", "run", "rng", "stats", "factory", "catalogue"):
        if name.isalpha():
            unload("snyper.firmware.master.games." + name)
    unload("snyper.shared.names")
    collect_garbage()
