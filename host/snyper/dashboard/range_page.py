"""Range: every target as it stands, and what one can tell it, a group, or all of them to do."""

from collections.abc import Callable
from typing import Any

from nicegui import Client, ui

from snyper.client.labels import state_word
from snyper.dashboard import drawings, widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.range_commands import RangeCommands
from snyper.dashboard.target_card import Card, take_drops
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    GROUP_PREFIX,
)
from snyper.system import steady

MAX_CARDS = 64  # drawn at once; a browser gets slow with more, and a person sees no more
NEW_CARDS = 8  # made at one drawing
FILTER_FROM = 13  # targets, from which on one wants to look for a name

_DURATIONS = {1_000: "1 s", 2_000: "2 s", 5_000: "5 s", 10_000: "10 s", 30_000: "30 s", 60_000: "1 min"}


class RangePage:
    """One browser's range."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self.feed = feed
        self.client = client
        self.scope = ALL_TARGETS
        self._scope_boot_id = ""  # the start of the hub at which it was seen last
        self._cards: dict[str, Card] = {}
        self.commands = RangeCommands(feed, client, self._cards)
        self._zones: dict[str, Zone] = {}
        self._filter = ""
        self._meant: tuple[str, ...] = ()  # whom the toolbar is for: a selector, or those that are found
        self._obstacle = ""  # why it is for nobody
        with widgets.box("div", "page") as self._page:
            with widgets.box("div", "heading"):
                with widgets.box("div"):
                    widgets.text("h1", "Range")
                    self._summary = widgets.text("p", "", "subtitle")
                self._make_toolbar()
            with widgets.box("div", "zones").props(
                'role=group aria-label="Whom the buttons above are for"'
            ) as (self._zone_row):
                pass
            self._search = (
                ui.input(placeholder="Find a target", on_change=self._find)
                .props('dense outlined clearable aria-label="Find a target"')
                .classes("search")
            )
            self._nothing_found = widgets.text("p", "", "hint").props("role=status")
            self._grid = widgets.box("div", "cards")
            self._empty = self._make_empty()
        self._draw_again: Callable[[], None] | None = None
        self._draw_again = widgets.keep_drawn(feed, self._page, self._draw)

    # --- what is on the page

    def _make_toolbar(self) -> None:
        with widgets.box("div", "toolbar").props('role=toolbar aria-label="Commands to those chosen below"'):
            self._command_buttons = {
                "Stand up": widgets.Button("Stand up", lambda: self.commands.stand_up(self._meant), "stand"),
                "Lay down": widgets.Button("Lay down", lambda: self.commands.lay_down(self._meant), "lay"),
            }
            with widgets.box("div", "joined"):
                self._command_buttons["Activate"] = widgets.Button(
                    "Activate", lambda: self.commands.activate(self._meant), "activate", "primary"
                )
                ui.select(_DURATIONS, value=self.commands.duration_ms, on_change=self._set_duration).props(
                    'dense outlined options-dense aria-label="Armed for how long"'
                ).classes("duration")
            self._command_buttons["Identify"] = widgets.Button(
                "", lambda: self.commands.identify(self._meant), "identify", label="Identify: lights flicker"
            )

    def _make_empty(self) -> Any:
        with widgets.box("section", "empty") as empty:
            widgets.svg(drawings.TARGET)
            widgets.text("h2", "No target has registered with this hub yet")
            widgets.text("p", "Switch one on, or try it with simulated ones:")
            self._hint = widgets.text("code")
        empty.props("data-state=away")
        return empty

    def _draw(self) -> None:
        model = self.feed.model
        now_s = steady.now_s()
        names = model.names()
        found = self.found()
        shown = self._take_some(found[:MAX_CARDS])
        if list(self._cards) != shown:
            self._lay_out(shown)
        for name in shown:
            self._cards[name].draw(model.targets[name], model.online, now_s)
        self._draw_zones()
        self._draw_toolbar(found)
        widgets.set_text(self._summary, self._summary_words(len(found)))
        missing = f"No target has “{self._filter}” in its name" if names and not found else ""
        widgets.set_text(self._nothing_found, missing)
        self._nothing_found.set_visibility(bool(missing))
        widgets.set_text(self._hint, f"snyper simulate --hub {model.hub}")
        self._empty.set_visibility(not names)
        self._search.set_visibility(len(names) >= FILTER_FROM or bool(self._filter))

    def _take_some(self, shown: list[str]) -> list[str]:
        """Return those that can be shown now: new cards take time, so there are some at each drawing."""
        new = [name for name in shown if name not in self._cards]
        if self._draw_again is None or len(new) <= NEW_CARDS:
            return shown
        self._draw_again()
        later = set(new[NEW_CARDS:])
        return [name for name in shown if name not in later]

    def found(self) -> list[str]:
        """List the targets whose names have in them what is searched for."""
        names = self.feed.model.names()
        return [name for name in names if self._filter in name.lower()] if self._filter else names

    def _summary_words(self, found: int) -> str:
        model = self.feed.model
        count = len(model.targets)
        if not count:
            return "Waiting for targets" if model.online else widgets.HUB_LOST
        if not model.online:
            return f"{widgets.HUB_LOST}: nothing is known of {widgets.plural(count, 'target')}"
        here = [target.state for target in model.targets.values() if target.info.connected]
        words = [f"{len(here):,} of {widgets.plural(count, 'target')} here"]
        words.append(f"{here.count('standing'):,} {state_word('standing')}")
        if "armed" in here:
            words.append(f"{here.count('armed'):,} {state_word('armed')}")
        if min(found, MAX_CARDS) < count:
            words.append(f"{min(found, MAX_CARDS):,} shown")
        return ", ".join(words)

    def _draw_toolbar(self, found: list[str]) -> None:
        """Draw the buttons, with whom they are for. Where that is not simply all of the group, they say how
        many it is.
        """
        model = self.feed.model
        members = [name for name in found if self.commands.is_meant(name, self.scope)]
        here = [name for name in members if model.targets[name].info.connected]
        self._meant = tuple(here) if self._filter else (self.scope,)
        whose = f" of {self.scope[len(GROUP_PREFIX) :]}" if self.scope != ALL_TARGETS else ""
        nobody = f"No target{whose} is here" + (" that is shown" if self._filter else "")
        self._obstacle = widgets.HUB_LOST if not model.online else nobody if not here else ""
        counted = bool(self._filter) or len(members) > MAX_CARDS
        for words, button in self._command_buttons.items():
            button.bar(self._obstacle)
            button.set_words(f"{words} {len(here):,}" if counted else words)

    def _lay_out(self, names: list[str]) -> None:
        if not set(names) <= set(self._cards) or list(self._cards) != [n for n in names if n in self._cards]:
            for name in [name for name in self._cards if name not in names]:
                self._cards.pop(name).element.delete()
            for name in names:
                if name not in self._cards:
                    with self._grid:
                        self._cards[name] = Card(self.commands, name)
            in_order = {name: self._cards[name] for name in names}
            self._cards.clear()  # and not another dict: the commands have this one
            self._cards.update(in_order)
            for at, card in enumerate(self._cards.values()):
                card.element.move(self._grid, at)
            return
        for name in [name for name in self._cards if name not in names]:
            self._cards.pop(name).element.delete()

    def _draw_zones(self) -> None:
        model = self.feed.model
        groups = model.groups()
        selectors = {
            ALL_TARGETS: list(model.targets),
            **{GROUP_PREFIX + name: groups[name] for name in groups},
        }
        if self.scope in selectors:
            self._scope_boot_id = model.boot_id
        elif model.boot_id == self._scope_boot_id:
            self.scope = ALL_TARGETS
        else:  # the hub has started anew: its targets come back, and nobody has chosen others
            selectors[self.scope] = []
        if list(self._zones) != list(selectors):
            self._zone_row.clear()
            with self._zone_row:
                self._zones = {selector: Zone(self, selector) for selector in selectors}
                self._new_zone = NewZone(self).button
        for selector, members in selectors.items():
            self._zones[selector].draw(len(members), selector == self.scope)
        self._new_zone.bar("" if model.online else widgets.HUB_LOST)
        for name, card in self._cards.items():
            chosen = name in selectors[self.scope]
            widgets.set_prop(card.element, "data-chosen", str(chosen).lower())

    def choose(self, selector: str) -> None:
        self.scope = selector
        self._draw()

    def _find(self, event: Any) -> None:
        self._filter = (event.value or "").strip().lower()
        self._draw()

    def _set_duration(self, event: Any) -> None:
        self.commands.duration_ms = int(event.value)

    async def shortcut(self, key: str) -> None:
        """Carry out Shift and a letter, for those that are chosen."""
        work = {"S": self.commands.stand_up, "L": self.commands.lay_down, "A": self.commands.activate}.get(
            key
        )
        if work is None:
            return
        if self._obstacle:
            widgets.notice(self.client, self._obstacle)
        else:
            await work(self._meant)


class Zone:
    """A group: a button that says whom the commands are for, and a place to drop cards on."""

    def __init__(self, page: RangePage, selector: str) -> None:
        self._page = page
        self._selector = selector
        group = selector[len(GROUP_PREFIX) :] if selector != ALL_TARGETS else ""
        self.element = widgets.Button(group or "All targets", lambda: page.choose(selector), kind="zone")
        with self.element:
            self._count = widgets.text("span", "", "count")
        if group:
            take_drops(page.commands, self.element, lambda target_id: page.commands.join(target_id, group))

    def draw(self, count: int, chosen: bool) -> None:
        widgets.set_text(self._count, str(count))
        widgets.set_prop(self.element, "aria-pressed", str(chosen).lower())


class NewZone:
    """Drop a card here and give the group a name."""

    def __init__(self, page: RangePage) -> None:
        self._page = page
        self.button = widgets.Button("New group", self._explain, "plus", "zone new")
        take_drops(page.commands, self.button, page.commands.edit_groups)

    async def _explain(self) -> None:
        """Ask for the first target of a new group, for who has no mouse."""
        names = self._page.found()
        if not names:
            return
        with self._page.client.layout, ui.dialog() as dialog, widgets.box("section", "sheet"):
            dialog.props('aria-label="New group"')
            widgets.text("h2", "New group")
            widgets.text("p", "Which target is to be its first? (Or drag a card onto “New group”.)", "hint")
            with widgets.box("div", "choices"):
                for name in names[:MAX_CARDS]:
                    widgets.Button(name, lambda name=name: dialog.submit(name))  # type: ignore[misc]
            more = widgets.shown_of(min(MAX_CARDS, len(names)), len(names), "target")
            widgets.text("p", f"{more}: find the others by name first." if more else "", "hint")
            widgets.Button("Cancel", dialog.close, kind="wide")
        chosen = await widgets.answer(dialog)
        if chosen is not None:
            await self._page.commands.edit_groups(chosen)
