"""Reaction: how fast, and how evenly."""

from snyper.firmware.master.games.stats import best, median, spread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Reaction"
RULES = (
    "Training: one target at a time, after a wait that nobody knows. A hit is 1,000 points less its reaction"
    " time in ms. Results: each player's best and median time, and the spread, within which the middle half"
    " of them is."
)
PLAYERS = (1, 8)
MIN_TARGETS = 1
UNIT = "rounds"
OPTIONS = {
    "rounds": (10, 1, 100, "for each player"),
    "min_wait_ms": (1_000, 0, 60_000, "the shortest wait"),
    "max_wait_ms": (4_000, 0, 60_000, "the longest wait"),
    "up_ms": (2_000, 100, 60_000, "how long a target stays up"),
    "changeover_ms": (3_000, 0, 60_000, "between two players"),
}


async def play(game: "Game") -> None:
    rounds = game.options["rounds"]
    shortest_ms = game.options["min_wait_ms"]
    longest_ms = max(shortest_ms, game.options["max_wait_ms"])
    total = rounds * len(game.players)
    done = 0
    all_ms = []
    game.progress(done, total)
    for player in game.players:
        await game.turn(player)
        times_ms = []
        for _ in range(rounds):
            await game.pause_ms(game.rng.between(shortest_ms, longest_ms))
            shot = await game.raise_one(game.pick(), game.options["up_ms"])
            if shot.hit:
                times_ms.append(shot.reaction_ms)
                game.score(player, max(0, 1_000 - shot.reaction_ms), shot)
            done += 1
            game.progress(done, total)
        all_ms.append(times_ms)
    game.results["hits"] = [len(times) for times in all_ms]
    game.results["best_ms"] = [best(times) for times in all_ms]
    game.results["median_ms"] = [median(times) for times in all_ms]
    game.results["spread_ms"] = [spread(times) for times in all_ms]
