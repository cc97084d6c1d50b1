"""One run of a game: its coroutine to its end, however that comes, and its targets down."""

import asyncio

from snyper.firmware.master.games.game import Game
from snyper.firmware.master.games.lineup import TooFewTargets
from snyper.firmware.master.games.state import Reason
from snyper.shared.clock import now_us
from snyper.shared.log import log_exception
from snyper.shared.runtime import end_task, sleep_ms, unload
from snyper.shared.socket_protocol import MessageType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from snyper.firmware.master.games.lineup import Lineup

    Script = Callable[[Game], Awaitable[None]]


async def run_game(lineup: "Lineup", script: "Script") -> None:
    """Play to the end, however that comes, lay the targets down, and tell that it is over."""
    state = lineup.state
    game = Game(lineup)
    playing = asyncio.create_task(_play(game, script))
    try:
        await state.ending.wait()
    finally:
        await end_task(playing)
        for raising in lineup.raising:
            await end_task(raising)
        lineup.up = {}
        state.turn = ""
    try:
        await lineup.command(MessageType.LAY_DOWN, lineup.everybody)  # also those that came back
    except Exception as error:
        log_exception("game", error)
    from snyper.firmware.master.games.announce import announce_end

    unload("snyper.firmware.master.games.announce")
    state.is_over = True
    announce_end(state, game.results)


async def _play(game: Game, script: "Script") -> None:
    state = game.state
    reason = Reason.FINISHED
    try:
        await game.lay_down()
        await sleep_ms(max(0, state.starts_at_us - now_us()) // 1000)
        await script(game)
    except TooFewTargets:
        reason = Reason.NO_TARGETS
    except Exception as error:
        log_exception("game", error)
        reason = Reason.FAULT
    state.stop(reason)
