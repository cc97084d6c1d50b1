"""Game: choose one, play it, and see it on the wall."""

import time

from nicegui import Client, ui

from snyper.client.game_state import ranking
from snyper.client.labels import counted
from snyper.dashboard import drawings, widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.game_form import Form
from snyper.dashboard.model import Model
from snyper.dashboard.units import split_unit

_TICK_S = 0.1
_REASONS = {
    "finished": "Finished",
    "stopped": "Stopped",
    "no_targets": "Over: no target is left",
    "fault": "Over: the game failed, the hub's log says why",
}


class GamePage:
    """One browser's game: the scoreboard, and the form for the next one."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client
        with widgets.box("div", "page game") as page:
            with widgets.box("div", "heading"):
                with widgets.box("div"):
                    widgets.text("h1", "Game")
                    self._subtitle = widgets.text("p", "", "subtitle")
                with widgets.box("div", "toolbar"):
                    self._stop = widgets.Button("Stop the game", self._stop_game, "stop", "danger")
                    wall = widgets.box("button", "button").props('type=button title="F; Esc ends it"')
                    with wall:
                        widgets.svg(drawings.icon("wall"))
                        widgets.text("span", "Whole screen")
                    wall.on("click", js_handler="() => snyper.toggleWall()")
            with widgets.box("div", "columns") as self._columns:
                self._board = Board(feed)
                self._form = Form(feed, client)
        widgets.keep_drawn(feed, page, self._draw)

    def _draw(self) -> None:
        model = self._feed.model
        running = model.game.status == "running"
        self._stop.set_visibility(running)
        self._stop.bar("" if model.online else widgets.HUB_LOST)
        widgets.set_prop(self._columns, "data-game", model.game.status)
        if not model.online:
            words = f"{widgets.HUB_LOST}: what is shown is what it said last"
        elif model.games is None:
            words = "This hub plays no games: put the current firmware on it"
        elif running:
            words = "A game runs; the next one can start when it is over"
        else:
            words = "Choose a game, say who plays, start"
        widgets.set_text(self._subtitle, words)
        self._form.draw()

    async def _stop_game(self) -> None:
        await widgets.ask(
            self._feed, self._client, "Stop the game", lambda hub: hub.stop_game(), widgets.GAME_ADVICE
        )


class Board:
    """The scoreboard: readable from where one shoots."""

    def __init__(self, feed: HubFeed) -> None:
        self._feed = feed
        self._rows: list[Row] = []
        self._count = 0
        with widgets.box("section", "board").props('aria-label="Scoreboard"') as self.element:
            with widgets.box("header"):
                with widgets.box("div"):
                    self._title = widgets.text("h2")
                    self._status = widgets.text("p", "", "status").props("role=status")
                self._progress_text = widgets.text("p", "", "progress-text")
            with widgets.box("div", "progress").props(
                "role=progressbar aria-label=Progress"
            ) as self._progress:
                self._bar = widgets.box("div", "bar")
            self._verdict = widgets.text("p", "", "verdict").props("role=status")
            with widgets.box("div", "rows") as self._row_box:
                pass
            self._results = widgets.box("dl", "results")
            self._note = widgets.text("p", "", "note").props("role=status")
            self._shots = widgets.box("ol", "shots").props('aria-label="Last shots"')
            with widgets.box("div", "countdown") as self._countdown:
                self._count_text = widgets.text("span")
                self._count_hint = widgets.text("small", "Get ready")
            with widgets.box("div", "idle") as self._idle:
                widgets.svg(drawings.TARGET)
                widgets.text("h2", "No game has been played yet")
                widgets.text("p", "The scoreboard comes here. “Whole screen” puts it on the wall.", "hint")
            self._idle.props("data-state=standing")
        self._timer = ui.timer(_TICK_S, self._tick, active=False)
        self._shown: tuple[object, ...] = ()
        widgets.keep_drawn(feed, self.element, self._draw)

    def _draw(self) -> None:
        model = self._feed.model
        game = model.game
        state = (game, model.note, model.winner, len(model.shots), tuple(model.shots), model.online)
        counting = game.status == "running" and self._left_us() > 0
        self._timer.active = counting
        if state == self._shown:
            return
        self._shown = state
        widgets.set_prop(self.element, "data-status", game.status)
        title = next((info.title for info in model.games or [] if info.name == game.game), game.game)
        widgets.set_text(self._title, title)
        widgets.set_text(self._status, self._status_words(model))
        self._draw_progress(model)
        self._draw_rows(model)
        self._draw_end(model)
        widgets.set_text(self._note, model.note if game.status == "running" else "")
        self._draw_shots(model)
        self._tick()

    def _status_words(self, model: Model) -> str:
        game = model.game
        if game.status == "over":
            return _REASONS.get(game.reason, game.reason)
        if not model.online:
            return f"{widgets.HUB_LOST}: what is shown is what it said last"
        words = widgets.plural(game.targets, "target")
        return f"{game.turn}’s turn, {words}" if game.turn else words

    def _draw_progress(self, model: Model) -> None:
        game = model.game
        known = game.total > 0
        self._progress.set_visibility(known)
        share = min(100, 100 * game.done // game.total) if known else 0
        widgets.set_prop(self._progress, "aria-valuenow", str(share))
        self._bar.style(f"width:{share}%")
        if game.unit == "ms":
            words = f"{max(0, game.total - game.done) / 1000:.0f} s left" if game.status == "running" else ""
        else:
            words = f"{game.done} of {counted(game.total, game.unit)}" if known else ""
        widgets.set_text(self._progress_text, words)

    def _draw_rows(self, model: Model) -> None:
        ranked = ranking(model.game)
        if len(self._rows) != len(ranked):
            self._row_box.clear()
            with self._row_box:
                self._rows = [Row() for _ in ranked]
            self._row_box.style(f"--rows:{max(1, len(ranked))}")
        over = model.game.status == "over"
        for row, (place, player, score) in zip(self._rows, ranked, strict=True):
            wins = over and player == model.winner
            row.draw(place, player, score, player == model.game.turn, wins)
            row.draw_results(own_results(model, player) if over else "")

    def _draw_end(self, model: Model) -> None:
        game = model.game
        over = game.status == "over" and game.reason == "finished"
        verdict = ""
        if over and len(game.players) > 1:
            verdict = f"{model.winner} wins" if model.winner else "A draw"
        widgets.set_text(self._verdict, verdict)
        self._verdict.set_visibility(bool(verdict))
        self._results.clear()
        with self._results:
            for name, value in model.results.items() if game.status == "over" else ():
                if value is not None and not isinstance(value, list):
                    with widgets.box("div"):
                        label, unit = split_unit(name)
                        widgets.text("dt", label)
                        widgets.text("dd", f"{value} {unit}".strip())

    def _draw_shots(self, model: Model) -> None:
        self._shots.clear()
        with self._shots:
            for shot in model.shots:
                with widgets.box("li"):
                    widgets.text(
                        "strong", f"{shot.points:+d}", "points" if shot.points > 0 else "points minus"
                    )
                    widgets.text("span", shot.player)
                    more = [shot.target_id, shot.text]
                    if shot.reaction_ms is not None:
                        more.insert(1, f"{shot.reaction_ms} ms")
                    widgets.text("span", " · ".join(word for word in more if word), "more")

    def _left_us(self) -> int:
        hub_us = self._feed.model.hub_us(time.monotonic())
        return self._feed.model.game.starts_at_us - hub_us if hub_us is not None else 0

    def _tick(self) -> None:
        """Show the countdown, a number a second."""
        left_us = self._left_us() if self._feed.model.game.status == "running" else 0
        count = -(-left_us // 1_000_000) if left_us > 0 else 0
        if count != self._count:
            widgets.set_text(self._count_text, str(count))
            # Two names for one animation: each number starts it anew.
            widgets.set_prop(self._count_text, "data-beat", str(count % 2))
            sound = "tick" if count else "go"
            self.element.client.run_javascript(f"snyper.heard('{sound}')")
        self._count = count
        self._countdown.set_visibility(count > 0)
        if not count:
            self._timer.active = False


class Row:
    """One player."""

    def __init__(self) -> None:
        with widgets.box("div", "row-player") as self.element:
            self._place = widgets.text("span", "", "place")
            with widgets.box("span", "who"):
                self._player = widgets.text("span", "", "player")
                self._results = widgets.text("small")
            self._mark = widgets.text("span", "", "mark")
            self._score = widgets.text("span", "", "score")

    def draw(self, place: int, player: str, score: int, has_turn: bool, wins: bool) -> None:
        widgets.set_text(self._place, f"{place}")
        widgets.set_text(self._player, player)
        widgets.set_text(self._score, f"{score:,}")
        widgets.set_text(self._mark, "★ winner" if wins else "▸ now" if has_turn else "")
        widgets.set_prop(self.element, "data-turn", str(has_turn).lower())
        widgets.set_prop(self.element, "data-wins", str(wins).lower())

    def draw_results(self, words: str) -> None:
        """Draw what the game says of this player beside the score."""
        widgets.set_text(self._results, words)


def own_results(model: Model, player: str) -> str:
    """Format this player's of the results that a game has for each player: 8 hits · best 282 ms · level 3.
    What there is none of is left out.
    """
    at = model.game.players.index(player)
    found = []
    for name, values in model.results.items():
        if isinstance(values, list) and len(values) == len(model.game.players) and values[at] is not None:
            label, unit = split_unit(name)
            words = label.lower()
            is_count = not unit and words.partition(" ")[0].endswith("s")
            found.append(counted(values[at], words) if is_count else f"{words} {values[at]} {unit}".strip())
    return " · ".join(found)
