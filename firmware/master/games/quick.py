"""Quick: one target at a time, faster and faster."""

from snyper.firmware.master.games.stats import best, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Quick"
RULES = (
    "One target at a time, each up a little shorter than the last. A hit is 100 points, and up to 100 more"
    " the sooner it comes. One player after the other."
)
PLAYERS = (1, 8)
MIN_TARGETS = 1
UNIT = "rounds"
OPTIONS = {
    "rounds": (10, 1, 100, "targets for each player"),
    "first_up_ms": (3_000, 100, 60_000, "how long the first stays up"),
    "last_up_ms": (800, 100, 60_000, "how long the last stays up"),
    "pause_ms": (500, 0, 10_000, "between two targets"),
    "changeover_ms": (3_000, 0, 60_000, "between two players"),
}


async def play(game: "Game") -> None:
    rounds = game.options["rounds"]
    first_ms, last_ms = game.options["first_up_ms"], game.options["last_up_ms"]
    total = rounds * len(game.players)
    done = 0
    all_ms = []
    target = ""
    game.progress(done, total)
    for player in game.players:
        await game.turn(player)
        times_ms = []
        for round in range(rounds):
            up_ms = first_ms + (last_ms - first_ms) * round // max(1, rounds - 1)
            target = game.pick(but=target)
            shot = await game.raise_one(target, up_ms)
            if shot.hit:
                times_ms.append(shot.reaction_ms)
                game.score(player, 100 + 100 * (up_ms - shot.reaction_ms) // up_ms, shot)
            done += 1
            game.progress(done, total)
            await game.pause_ms(game.options["pause_ms"])
        all_ms.append(times_ms)
    game.results["hits"] = [len(times) for times in all_ms]
    game.results["best_ms"] = [best(times) for times in all_ms]
    game.results["median_ms"] = [median(times) for times in all_ms]
