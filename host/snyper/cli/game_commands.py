"""`snyper game`: list, start, stop, watch, scores. The board itself is drawn by scoreboard.py."""

from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from snyper.cli.commands import HubOption, Json, run, selector
from snyper.cli.game_screen import follow_all, follow_one, print_board
from snyper.cli.help_page import App
from snyper.cli.history_commands import JournalOption
from snyper.cli.output import can_redraw, err, fail, out
from snyper.client import DEFAULT_HUB, GameInfo, GameOption, GameState, HubClient, connect
from snyper.history.database import JournalError, NoJournalError, default_path
from snyper.history.reader import History
from snyper.shared.socket_protocol import ALL_TARGETS, MAX_PLAYER_CHARS, MAX_PLAYERS, ErrorCode, ProtocolError
from snyper.system.process import EXIT_FAILED, EXIT_USAGE
from snyper.system.streams import print_json
from snyper.system.text import one_line

T = TypeVar("T")

game = App(help="Play: list the games, start one, watch it.", no_args_is_help=True, rich_markup_mode=None)

MAX_SEED = (1 << 31) - 1
LEFT_RUNNING = "the game goes on: `snyper game watch` shows it, `snyper game stop` ends it"
_BEST_SHOWN = 10

GameName = Annotated[str, typer.Argument(metavar="GAME", help="Its name: `snyper game list` has them.")]


@game.command(name="list")
def list_games(
    name: Annotated[
        str | None, typer.Argument(metavar="GAME", help="Show this one with its rules and options.")
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """List the games that the hub can play."""

    async def ask() -> list[GameInfo]:
        async with connect(hub) as console:
            return await console.games()

    games = _run(ask(), hub)
    if name is not None:
        games = [one for one in games if one.name == name] or _unknown(name, games)
    if as_json:
        print_json([asdict(one) for one in games])
    elif name is not None:
        out.print(Text(one_line(games[0].title), "bold"))
        out.print(Text(one_line(games[0].rules)))
        out.print(_options_table(games[0].options))
    else:
        out.print(_games_table(games))
        err.print("`snyper game list GAME` shows the options of one, `snyper game start GAME` starts it")


@game.command()
def start(
    name: GameName,
    player: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A player, in the order of their turns; up to {MAX_PLAYERS}, say it for each.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the game, such as rounds=10."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, metavar="N", help="The same seed gives the same order."),
    ] = None,
    targets: Annotated[
        str,
        typer.Option(
            metavar="TARGET", help="Who plays: a target's name, group:NAME or all.", callback=selector
        ),
    ] = ALL_TARGETS,
    wait: Annotated[
        bool, typer.Option("--watch/--no-wait", help="Show it until it is over, or only start it.")
    ] = True,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Start a game, and show its scoreboard until it is over.

    Ctrl-C ends the scoreboard, not the game: that belongs to the hub. With --json a line for each event of
    the game; with --no-wait one line with its state.
    """
    players = player or []
    for one in players:
        if not 0 < len(one) <= MAX_PLAYER_CHARS:
            fail(f"--player {one}: a name has 1 to {MAX_PLAYER_CHARS} characters", EXIT_USAGE)
    options = dict(_setting(text) for text in settings or [])

    async def begin(console: HubClient) -> GameState:
        return await console.start_game(name, players, options, seed, targets)

    async def begin_only() -> GameState:
        async with connect(hub) as console:
            return await begin(console)

    if wait:
        state = _run(follow_one(hub, as_json, begin), hub, on_ctrl_c=LEFT_RUNNING)
        _end(state, as_json)
        return
    state = _run(begin_only(), hub)
    if as_json:
        print_json(asdict(state))
    else:
        err.print(
            one_line(f"{state.game} starts with {', '.join(state.players)}")
            + f": {LEFT_RUNNING.partition(': ')[2]}",
        )


@game.command()
def stop(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """End the game that is played; its targets go down."""

    async def ask() -> tuple[GameState, GameState]:
        async with connect(hub) as console:
            return await console.game(), await console.stop_game()

    before, state = _run(ask(), hub)
    if as_json:
        print_json(asdict(state))
    elif before.status != "running":
        err.print("no game is played")
    else:
        print_board(state)


@game.command()
def watch(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """Show the game that is played, and those after it, until Ctrl-C."""
    _run(follow_all(hub, as_json), hub, until_ctrl_c=True)


@game.command()
def scores(hub: HubOption = DEFAULT_HUB, journal: JournalOption = None, as_json: Json = False) -> None:
    """Show the last game's scores, and the best of that game where the hub's journal is on this computer."""

    async def ask() -> GameState:
        async with connect(hub) as console:
            return await console.game()

    state = _run(ask(), hub)
    best = _best(state.game, journal) if state.status != "none" else []
    if as_json:
        print_json({**asdict(state), "best": [{"player": player, "score": score} for player, score in best]})
    elif state.status == "none":
        err.print("no game has been played since the hub's start: `snyper history` knows those before it")
    else:
        print_board(state)
        if best:
            out.print(_best_table(state.game, best))


def _run(work: Coroutine[Any, Any, T], hub: str, until_ctrl_c: bool = False, on_ctrl_c: str = "stopped") -> T:
    """Run `work`, and end the command with the words for what goes wrong with games."""

    async def explained() -> T:
        try:
            return await work
        except ProtocolError as error:
            if error.code == ErrorCode.UNKNOWN_TYPE:
                fail(f"the hub at {hub} is too old for games: update it", EXIT_FAILED)
            if error.code == ErrorCode.BAD_MESSAGE:
                fail(error.message, EXIT_USAGE)
            if error.code == ErrorCode.BUSY:
                fail(
                    f"{error.message}: `snyper game watch` shows it, `snyper game stop` ends it", EXIT_FAILED
                )
            raise

    return run(explained(), hub, until_ctrl_c, on_ctrl_c)


def _end(state: GameState, as_json: bool) -> None:
    """Print the last board, where it does not stand there already, and end with the exit status."""
    if not as_json and not can_redraw(out):
        print_board(state)
    if state.reason == "no_targets":
        fail("no target is left: `snyper targets` shows where they are", EXIT_FAILED)
    if state.reason == "fault":
        fail("the game failed: the hub's log says how", EXIT_FAILED)


def _setting(text: str) -> tuple[str, int | str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        fail(f"--set {text}: OPTION=VALUE is expected, such as rounds=10", EXIT_USAGE)
    try:
        return name, int(value)
    except ValueError:
        return name, value


def _unknown(name: str, games: list[GameInfo]) -> NoReturn:
    fail(f"no game is called {name}; there are {', '.join(one.name for one in games)}", EXIT_USAGE)


def _games_table(games: list[GameInfo]) -> Table:
    table = Table("game", "players", "targets", "rules")
    for one in games:
        players = (
            str(one.min_players)
            if one.min_players == one.max_players
            else f"{one.min_players} to {one.max_players}"
        )
        table.add_row(Text(one.name, "bold"), players, f"{one.min_targets} or more", Text(one.rules))
    return table


def _options_table(options: list[GameOption]) -> Table:
    table = Table("option", "default", "from", "to", "meaning")
    for option in options:
        low, high = ("" if bound is None else str(bound) for bound in (option.low, option.high))
        meaning = option.meaning + (f": {', '.join(option.choices)}" if option.choices else "")
        table.add_row(Text(option.name, "bold"), str(option.default) or '""', low, high, Text(meaning))
    return table


def _best(name: str, journal: Path | None) -> list[tuple[str, int]]:
    """Query each player's best of the game, the highest first; none where there is no journal here."""
    try:
        with History(journal or default_path()) as kept:
            players = kept.players()
    except JournalError as error:
        if journal is None and isinstance(error, NoJournalError):
            return []
        fail(str(error), EXIT_FAILED)
    best = [(one.player, one.best[name]) for one in players if name in one.best]
    return sorted(best, key=lambda pair: (-pair[1], pair[0]))[:_BEST_SHOWN]


def _best_table(name: str, best: list[tuple[str, int]]) -> Table:
    table = Table(title=f"the best at {name}", title_justify="left")
    table.add_column("player")
    table.add_column("score", justify="right")
    for player, score in best:
        table.add_row(Text(player), str(score))
    return table
