"""The players of a simulated range: they start games, stop them, and shoot at what a game raises."""

import random
from collections.abc import Callable

from snyper.client import ReconnectingClient
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tools.chaos.invariants import Invariants
from tools.chaos.machines import Board
from tools.chaos.promises import BrokenPromise, Step

# Each short, so that a run stays short.
GAMES: tuple[tuple[str, dict[str, int | str]], ...] = (
    ("quick", {"rounds": 3, "first_up_ms": 700, "last_up_ms": 400, "pause_ms": 50, "changeover_ms": 50}),
    ("gallery", {"time_ms": 1_000, "changeover_ms": 50}),
    ("duel", {"rounds": 2, "time_ms": 1_000, "pause_ms": 50}),
    ("simon", {"first_length": 1, "levels": 2, "show_ms": 100, "answer_ms": 600, "changeover_ms": 50}),
    ("shoot", {"rounds": 2, "at_once": 3, "up_ms": 600, "changeover_ms": 50}),
    ("reaction", {"rounds": 2, "min_wait_ms": 0, "max_wait_ms": 200, "up_ms": 600, "changeover_ms": 50}),
)
HIT_RATE = 0.7
SHAKES_ANOTHER = 0.15  # of the shots, within as long as the hub takes for cross-talk
AIM_S = (0.11, 0.6)
SHAKE_S = 0.015
REFUSALS = (
    ErrorCode.BUSY,
    ErrorCode.UNKNOWN_TARGET,
    ErrorCode.DISCONNECTED,
    ErrorCode.TIMEOUT,
    ErrorCode.CEASE_FIRE,
)


class Players:
    """Plays by the steps of a run, through `client`. `strike(board)` shoots at one."""

    def __init__(
        self,
        client: ReconnectingClient,
        invariants: Invariants,
        rng: random.Random,
        strike: Callable[[Board], None],
    ) -> None:
        self._client = client
        self._invariants = invariants
        self._rng = rng
        self._strike = strike
        self._up: list[Board] = []  # what games have raised
        invariants.on_game_rise = self._on_rise

    async def start(self, step: Step) -> None:
        """Start a game, which is refused while another is played."""
        name, options = GAMES[step.first % len(GAMES)]
        players = ["Ann", "Bo"][: 2 if name == "duel" else step.second]
        try:
            state = await self._client.start_game(name, players, {**options, "countdown_ms": 0}, step.at_ms)
        except ProtocolError as error:
            self._invariants.tell("console", f"{name} does not start: {error}")
            if error.code not in REFUSALS:
                raise BrokenPromise(f"{name} is refused: {error}") from None
            return
        self._invariants.tell("console", f"{name} has started as {state.game_id}")

    async def stop(self, step: Step) -> None:
        """Stop the game that is played, if there is one."""
        try:
            state = await self._client.stop_game()
        except ProtocolError as error:
            if error.code not in REFUSALS:
                raise BrokenPromise(f"a game is not stopped: {error}") from None
            return
        if state.status == "running":
            raise BrokenPromise(f"{state.game_id} is said to be stopped, and is played on")

    def _on_rise(self, board: Board) -> None:
        self._up = [board, *[other for other in self._up if other is not board]][:4]
        if self._rng.random() < HIT_RATE:
            board.machine.later(self._rng.uniform(*AIM_S), self._shoot, board)

    def _shoot(self, board: Board) -> None:
        self._strike(board)
        neighbour = self._rng.choice(self._up)
        if neighbour is not board and self._rng.random() < SHAKES_ANOTHER:
            board.machine.later(self._rng.uniform(0, SHAKE_S), self._strike, neighbour)
