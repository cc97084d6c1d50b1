"""The form that starts a game: which, who plays, with what."""

import random
from functools import partial
from typing import Any

from nicegui import Client, ui

from snyper.client import GameInfo, GameOption
from snyper.dashboard import widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.units import split_unit
from snyper.shared.names import normalised, visible
from snyper.shared.socket_protocol import ALL_TARGETS, GROUP_PREFIX, MAX_PLAYER_CHARS, MAX_PLAYERS
from snyper.system.text import harmless

MAX_SEED = 2**31 - 1
MAX_NAMES = 120  # of targets to choose one from: of more, those that are to play are put into a group


class Form:
    """The next game. What was chosen last is offered again: `_last` is shared by all browsers."""

    _last_players: tuple[str, ...] = ()

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client
        self._games: list[GameInfo] | None = None
        self._chosen: GameInfo | None = None
        self._fields: dict[str, Any] = {}
        self._players = list(Form._last_players)
        self._selectors: list[str] = []
        with widgets.box("section", "form").props('aria-label="New game"') as self.element:
            widgets.text("h2", "New game")
            self._tiles = widgets.box("div", "tiles").props('role=radiogroup aria-label="Which game"')
            self._rules = widgets.text("p", "", "rules")
            with widgets.box("div", "field"):
                widgets.text("h3", "Players")
                self._chips = widgets.box("div", "chips")
                with widgets.box("div", "add"):
                    self._name = (
                        ui.input(placeholder="Name, then Enter", on_change=self.draw)
                        .props('dense outlined aria-label="Name of a player"')
                        .on("keydown.enter.prevent", self._add_player)
                    )
                    widgets.attributes(self._name, maxlength=str(MAX_PLAYER_CHARS))
                    widgets.Button("Add", self._add_player, "plus")
            with widgets.box("details", "field") as self._details:
                with widgets.box("summary"):
                    widgets.text("h3", "Options, targets, seed")
                self._option_box = widgets.box("div", "options")
                with widgets.box("div", "options"):
                    self._make_choices()
            self._problem = widgets.text("p", "", "problem").props("role=status")
            self._start = widgets.Button("Start", self._start_game, "play", "primary wide big")
        self._draw_players()

    def _make_choices(self) -> None:
        self._target = ui.select({}, label="Targets", on_change=self.draw).props("outlined")
        self._seed = ui.number("Seed", min=0, max=MAX_SEED, precision=0, format="%d").props(
            'outlined clearable hint="The same seed, the same order"'
        )
        with self._seed.add_slot("append"):
            widgets.Button("", self._roll, "shuffle", "ghost", "Choose a seed")

    def draw(self) -> None:
        """Draw what the hub can play, and with whom."""
        model = self._feed.model
        self.element.set_visibility(model.games is not None)
        if model.games is not None and model.games != self._games:
            self._games = model.games
            self._draw_tiles()
        overview = model.overview()
        selectors = [ALL_TARGETS, *(GROUP_PREFIX + group for group in overview.groups)]
        selectors = selectors[: MAX_NAMES + 1] + overview.names[:MAX_NAMES]
        if selectors != self._selectors:
            self._selectors = selectors
            chosen = self._target.value if self._target.value in selectors else ALL_TARGETS
            self._target.set_options({name: _selector_words(name) for name in selectors}, value=chosen)
        problem = self._find_problem()
        widgets.set_text(self._problem, problem)
        self._start.bar(problem)

    def _find_problem(self) -> str:
        model, game = self._feed.model, self._chosen
        if not model.online:
            return widgets.HUB_LOST
        if model.game.status == "running":
            return "A game runs"
        if game is None:
            return "Choose a game"
        players = len({*self._players, self._typed_name()} - {""})
        if players < game.min_players:
            return f"{widgets.plural(game.min_players, 'player')} needed, {players} so far"
        if players > game.max_players:
            return f"{game.title} is for at most {widgets.plural(game.max_players, 'player')}"
        here = model.connected(self._target.value or ALL_TARGETS)
        if here < game.min_targets:
            return f"{widgets.plural(game.min_targets, 'target')} needed, {here} here"
        return ""

    def _draw_tiles(self) -> None:
        self._tiles.clear()
        with self._tiles:
            for game in self._games or []:
                tile = widgets.Button(game.title, lambda game=game: self._choose(game), kind="tile")  # type: ignore[misc]
                widgets.attributes(tile, role="radio", data_game=game.name)
        names = [game.name for game in self._games or []]
        if self._games:
            last = self._chosen.name if self._chosen is not None and self._chosen.name in names else names[0]
            self._choose(next(game for game in self._games if game.name == last))

    def _choose(self, game: GameInfo) -> None:
        self._chosen = game
        for tile in self._tiles:
            widgets.set_prop(
                tile, "aria-checked", str(tile._props["data-game"] == harmless(game.name)).lower()
            )
        players = f"{game.min_players} to {game.max_players} players"
        if game.min_players == game.max_players:
            players = widgets.plural(game.max_players, "player")
        widgets.set_text(self._rules, f"{game.rules} For {players}.")
        self._option_box.clear()
        with self._option_box:
            self._fields = {option.name: option_field(option) for option in game.options}
            if not game.options:
                widgets.text("p", "This game has none.", "hint")
        self.draw()

    def _typed_name(self) -> str:
        """Return the name in the field: `Start` takes it along."""
        return normalised(visible(self._name.value or ""))[:MAX_PLAYER_CHARS]

    def _add_player(self) -> None:
        """Add the player whose name is in the field, if any is."""
        name = self._typed_name()
        if name in self._players:
            widgets.notice(self._client, f"{name} plays already", "Give the other one another name.")
        elif name and len(self._players) >= MAX_PLAYERS:
            widgets.notice(self._client, f"{MAX_PLAYERS} play already", "Take somebody off the list first.")
        elif name:
            self._take(name)

    def _take(self, name: str) -> None:
        self._players.append(name)
        self._name.set_value("")
        self._draw_players()
        self.draw()

    def _remove_player(self, name: str) -> None:
        self._players.remove(name)
        self._draw_players()
        self.draw()

    def _draw_players(self) -> None:
        self._chips.clear()
        with self._chips:
            for name in self._players:
                with widgets.box("span", "chip large"):
                    widgets.text("span", name)
                    remove = partial(self._remove_player, name)
                    widgets.Button("", remove, "close", "tiny", f"Take {name} off")

    def _roll(self) -> None:
        self._seed.set_value(random.randrange(MAX_SEED))

    async def _start_game(self) -> None:
        game = self._chosen
        problem = self._find_problem()
        if problem:  # since the button was drawn
            widgets.notice(self._client, problem)
            return
        if self._typed_name() not in ("", *self._players):
            self._take(self._typed_name())
        if game is None or not all(field.validate() for field in self._fields.values()):
            self._details.props("open")
            widgets.notice(self._client, "An option is out of its range", "It is marked in the form.")
            return
        options = {
            option.name: value if isinstance(value, str) else int(value)
            for option in game.options
            if (value := self._fields[option.name].value) is not None and value != ""
        }
        Form._last_players = tuple(self._players)
        seed = None if self._seed.value is None else int(self._seed.value)
        self._client.run_javascript("window.scrollTo({top: 0})")
        await widgets.ask(
            self._feed,
            self._client,
            f"Start {game.title}",
            lambda hub: hub.start_game(game.name, self._players, options, seed, self._target.value),
            widgets.GAME_ADVICE,
        )


def option_field(option: GameOption) -> Any:
    """Build a field for one option, with its unit, limits and meaning."""
    label, unit = split_unit(option.name)
    if option.choices:
        every = list(dict.fromkeys([*option.choices, str(option.default)]))  # whatever the hub says
        field: Any = ui.select(every, value=str(option.default), label=label)
    elif isinstance(option.default, str):
        field = ui.input(label, value=option.default)
    else:
        low, high = option.low, option.high
        limits = f"{low} to {high} {unit}".strip()
        field = ui.number(
            label,
            value=option.default,
            min=low,
            max=high,
            precision=0,
            format="%d",
            suffix=unit or None,
            validation={limits: lambda value: _is_within(value, low, high)},
        )
    field.props("outlined")
    return widgets.attributes(field, hint=option.meaning)


def _is_within(value: object, low: int | None, high: int | None) -> bool:
    if not isinstance(value, int | float):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _selector_words(selector: str) -> str:
    if selector == ALL_TARGETS:
        return "All targets"
    if selector.startswith(GROUP_PREFIX):
        return f"Group {selector[len(GROUP_PREFIX) :]}"
    return f"Only {selector}"
