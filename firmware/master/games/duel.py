"""Duel: two sides, first to clear."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Duel"
RULES = (
    "Each player has as many targets, and all rise together. 10 points for each one knocked down, 50 for"
    " whoever clears the own side first, by the boards' clocks; then the round is over. Where one of the"
    " groups has no target, the range is cut in halves, by name."
)
PLAYERS = (2, 2)
MIN_TARGETS = 2
UNIT = "rounds"
OPTIONS = {
    "rounds": (3, 1, 20, "how often"),
    "time_ms": (30_000, 1_000, 600_000, "the longest a round takes"),
    "pause_ms": (2_000, 0, 60_000, "between two rounds"),
    "left_group": ("left", "group of the first player's targets"),
    "right_group": ("right", "group of the second player's targets"),
}


async def play(game: "Game") -> None:
    rounds = game.options["rounds"]
    won = [0, 0]
    game.progress(0, rounds)
    for round in range(rounds):
        winner = await _round(game, _sides(game))
        if winner >= 0:
            won[winner] += 1
        game.progress(round + 1, rounds)
        if round + 1 < rounds:
            await game.pause_ms(game.options["pause_ms"])
    game.results["rounds_won"] = won


async def _round(game: "Game", sides: "tuple[list[str], list[str]]") -> int:
    """Play a round, and return which side was clear first, or -1."""
    left = [len(sides[0]), len(sides[1])]
    winner = -1
    await game.raise_many(sides[0] + sides[1], game.options["time_ms"])
    async for shot in game.shots():
        if shot.lost:
            game.note("this round ends here: the sides are not equal any more")
            break
        if shot.hit:
            side = 0 if shot.target_id in sides[0] else 1
            game.score(game.players[side], 10, shot)
            left[side] -= 1
            if not left[side]:
                winner = side
                game.score(game.players[side], 50, text="clear")
                break
    await game.lay_down()
    return winner


def _sides(game: "Game") -> "tuple[list[str], list[str]]":
    """Return each player's targets, as many for both."""
    ours = game.group(game.options["left_group"])
    theirs = [target for target in game.group(game.options["right_group"]) if target not in ours]
    if not ours or not theirs:
        game.require_targets(2)
        targets = game.targets
        half = len(targets) // 2
        ours, theirs = targets[:half], targets[half:]
    count = min(len(ours), len(theirs))
    return ours[:count], theirs[:count]
