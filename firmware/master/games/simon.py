"""Simon: remember the order."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Simon"
RULES = (
    "Targets show themselves one after the other; then all rise, and are to be hit in that order. Each time"
    " it is one more. 10 points for each right hit. A wrong one, or no time left, ends the turn. All players"
    " get the same order."
)
PLAYERS = (1, 8)
MIN_TARGETS = 2
UNIT = "levels"
OPTIONS = {
    "first_length": (2, 1, 10, "how many to remember at first"),
    "levels": (6, 1, 20, "how often it gets longer"),
    "show_ms": (700, 100, 10_000, "how long each shows itself"),
    "answer_ms": (4_000, 500, 20_000, "time for each hit"),
    "changeover_ms": (3_000, 0, 60_000, "between two players"),
}


async def play(game: "Game") -> None:
    levels = game.options["levels"]
    order: "list[str]" = []
    for _ in range(game.options["first_length"] + levels - 1):
        order.append(game.pick(but=order[-1] if order else ""))
    total = levels * len(game.players)
    reached: "list[int]" = []
    for player in game.players:
        await game.turn(player)
        level = 0
        while level < levels:
            game.progress(sum(reached) + level, total)
            order = [target if game.is_here(target) else game.pick() for target in order]
            outcome = await _level(game, player, order[: game.options["first_length"] + level])
            if outcome == "right":
                level += 1
            elif outcome != "lost":
                game.note("%s: %s after %d level%s" % (player, outcome, level, "s" * (level != 1)))
                break
        reached.append(level)
    game.progress(sum(reached), total)
    game.results["level"] = reached


async def _level(game: "Game", player: str, order: "list[str]") -> str:
    """Show the order and take the answer; return "right", or what went wrong."""
    for target in order:
        await game.show(target, game.options["show_ms"])
    time_ms = game.options["answer_ms"] * len(order)
    step = 0
    outcome = "too late"
    await game.raise_many(game.targets, time_ms)
    async for shot in game.shots():
        if shot.lost:
            outcome = "lost"  # the level begins anew
        elif shot.hit and shot.target_id != order[step]:
            outcome = "wrong one"
        elif shot.hit:
            game.score(player, 10, shot)
            step += 1
            if step < len(order):
                await game.raise_many([shot.target_id], time_ms)  # it may come again in the order
                continue
            outcome = "right"
        break
    await game.lay_down()
    return outcome
