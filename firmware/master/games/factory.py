"""Creates a game from what a console asks for: checks it, loads the game. Loaded for as long as that
takes.
"""

import os

from snyper.shared.runtime import collect_garbage, unload
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from snyper.firmware.master.games.lineup import Lineup
    from snyper.firmware.master.router import Router

MAX_SEED = (1 << 31) - 1


def create_game(
    router: "Router",
    game_id: str,
    name: str,
    players: "Sequence[str]",
    options: "dict[str, Any]",
    seed: "int | None",
    target: str,
) -> "tuple[Lineup, Coroutine[Any, Any, None]]":
    """Create the game `name` for the connected targets of the selector `target`, with its players, options
    and seed checked. Returns its targets, which have its state, and the coroutine that plays it.

    Raises ProtocolError: `unknown_target` where there are not enough targets, `bad_message` for what the game
    does not take; MemoryError.
    """
    from snyper.firmware.master.games.catalogue import load, read_options, read_players

    if seed is None:
        seed = int.from_bytes(os.urandom(4), "big") & MAX_SEED
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`seed` is an integer from 0 to %d" % MAX_SEED)
    module = load(name)
    about = {
        "game_id": game_id,
        "game": name,
        "players": read_players(module, players),
        "options": read_options(module, options),
        "seed": seed,
        "unit": module.UNIT,
    }
    meant = router.registry.select(target)
    targets = [peer.target_id for peer in meant if peer.is_target and peer.link is not None]
    if len(targets) < module.MIN_TARGETS:
        raise ProtocolError(
            ErrorCode.UNKNOWN_TARGET,
            "%s needs %d targets, here are %d" % (module.TITLE, module.MIN_TARGETS, len(targets)),
        )
    del load, read_options, read_players
    unload("snyper.firmware.master.games.catalogue", "snyper.shared.names")
    collect_garbage()  # a board has no memory for both
    from snyper.firmware.master.games.announce import announce_start
    from snyper.firmware.master.games.lineup import Lineup
    from snyper.firmware.master.games.run import run_game
    from snyper.firmware.master.games.state import GameState

    unload("snyper.firmware.master.games.announce")
    lineup = Lineup(router, GameState(router.events, about, len(targets)), targets)
    announce_start(lineup.state, module.TITLE)
    return lineup, run_game(lineup, module.play)
