"""A game's calls: raise targets, take the shots as they come, count points.

A game is a coroutine `play(game)`; `game` is a Game. docs/games.md shows how one is written.
"""

from snyper.firmware.master.games.lineup import Shot
from snyper.firmware.master.games.rng import Rng
from snyper.firmware.master.games.state import MAX_NOTE_CHARS
from snyper.shared.clock import now_us
from snyper.shared.runtime import sleep_ms
from snyper.shared.socket_protocol import MessageType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from snyper.firmware.master.games.lineup import Lineup

LEAD_MS = 400  # how long before targets rise together they are told: longer than a busy Wi-Fi delays a line


class Game:
    """One game, for its coroutine. `players` are names, `options` has a value for each of the game's OPTIONS,
    `rng` is random: the same seed gives the same numbers. What is put into `results` is told at the end.

    With no target left the game is over: TooFewTargets is raised, which a game lets through.
    """

    def __init__(self, lineup: "Lineup") -> None:
        self.state = lineup.state
        about = self.state.about
        self.players: "list[str]" = about["players"]
        self.options: "dict[str, Any]" = about["options"]
        self.rng = Rng(about["seed"])
        self.results: "dict[str, object]" = {}
        self._lineup = lineup

    # --- the targets

    @property
    def targets(self) -> "list[str]":
        """The names of the targets that are there, in order. Raises TooFewTargets."""
        self._lineup.require(1)
        return list(self._lineup.here)

    def require_targets(self, count: int) -> None:
        """End the game where there are not so many. Raises TooFewTargets."""
        self._lineup.require(count)

    def is_here(self, target_id: str) -> bool:
        """Return whether this target still plays."""
        return target_id in self._lineup.here

    def group(self, name: str) -> "list[str]":
        """Return those of `targets` that are in the group. Raises TooFewTargets."""
        registry = self._lineup.router.registry
        return [target for target in self.targets if name in registry.select(target)[0].groups]

    def pick(self, but: str = "") -> str:
        """Return one of `targets` by chance; not `but`, unless there is no other. Raises TooFewTargets."""
        targets = self.targets
        if but in targets and len(targets) > 1:
            targets.remove(but)
        target: str = self.rng.choice(targets)
        return target

    # --- what they do

    async def raise_one(self, target_id: str, duration_ms: int) -> Shot:
        """Raise a target, armed for so long (100 to 600,000 ms), and return what became of it. Not while
        others are up. Raises TooFewTargets.
        """
        await self.raise_many([target_id], duration_ms)
        shot = await self._lineup.next_shot()
        if shot is None:
            shot = Shot(target_id, duration_ms, 0)
            shot.lost = True
        return shot

    async def raise_many(self, target_ids: "Sequence[str]", duration_ms: int) -> None:
        """Raise targets at one instant, armed for so long each; returns once they are. Then take `shots`.

        One that does not know the hub's clock yet rises as soon as it hears of it. One that is up already is
        laid down first.
        """
        lineup = self._lineup
        for target_id in target_ids:
            lineup.up.pop(target_id, None)
        lying = await lineup.command(MessageType.LAY_DOWN, lineup.playing(target_ids))
        data: "dict[str, object]" = {"duration_ms": duration_ms}
        ahead_ms = LEAD_MS if len(lying) > 1 else 0
        at_us = now_us() + ahead_ms * 1000
        if ahead_ms:
            data["at_us"] = at_us
        late = await lineup.activate(lying, data, duration_ms, ahead_ms)
        if late:
            await sleep_ms(max(0, at_us - now_us()) // 1000)
            await lineup.activate(late, {"duration_ms": duration_ms}, duration_ms, 0)

    def shots(self) -> "Lineup":
        """Iterate, with `async for shot in game.shots()`, over what becomes of the targets that are up, in
        the order in which it happened on the boards. Ends when none is up any more. Raises TooFewTargets.
        """
        return self._lineup

    async def lay_down(self) -> None:
        """Lay all targets down; what becomes of those that were up does not count any more."""
        lineup = self._lineup
        lineup.up = {}
        lineup.done = []
        await lineup.command(MessageType.LAY_DOWN, list(lineup.here))

    async def show(self, target_id: str, duration_ms: int) -> None:
        """Stand a target up for so long, not armed, and lay it down again."""
        lineup = self._lineup
        if await lineup.command(MessageType.STAND_UP, lineup.playing([target_id])):
            await sleep_ms(duration_ms)
            await lineup.command(MessageType.LAY_DOWN, lineup.playing([target_id]))

    async def flicker(self, target_ids: "Sequence[str]", duration_ms: int) -> "list[str]":
        """Make the lights of targets flicker for so long (100 to 60,000 ms), and return those that do."""
        data: "dict[str, object]" = {"duration_ms": duration_ms}
        lineup = self._lineup
        return await lineup.command(MessageType.IDENTIFY, lineup.playing(target_ids), data)

    # --- what people see

    async def turn(self, player: str) -> None:
        """Begin this player's turn. Between two players passes the option `changeover_ms`."""
        state = self.state
        changes = state.turn not in ("", player)
        state.turn = player
        state.add_event("game_turn", {"player": player})
        if changes:
            await sleep_ms(self.options.get("changeover_ms", 0))

    def score(self, player: str, points: int, shot: "Shot | None" = None, text: str = "") -> None:
        """Give a player points, or take some. `shot` is what they are for, `text` says more."""
        more: "dict[str, object]" = {}
        if shot is not None and shot.hit:
            more["reaction_ms"] = shot.reaction_ms
        if text:
            more["text"] = text[:MAX_NOTE_CHARS]
        seq = self.state.add_points(player, points, more, shot.target_id if shot is not None else "")
        if shot is not None and shot.hit:
            shot.scores += ((player, points, seq),)

    def progress(self, done: int, total: int) -> None:
        """Tell how far the game is, in its UNIT."""
        state = self.state
        state.done = done
        state.total = total
        state.add_event("game_progress", {"done": done, "total": total, "unit": state.about["unit"]})

    def note(self, text: str) -> None:
        """Tell everybody who watches."""
        self.state.note(text)

    async def pause_ms(self, duration_ms: int) -> None:
        """Wait."""
        await sleep_ms(duration_ms)
