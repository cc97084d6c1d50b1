"""Gallery: all targets up, against the clock."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Gallery"
RULES = (
    "All targets rise together: knock them down before the time is up. 100 points each; whoever gets them all"
    " has 1 point more for every 100 ms left. One player after the other."
)
PLAYERS = (1, 8)
MIN_TARGETS = 1
UNIT = "targets"
OPTIONS = {
    "time_ms": (20_000, 1_000, 600_000, "how long they stay up"),
    "changeover_ms": (3_000, 0, 60_000, "between two players"),
}


async def play(game: "Game") -> None:
    time_ms = game.options["time_ms"]
    done = 0
    for at in range(len(game.players)):
        player = game.players[at]
        await game.turn(player)
        targets = game.targets
        total = done + len(targets) * (len(game.players) - at)
        game.progress(done, total)
        missed = 0
        hits = []
        await game.raise_many(targets, time_ms)
        async for shot in game.shots():
            if shot.hit:
                hits.append(shot)
                game.score(player, 100, shot)
            elif not shot.lost:
                missed += 1
            done += 1
            game.progress(done, total)
        if hits and not missed and all(shot.hit for shot in hits):  # none was taken back
            last_ms = max([shot.reaction_ms for shot in hits])
            game.score(player, (time_ms - last_ms) // 100, text="all down after %d ms" % last_ms)
