"""Shoot: foes and friends."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.game import Game

TITLE = "Shoot, don't shoot"
RULES = (
    "A few targets rise together. One whose light flickers is a friend; with a group of friends it is those,"
    " and no light flickers. A foe is worth 100 points, a friend costs 100. One player after the other."
)
PLAYERS = (1, 8)
MIN_TARGETS = 1
UNIT = "rounds"
OPTIONS = {
    "rounds": (10, 1, 100, "for each player"),
    "at_once": (2, 1, 16, "how many rise in a round"),
    "friends_percent": (40, 0, 90, "how many of them are friends"),
    "friend_group": ("", "group whose targets are always friends"),
    "up_ms": (2_500, 200, 50_000, "how long they stay up"),
    "changeover_ms": (3_000, 0, 60_000, "between two players"),
}

_PAUSE_MS = 500
_RISE_MS = 2_000  # from the word to the target until it stands, and to spare
_END_MS = 100  # the shortest flicker: it ends a longer one


async def play(game: "Game") -> None:
    rounds = game.options["rounds"]
    total = rounds * len(game.players)
    done = foes_hit = friends_hit = 0
    game.progress(done, total)
    for player in game.players:
        await game.turn(player)
        for _ in range(rounds):
            targets = game.rng.shuffled(game.targets)[: game.options["at_once"]]
            friends = await _friends(game, targets)
            await game.raise_many(targets, game.options["up_ms"])
            async for shot in game.shots():
                if shot.hit and shot.target_id in friends:
                    friends_hit += 1
                    game.score(player, -100, shot, "a friend")
                elif shot.hit:
                    foes_hit += 1
                    game.score(player, 100, shot)
            if not game.options["friend_group"]:
                await game.flicker(friends, _END_MS)
            done += 1
            game.progress(done, total)
            await game.pause_ms(_PAUSE_MS)
    game.results["foes_hit"] = foes_hit
    game.results["friends_hit"] = friends_hit


async def _friends(game: "Game", targets: "list[str]") -> "list[str]":
    """Choose the friends among the targets. One whose light does not answer is none."""
    if game.options["friend_group"]:
        always = game.group(game.options["friend_group"])
        return [target for target in targets if target in always]
    drawn = [target for target in targets if game.rng.below(100) < game.options["friends_percent"]]
    return await game.flicker(drawn, _RISE_MS + game.options["up_ms"])
