"""`snyper history`, `export` and `stats`: what a hub's journal holds, for people and for other programs."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from snyper.cli.output import err, fail
from snyper.cli.screens import print_table
from snyper.client.labels import natural, plural
from snyper.history.database import PATH_VARIABLE, JournalError, default_path
from snyper.history.export import ExportKind, write_rows
from snyper.history.reader import History
from snyper.history.records import GameRecord, PlayerStats, RecordFilter, TargetStats
from snyper.system.files import shown, writing
from snyper.system.process import EXIT_FAILED, EXIT_USAGE
from snyper.system.streams import print_json

_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _since_ms(text: str | None) -> int | None:
    """Parse `text` (2026-05-31, 2026-05-31T14:00, or 90m, 12h, 7d, 4w back from now) into `unix_ms`."""
    if text is None:
        return None
    try:
        if text[-1:] in _UNITS_S and text[:-1].isdecimal():
            return max(0, round((time.time() - int(text[:-1]) * _UNITS_S[text[-1]]) * 1000))
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        fail(f"--since {text}: a date such as 2026-05-31 is expected, or 90m, 12h, 7d, 4w", EXIT_USAGE)


JournalOption = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar=PATH_VARIABLE,
        metavar="PATH",
        help="The hub's journal; by default journal.sqlite3 in your data folder.",
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Since a date (2026-05-31), or for 90m, 12h, 7d, 4w.")
]
Player = Annotated[str | None, typer.Option(metavar="NAME", help="Only with this player.")]
Kind = Annotated[str | None, typer.Option("--game", metavar="NAME", help="Only this kind of game.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, everything else on stderr.")]


def history(
    player: Player = None,
    game: Kind = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many games.")] = 20,
    journal: JournalOption = None,
    as_json: Json = False,
) -> None:
    """List the games that were played and their scores, newest first."""
    since_ms = _since_ms(since)
    with _reading(journal) as kept:
        games = kept.games(player, game, since_ms, limit)
        count = kept.count_games(RecordFilter(since_ms, game, player))
    if as_json:
        print_json([asdict(one) for one in games])
    elif games:
        print_table(_games_table(games), "targets", "lasted", "ended", "when")
    else:
        err.print("no such game is in the journal")
    if count > len(games):
        err.print(f"the newest {len(games):,} of {count:,} games: --limit says how many")


def stats(since: Since = None, journal: JournalOption = None, as_json: Json = False) -> None:
    """Show how targets and players did."""
    since_ms = _since_ms(since)
    with _reading(journal) as kept:
        targets = sorted(kept.targets(since_ms), key=lambda target: natural(target.target_id))
        players = kept.players(since_ms)
    if as_json:
        print_json({"targets": [asdict(one) for one in targets], "players": [asdict(one) for one in players]})
        return
    if not targets and not players:
        err.print("nothing of the kind is in the journal")
    if targets:
        print_table(_targets_table(targets), "dropped", "away", "outages", "best", "rounds", "hits", "median")
    if players:
        print_table(_players_table(players), "best time", "wins", "games")


def export(
    as_csv: Annotated[bool, typer.Option("--csv", help="A table, for a spreadsheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    events: Annotated[
        bool, typer.Option("--events", help="All that happened. This if nothing is said.")
    ] = False,
    games: Annotated[bool, typer.Option("--games", help="The games and their scores.")] = False,
    hits: Annotated[bool, typer.Option("--hits", help="The hits and misses.")] = False,
    player: Player = None,
    game: Kind = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Into a file instead of stdout.")
    ] = None,
    since: Since = None,
    journal: JournalOption = None,
) -> None:
    """Write the journal out for another program: --csv or --json; events, games, or hits and misses."""
    if as_csv == as_json or events + games + hits > 1:
        fail("say --csv or --json, and one of --events, --games, --hits", EXIT_USAGE)
    what = ExportKind.GAMES if games else ExportKind.HITS if hits else ExportKind.EVENTS
    which = RecordFilter(_since_ms(since), game, player)
    with _reading(journal) as kept:
        if output is not None and any(_is_same(output, part) for part in _parts_of(kept.path)):
            fail(f"{shown(output)} is of the journal itself: name another file with --output", EXIT_USAGE)
        count = _write(output, lambda file: write_rows(file, kept, what, as_csv, which))
    err.print(f"export: {plural(count, 'row')}" + (f" in {shown(output)}" if output else ""))


def _parts_of(journal: Path) -> list[Path]:
    """List the files that a journal is made of while somebody writes it."""
    return [journal.with_name(journal.name + suffix) for suffix in ("", "-wal", "-shm", "-lock")]


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _write(path: Path | None, write: Callable[[TextIO], int]) -> int:
    """Write into the file, or to stdout; in UTF-8, whatever the terminal has."""
    try:
        with writing(path) if path is not None else nullcontext(sys.stdout.buffer) as file:
            text = TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
            try:
                count = write(text)
            finally:
                text.detach()  # or what it is made of is closed with it
            file.flush()
            return count
    except OSError as error:
        what = "stdout" if path is None else shown(path)
        fail(f"{what} cannot be written: {error.strerror}", EXIT_FAILED)


@contextmanager
def _reading(journal: Path | None) -> Iterator[History]:
    try:
        with History(journal or default_path()) as kept:
            yield kept
    except JournalError as error:
        fail(str(error), EXIT_FAILED)


def _games_table(games: Iterable[GameRecord]) -> Table:
    table = Table("when", "game", "scores", "targets", "lasted", "ended", box=box.SIMPLE_HEAD)
    for game in games:
        scores = Text()
        for player, score in sorted(zip(game.players, game.scores, strict=False), key=lambda pair: -pair[1]):
            style = "bold green" if player == game.winner else ""
            scores.append(("\n" if scores else "") + f"{score:>5}  {player}", style)
        table.add_row(
            _when(game.started_ms),
            Text(game.title or game.game),
            scores,
            str(game.targets),
            "" if game.duration_ms is None else f"{game.duration_ms / 1000:.0f} s",
            Text(game.reason or "not known to have ended", "" if game.reason == "finished" else "yellow"),
        )
    return table


def _targets_table(targets: Iterable[TargetStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("target", no_wrap=True)
    for name in ("rounds", "hits", "hit rate", "median", "best", "outages", "away", "dropped"):
        table.add_column(name, justify="right")
    for target in targets:
        table.add_row(
            Text(target.target_id),
            str(target.rounds),
            str(target.hits),
            "" if target.accuracy is None else f"{target.accuracy:.0%}",
            _milliseconds(target.median_reaction_ms),
            _milliseconds(target.best_reaction_ms),
            str(target.outages or ""),
            f"{target.outage_ms / 1000:.0f} s" if target.outage_ms else "",
            Text(str(target.dropped or ""), "bold red"),
        )
    return table


def _players_table(players: Iterable[PlayerStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("player", no_wrap=True)
    for name in ("games", "wins", "best scores", "best time"):
        table.add_column(name, justify="right")
    for player in players:
        best = "\n".join(f"{game} {score}" for game, score in sorted(player.best.items()))
        table.add_row(
            Text(player.player),
            str(player.games),
            str(player.wins),
            Text(best),
            _milliseconds(player.best_reaction_ms),
        )
    return table


def _when(unix_ms: int) -> str:
    try:
        return datetime.fromtimestamp(unix_ms / 1000).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""  # no day that there is


def _milliseconds(value: int | None) -> str:
    return "" if value is None else f"{value} ms"
