"""History: games, players, reaction times and accuracy, out of the hub's journal or the archive."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from nicegui import Client, ui

from snyper.client import Event, events
from snyper.client.labels import natural
from snyper.dashboard import charts, drawings, widgets
from snyper.dashboard.export import FORMATS, KINDS
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.history_data import ALL, GAMES_SHOWN, POINTS_SHOWN, HistoryQuery, HistoryResult, look_up
from snyper.dashboard.plot import Plot
from snyper.history.database import JournalError, NoJournalError
from snyper.history.records import GameRecord

REFRESH_S = 3.0  # at most so often, while something happens
PLAYERS_SHOWN = 100
STALE_S = 60.0  # after which it queries again though nothing happened: "24 hours" moves on
_PERIODS = {86_400: "24 hours", 7 * 86_400: "7 days", 30 * 86_400: "30 days", 0: "Always"}


class HistoryPage:
    """One browser's view of the history."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client
        self._chosen = HistoryQuery()
        self._found: HistoryResult | None = None
        self._news = True
        self._queried_s = 0.0
        with widgets.box("div", "page") as page:
            with widgets.box("div", "heading"):
                with widgets.box("div"):
                    widgets.text("h1", "History")
                    self._subtitle = widgets.text("p", "Reading …", "subtitle").props("role=status")
                with widgets.box("div", "toolbar"):
                    self._period = ui.select(_PERIODS, value=self._chosen.period_s, label="Since")
                    self._game = ui.select({ALL: "All games"}, value=ALL, label="Game")
                    self._player = ui.select({ALL: "Everybody"}, value=ALL, label="Player")
                    for choice in (self._period, self._game, self._player):
                        choice.props("dense outlined options-dense").classes("choice")
                        choice.on_value_change(self._choose)
                    self._export = self._make_export()
                    widgets.Button("Export", self._open_export, "download")
            self._body = widgets.box("div", "history")
        self._timer = ui.timer(REFRESH_S, self._refresh)
        widgets.keep_drawn(feed, page, lambda: None, self._on_event)

    def _make_export(self) -> ui.dialog:
        self._links: dict[str, ui.element] = {}
        with self._client.layout, ui.dialog() as dialog, widgets.box("section", "sheet"):
            dialog.props('aria-label="Export"')
            widgets.text("h2", "Export")
            self._exported = widgets.text("p", "", "hint")
            for what, words in KINDS.items():
                with widgets.box("div", "export"):
                    widgets.text("span", words)
                    for extension in FORMATS:
                        link = ui.element("a").props("download")
                        widgets.attributes(link, aria_label=f"{words} as {extension}")
                        with link.classes("button"):
                            widgets.text("span", extension.upper())
                        self._links[f"/export/{what}.{extension}"] = link
            widgets.text("p", "CSV is for spreadsheets; JSON has an object on each line.", "hint")
            widgets.Button("Close", dialog.close, kind="wide")
        return dialog

    def _open_export(self) -> None:
        """Open the dialog to export what is shown."""
        chosen = self._chosen
        words = [_PERIODS[chosen.period_s], self._title(chosen.game) or "all games"]
        widgets.set_text(self._exported, ", ".join([*words, chosen.player or "everybody"]))
        asked = {"period_s": chosen.period_s, "game": chosen.game, "player": chosen.player}
        query = urlencode({name: value for name, value in asked.items() if value})
        for path, link in self._links.items():
            widgets.set_prop(link, "href", f"{path}?{query}" if query else path)
        self._export.open()

    def _title(self, game: str) -> str:
        return self._found.kinds.get(game, game) if self._found is not None else game

    def _on_event(self, event: Event) -> None:
        if events.HISTORY in events.kind_of(event).changes:
            self._news = True

    async def _choose(self) -> None:
        chosen = HistoryQuery(
            int(self._period.value or 0), self._game.value or ALL, self._player.value or ALL
        )
        if chosen != replace(self._chosen, page=0):
            await self._query(chosen)

    async def _turn(self, by: int) -> None:
        await self._query(replace(self._chosen, page=max(0, self._chosen.page + by)))

    async def _query(self, chosen: HistoryQuery) -> None:
        self._chosen = chosen
        self._news = True
        await self._refresh()

    async def _refresh(self) -> None:
        now_s = time.monotonic()
        if not self._news and now_s - self._queried_s < STALE_S:
            return
        self._news, self._queried_s = False, now_s
        store, chosen = self._feed.store, self._chosen
        try:
            await asyncio.to_thread(store.flush, 1.0)
            found = await asyncio.to_thread(look_up, store.path, chosen)
        except NoJournalError:  # none was needed yet
            found = HistoryResult()
        except JournalError as error:
            widgets.set_text(self._subtitle, f"The history cannot be read: {error}")
            return
        if chosen != self._chosen:  # meanwhile somebody has asked for something else
            return
        self._chosen = replace(chosen, page=found.page)
        if not self._body.is_deleted and found != self._found:
            self._found = found
            self._draw(found)

    def _draw(self, found: HistoryResult) -> None:
        hits = sum(target.hits for target in found.targets)
        rounds = hits + sum(target.misses for target in found.targets)
        is_empty = not rounds and not found.count
        words = f"{widgets.plural(found.count, 'game')}, {widgets.plural(hits, 'hit')}"
        widgets.set_text(self._subtitle, "Nothing has happened yet" if is_empty else words)
        self._set_choices(found)
        self._body.clear()
        with self._body:
            if is_empty:
                self._draw_nothing()
                return
            self._draw_stats(found, hits, rounds)
            self._draw_plots(found)
            self._draw_tables(found)

    def _set_choices(self, found: HistoryResult) -> None:
        """Set what can be chosen. What is chosen stays so, though the history may have let go of it."""
        chosen = self._chosen
        kinds, names = dict(found.kinds), {name: name for name in found.names}
        for choice, value, options in (
            (self._game, chosen.game, kinds),
            (self._player, chosen.player, names),
        ):
            every = {ALL: "All games" if choice is self._game else "Everybody"}
            wanted = {**every, value: value, **options} if value else {**every, **options}
            if choice.options != wanted:
                choice.set_options(wanted, value=value)

    def _draw_nothing(self) -> None:
        with widgets.box("section", "empty") as empty:
            widgets.svg(drawings.TARGET)
            widgets.text("h2", "Nothing to show for this time")
            widgets.text("p", "Every hit, miss and game is kept from now on, also those while nobody looks.")
        empty.props("data-state=down")

    def _draw_stats(self, found: HistoryResult, hits: int, rounds: int) -> None:
        best = found.times[0] if found.times else None
        fastest = min(
            (one.best_reaction_ms for one in found.targets if one.best_reaction_ms is not None), default=None
        )
        leader = next((one for one in found.players if one.wins), None)  # the one with the most comes first
        with widgets.box("dl", "stats"):
            figure("Hits", f"{hits:,}", f"of {widgets.plural(rounds, 'round')}")
            figure(
                "Accuracy", f"{round(100 * hits / rounds)} %" if rounds else "–", "hits of hits and misses"
            )
            whose = best.player if best is not None and best.reaction_ms == fastest else ""
            figure("Fastest", f"{fastest} ms" if fastest is not None else "–", whose)
            wins = widgets.plural(leader.wins, "win") if leader else ""
            figure("Most wins", leader.player if leader else "–", wins)

    def _draw_plots(self, found: HistoryResult) -> None:
        points = {
            name: [(float(unix_ms), float(reaction_ms)) for unix_ms, reaction_ms in hits]
            for name, hits in sorted(found.reactions.items(), key=lambda pair: natural(pair[0]))
        }
        is_cut = any(len(hits) == POINTS_SHOWN for hits in found.reactions.values())
        ranked = sorted(found.targets, key=lambda target: natural(target.target_id))
        counts = [(target.target_id, target.hits, target.misses) for target in ranked]
        with widgets.box("div", "plots"):
            with widgets.box("section", "panel"):
                widgets.text("h2", "Reaction times")
                if is_cut:
                    widgets.text("p", f"The last {POINTS_SHOWN} of each target", "hint")
                plot = Plot(charts.reactions(points)).classes("plot").props("role=img")
                widgets.attributes(plot, aria_label=charts.describe(points, "Reaction times in milliseconds"))
            with widgets.box("section", "panel"):
                widgets.text("h2", "Accuracy of each target")
                bars = Plot(charts.accuracy(counts)).classes("plot").props("role=img")
                words = [f"{name}: {hits} of {hits + misses}" for name, hits, misses in counts]
                widgets.attributes(bars, aria_label=f"Hits of all: {', '.join(words) or 'none'}")
                bars.style(f"height:{max(9, 3 + 2.5 * len(counts))}rem")

    def _draw_tables(self, found: HistoryResult) -> None:
        with widgets.box("section", "panel"):
            widgets.text("h2", "Games")
            table(
                ("When", "Game", "Players", "Took", "Ended"),
                [
                    (
                        when(game.started_ms),
                        game.title or game.game,
                        scores_of(game),
                        "–" if game.duration_ms is None else widgets.duration(game.duration_ms / 1000),
                        _REASONS.get(game.reason, game.reason) or self._not_ended(game),
                    )
                    for game in found.games
                ],
                "No such game in this time.",
            )
            self._draw_pager(found)
        with widgets.box("div", "plots"):
            with widgets.box("section", "panel"):
                widgets.text("h2", "Best times")
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
                    "No such hit in a game in this time.",
                )
            with widgets.box("section", "panel"):
                widgets.text("h2", "Players")
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
                        for one in found.players[:PLAYERS_SHOWN]
                    ],
                    "Nobody has played such a game to its end in this time.",
                )
                cut = widgets.shown_of(min(PLAYERS_SHOWN, len(found.players)), len(found.players), "player")
                if cut:
                    widgets.text("p", f"{cut}: choose one above to see another", "hint")

    def _not_ended(self, game: GameRecord) -> str:
        now = self._feed.model.game
        return "not yet" if (now.status, now.game_id) == ("running", game.game_id) else "not known"

    def _draw_pager(self, found: HistoryResult) -> None:
        """Draw the pager, where there is more than a page of games."""
        if found.pages == 1:
            return
        first = found.page * GAMES_SHOWN
        with widgets.box("nav", "pager").props('aria-label="Pages of games"'):
            previous = widgets.Button("Previous", lambda: self._turn(-1), label="Previous page: newer games")
            previous.bar("" if found.page else "These are the newest")
            widgets.text("span", f"{first + 1:,} to {first + len(found.games):,} of {found.count:,}")
            following = widgets.Button("Next", lambda: self._turn(1), label="Next page: older games")
            following.bar("" if found.page + 1 < found.pages else "These are the oldest")


_REASONS = {"finished": "finished", "stopped": "stopped", "no_targets": "no target left", "fault": "failed"}


def figure(name: str, value: str, more: str) -> None:
    """Draw one large number."""
    with widgets.box("div"):
        widgets.text("dt", name)
        widgets.text("dd", value)
        widgets.text("dd", more, "more")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """Draw a table that becomes a list on a phone; `nothing` is said when it has no rows."""
    rows = list(rows)
    if not rows:
        widgets.text("p", nothing, "hint")
        return
    with widgets.box("div", "table").props("tabindex=0"), widgets.box("table"):
        with widgets.box("thead"), widgets.box("tr"):
            for head in heads:
                widgets.text("th", head).props("scope=col")
        with widgets.box("tbody"):
            for row in rows:
                with widgets.box("tr"):
                    for head, value in zip(heads, row, strict=True):
                        widgets.attributes(widgets.text("td", value), data_head=head)


def when(unix_ms: int) -> str:
    """Format the time of today, else also the day, and of another year that."""
    now, then = time.localtime(), time.localtime(unix_ms / 1000)
    if then.tm_year != now.tm_year:
        return time.strftime("%d %b %Y %H:%M", then)
    return time.strftime("%H:%M" if then.tm_yday == now.tm_yday else "%d %b %H:%M", then)


def scores_of(game: GameRecord) -> str:
    """Format the scores, the best first: Anna 12 ★, Bert 9."""
    pairs = sorted(zip(game.players, game.scores, strict=False), key=lambda pair: -pair[1])
    return ", ".join(f"{player} {score}{' ★' if player == game.winner else ''}" for player, score in pairs)
