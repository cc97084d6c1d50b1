"""History: games, players, reaction times and accuracy, out of the dashboard's own archive."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nicegui import Client, ui

from snyper.client import Event
from snyper.dashboard import charts, drawings, parts
from snyper.dashboard.export import FORMATS, KINDS
from snyper.dashboard.keeper import Keeper
from snyper.dashboard.plot import Plot
from snyper.history import BestTime, GameRecord, History, PlayerStats, ReportRecord, TargetStats
from snyper.journal import JournalError
from snyper.screens import natural

REFRESH_S = 3.0  # at most so often, while something happens
GAMES_SHOWN = 50
TIMES_SHOWN = 10
POINTS_SHOWN = 400  # of each target, the newest
_PERIODS = {86_400: "24 hours", 7 * 86_400: "7 days", 30 * 86_400: "30 days", 0: "Always"}
_ALL = ""


@dataclass(frozen=True)
class Chosen:
    """What is asked for; empty means any. `period_s` 0 means always."""

    period_s: int = 7 * 86_400
    game: str = _ALL
    player: str = _ALL


@dataclass(frozen=True)
class Found:
    """What the archive has of that."""

    games: list[GameRecord] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)  # name and title of every game ever played
    names: list[str] = field(default_factory=list)  # everybody who ever played
    players: list[PlayerStats] = field(default_factory=list)
    times: list[BestTime] = field(default_factory=list)
    targets: list[TargetStats] = field(default_factory=list)
    reactions: dict[str, list[ReportRecord]] = field(default_factory=dict)


def look_up(path: Path, chosen: Chosen) -> Found:
    """Reads the archive. Takes a moment. Raises JournalError."""
    since_ms = round((time.time() - chosen.period_s) * 1000) if chosen.period_s else None
    game, player = chosen.game or None, chosen.player or None
    with History(path) as history:
        ever = history.games()
        return Found(
            games=history.games(player, game, since_ms, GAMES_SHOWN),
            kinds={record.game: record.title or record.game for record in ever},
            names=sorted({name for record in ever for name in record.players}),
            players=[one for one in history.players(since_ms) if player in (None, one.player)],
            times=history.best_times(TIMES_SHOWN, player, game, since_ms),
            targets=history.targets(since_ms),
            reactions=history.reactions(since_ms),
        )


class HistoryPage:
    """One browser's look into the archive."""

    def __init__(self, keeper: Keeper, client: Client) -> None:
        self._keeper = keeper
        self._client = client
        self._chosen = Chosen()
        self._found: Found | None = None
        self._news = True
        with parts.box("div", "page") as page:
            with parts.box("div", "heading"):
                with parts.box("div"):
                    parts.text("h1", "History")
                    self._subtitle = parts.text("p", "Reading …", "subtitle").props("role=status")
                with parts.box("div", "toolbar"):
                    self._period = ui.select(_PERIODS, value=self._chosen.period_s, label="Since")
                    self._game = ui.select({_ALL: "All games"}, value=_ALL, label="Game")
                    self._player = ui.select({_ALL: "Everybody"}, value=_ALL, label="Player")
                    for choice in (self._period, self._game, self._player):
                        choice.props("dense outlined options-dense").classes("choice")
                        choice.on_value_change(self._choose)
                    parts.Button("Export", self._make_export().open, "download")
            self._body = parts.box("div", "history")
        self._timer = ui.timer(REFRESH_S, self._refresh)
        parts.keep_drawn(keeper, page, self._note)

    def _make_export(self) -> ui.dialog:
        with self._client.layout, ui.dialog() as dialog, parts.box("section", "sheet"):
            dialog.props('aria-label="Export"')
            parts.text("h2", "Export")
            for what, words in KINDS.items():
                with parts.box("div", "export"):
                    parts.text("span", words)
                    for extension in FORMATS:
                        link = (
                            f'href="/export/{what}.{extension}" download aria-label="{words} as {extension}"'
                        )
                        with ui.element("a").props(link).classes("button"):
                            parts.text("span", extension.upper())
            parts.text("p", "CSV is for spreadsheets; JSON has an object on each line.", "hint")
            parts.Button("Close", dialog.close, kind="wide")
        return dialog

    def _note(self, event: Event | None) -> None:
        if event is not None and event.event in ("hit", "miss", "game_started", "game_over"):
            self._news = True

    async def _choose(self) -> None:
        chosen = Chosen(int(self._period.value or 0), self._game.value or _ALL, self._player.value or _ALL)
        if chosen != self._chosen:
            self._chosen = chosen
            self._news = True
            await self._refresh()

    async def _refresh(self) -> None:
        if not self._news:
            return
        self._news = False
        journal = self._keeper.archive
        try:
            await asyncio.to_thread(journal.flush, 1.0)
            found = await asyncio.to_thread(look_up, journal.path, self._chosen)
        except JournalError as error:
            parts.set_text(self._subtitle, f"The archive cannot be read: {error}")
            return
        if not self._body.is_deleted and found != self._found:
            self._found = found
            self._draw(found)

    def _draw(self, found: Found) -> None:
        hits = sum(target.hits for target in found.targets)
        rounds = hits + sum(target.misses for target in found.targets)
        words = (
            f"{parts.plural(len(found.games), 'game')}, {parts.plural(hits, 'hit')}"
            if rounds or found.games
            else ""
        )
        parts.set_text(self._subtitle, words or "Nothing has happened yet")
        self._game.set_options({_ALL: "All games", **found.kinds}, value=self._chosen.game)
        self._player.set_options(
            {_ALL: "Everybody", **{name: name for name in found.names}}, value=self._chosen.player
        )
        self._body.clear()
        with self._body:
            if not rounds and not found.games:
                self._draw_nothing()
                return
            self._draw_figures(found, hits, rounds)
            self._draw_plots(found)
            self._draw_tables(found)

    def _draw_nothing(self) -> None:
        with parts.box("section", "empty") as empty:
            parts.svg(drawings.TARGET)
            parts.text("h2", "Nothing to show for this time")
            parts.text("p", "Every hit, miss and game is kept from now on, also those while nobody looks.")
        empty.props("data-state=down")

    def _draw_figures(self, found: Found, hits: int, rounds: int) -> None:
        best = found.times[0] if found.times else None
        fastest = min(
            (report.reaction_ms or 0 for reports in found.reactions.values() for report in reports),
            default=None,
        )
        leader = found.players[0] if found.players else None
        with parts.box("dl", "figures"):
            figure("Hits", f"{hits:,}", f"of {rounds:,} rounds")
            figure(
                "Accuracy", f"{round(100 * hits / rounds)} %" if rounds else "–", "hits of hits and misses"
            )
            whose = best.player if best is not None and best.reaction_ms == fastest else ""
            figure("Fastest", f"{fastest} ms" if fastest is not None else "–", whose)
            wins = parts.plural(leader.wins, "win") if leader else ""
            figure("Most wins", leader.player if leader else "–", wins)

    def _draw_plots(self, found: Found) -> None:
        points = {
            name: [
                (float(report.unix_ms), float(report.reaction_ms or 0)) for report in reports[-POINTS_SHOWN:]
            ]
            for name, reports in sorted(found.reactions.items(), key=lambda pair: natural(pair[0]))
        }
        ranked = sorted(found.targets, key=lambda target: natural(target.target_id))
        counts = [
            (target.target_id, target.hits, target.misses) for target in ranked if target.hits + target.misses
        ]
        with parts.box("div", "plots"):
            with parts.box("section", "panel"):
                parts.text("h2", "Reaction times")
                plot = Plot(charts.reactions(points)).classes("plot").props("role=img")
                plot._props["aria-label"] = charts.describe(points, "Reaction times in milliseconds")
            with parts.box("section", "panel"):
                parts.text("h2", "Accuracy of each target")
                bars = Plot(charts.accuracy(counts)).classes("plot").props("role=img")
                words = [f"{name}: {hits} of {hits + misses}" for name, hits, misses in counts]
                bars._props["aria-label"] = f"Hits of all: {', '.join(words) or 'none'}"
                bars.style(f"height:{max(9, 3 + 2.5 * len(counts))}rem")

    def _draw_tables(self, found: Found) -> None:
        with parts.box("section", "panel"):
            parts.text("h2", "Games")
            table(
                ("When", "Game", "Players", "Took", "Ended"),
                [
                    (
                        when(game.started_ms),
                        game.title or game.game,
                        scores_of(game),
                        "–" if game.duration_ms is None else parts.duration(game.duration_ms / 1000),
                        _REASONS.get(game.reason, game.reason or "not yet"),
                    )
                    for game in found.games
                ],
                "No game in this time.",
            )
        with parts.box("div", "plots"):
            with parts.box("section", "panel"):
                parts.text("h2", "Best times")
                table(
                    ("", "Time", "Player", "Game", "Target"),
                    [
                        (
                            f"{at}.",
                            f"{best.reaction_ms} ms",
                            best.player,
                            found.kinds.get(best.game, best.game),
                            best.target_id,
                        )
                        for at, best in enumerate(found.times, 1)
                    ],
                    "No hit in a game in this time.",
                )
            with parts.box("section", "panel"):
                parts.text("h2", "Players")
                table(
                    ("Player", "Games", "Wins", "Best time", "Last played"),
                    [
                        (
                            one.player,
                            str(one.games),
                            str(one.wins),
                            "–" if one.best_reaction_ms is None else f"{one.best_reaction_ms} ms",
                            when(one.last_ms),
                        )
                        for one in found.players
                    ],
                    "Nobody has played a game to its end in this time.",
                )


_REASONS = {"finished": "finished", "stopped": "stopped", "no_targets": "no target left", "fault": "failed"}


def figure(name: str, value: str, more: str) -> None:
    """One large number."""
    with parts.box("div"):
        parts.text("dt", name)
        parts.text("dd", value)
        parts.text("dd", more, "more")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """A table that becomes a list on a phone; `nothing` is said when it has no rows."""
    rows = list(rows)
    if not rows:
        parts.text("p", nothing, "hint")
        return
    with parts.box("div", "table").props("tabindex=0"), parts.box("table"):
        with parts.box("thead"), parts.box("tr"):
            for head in heads:
                parts.text("th", head).props("scope=col")
        with parts.box("tbody"):
            for row in rows:
                with parts.box("tr"):
                    for head, value in zip(heads, row, strict=True):
                        parts.text("td", value).props(f'data-head="{head}"')


def when(unix_ms: int) -> str:
    """The time today, else also the day."""
    then = time.localtime(unix_ms / 1000)
    today = time.strftime("%Y%m%d") == time.strftime("%Y%m%d", then)
    return time.strftime("%H:%M" if today else "%d %b %H:%M", then)


def scores_of(game: GameRecord) -> str:
    """Anna 12 ★, Bert 9: the best first."""
    pairs = sorted(zip(game.players, game.scores, strict=False), key=lambda pair: -pair[1])
    return ", ".join(f"{player} {score}{' ★' if player == game.winner else ''}" for player, score in pairs)
