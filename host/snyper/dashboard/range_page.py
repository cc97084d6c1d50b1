"""Range: every target as it stands, and what one can tell it, a group, or all of them to do."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import Client, ui

from snyper.client.labels import AWAY, state_word
from snyper.dashboard import drawings, widgets
from snyper.dashboard.cards import Cards
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Overview
from snyper.dashboard.range_commands import MAX_GROUPS_SHOWN, RangeCommands
from snyper.dashboard.target_card import face_of, take_drops
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    GROUP_PREFIX,
)
from snyper.system import steady

MAX_CHOICES = 64  # in the dialog of a new group
FILTER_FROM = 13  # targets, from which on one wants to look for a name

Act = Callable[[str, str], Awaitable[None]]  # with a target's name, and a group's

_DURATIONS = {1_000: "1 s", 2_000: "2 s", 5_000: "5 s", 10_000: "10 s", 30_000: "30 s", 60_000: "1 min"}


class RangePage:
    """One browser's range."""

    def __init__(self, feed: HubFeed, client: Client, most: int) -> None:
        """`most` targets are shown at a time."""
        self.feed = feed
        self.client = client
        self.scope = ALL_TARGETS
        self._scope_boot_id = ""  # the start of the hub at which it was seen last
        self._most = most
        commands = self.commands = RangeCommands(feed, client, self._draw_cards)
        self._acts: dict[str, Act] = {
            "stand": lambda name, _: commands.stand_up([name]),
            "lay": lambda name, _: commands.lay_down([name]),
            "activate": lambda name, _: commands.activate([name]),
            "identify": lambda name, _: commands.identify([name]),
            "groups": lambda name, _: commands.edit_groups(name),
            "leave": commands.leave,
            "drag": lambda name, _: self._drag(name),
        }
        self._names: list[str] = []  # of the targets that are shown
        self._doing: set[tuple[str, str, str]] = set()  # what was clicked and is not done: act, name, group
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
                ui.input(placeholder="Find by name, state or group", on_change=self._find)
                .props('dense outlined clearable aria-label="Find targets"')
                .classes("search")
            )
            self._others = widgets.text("p", "", "hint others").props("role=status")
            self._cards = Cards("range", self._act)
            self._empty = self._make_empty()
        widgets.keep_drawn(feed, self._page, self._draw)

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
        overview = model.overview()
        found = self._found(overview)
        possible = set(found) if self._filter else overview.ranks
        first = self._members_first(found, overview)
        self._names = model.pick(first, self._names, self._most, possible.__contains__)
        self._draw_zones(overview)
        self._draw_cards()
        self._draw_toolbar(found, overview)
        widgets.set_text(self._summary, self._summary_words(overview, len(self._names)))
        others = self._others_words(len(found), len(self._names)) if overview.names else ""
        widgets.set_text(self._others, others)
        self._others.set_visibility(bool(others))
        widgets.set_text(self._hint, f"snyper simulate --hub {model.hub}")
        self._empty.set_visibility(not overview.names)
        self._search.set_visibility(len(overview.names) >= FILTER_FROM or bool(self._filter))

    def _draw_cards(self) -> None:
        model = self.feed.model
        now_s = steady.now_s()
        faces = []
        for name in self._names:
            target = model.targets.get(name)
            if target is None:
                continue
            face = face_of(target, model.online, now_s)
            face["chosen"] = self.commands.is_meant(name, self.scope)
            face["busy"] = self.commands.is_waited_for(name)
            face["doing"] = sorted(act + group for act, whose, group in self._doing if whose == name)
            faces.append(face)
        self._cards.show(faces)

    def found(self) -> list[str]:
        """List the targets that are searched for, those first that matter most."""
        return self._found(self.feed.model.overview())

    def _found(self, overview: Overview) -> list[str]:
        """List the targets that have in their names what is searched for, or are in a group or a state of
        that name.
        """
        wanted = self._filter
        if not wanted:
            return overview.ranked
        targets = self.feed.model.targets
        states = {state for state in (*overview.states, AWAY) if state_word(state) == wanted}
        members = {
            name for group, names in overview.groups.items() if group.lower() == wanted for name in names
        }
        return [
            name
            for name in overview.ranked
            if wanted in name.lower() or name in members or targets[name].state in states
        ]

    def _members_first(self, found: list[str], overview: Overview) -> list[str]:
        """Put those of the group that is chosen before the others, where not all are shown."""
        if self.scope == ALL_TARGETS or len(found) <= self._most:
            return found
        members = set(overview.groups.get(self.scope[len(GROUP_PREFIX) :], ()))
        return sorted(found, key=lambda name: name not in members)[: self._most]

    def _summary_words(self, overview: Overview, shown: int) -> str:
        model = self.feed.model
        count = len(overview.names)
        if not count:
            return "Waiting for targets" if model.online else widgets.HUB_LOST
        if not model.online:
            return f"{widgets.HUB_LOST}: nothing is known of {widgets.plural(count, 'target')}"
        words = [f"{overview.here:,} of {widgets.plural(count, 'target')} here"]
        words.append(f"{overview.states['standing']:,} {state_word('standing')}")
        words += [
            f"{overview.states[state]:,} {state_word(state)}"
            for state in ("armed", "fault")
            if overview.states[state]
        ]
        if shown < count:
            words.append(f"{shown:,} shown")
        return ", ".join(words)

    def _others_words(self, found: int, shown: int) -> str:
        if not found:
            return f"No target has “{self._filter}” in its name, nor is it a state or a group"
        if shown == found:
            return ""
        first = "Those that need you come first, then those that are up"
        return f"{found - shown:,} more are not shown. {first}; find any other by its name."

    def _draw_toolbar(self, found: list[str], overview: Overview) -> None:
        """Draw the buttons, with whom they are for. Where that is not simply all of the group, they say how
        many it is.
        """
        model = self.feed.model
        if self.scope == ALL_TARGETS and not self._filter:
            self._meant, here, members = (ALL_TARGETS,), overview.here, len(found)
        else:
            names = found
            if self.scope != ALL_TARGETS:
                chosen = set(overview.groups.get(self.scope[len(GROUP_PREFIX) :], ()))
                names = [name for name in found if name in chosen]
            connected = tuple(name for name in names if model.targets[name].info.connected)
            self._meant = connected if self._filter else (self.scope,)
            here, members = len(connected), len(names)
        whose = f" of {self.scope[len(GROUP_PREFIX) :]}" if self.scope != ALL_TARGETS else ""
        nobody = f"No target{whose} is here" + (" that is found" if self._filter else "")
        self._obstacle = widgets.HUB_LOST if not model.online else nobody if not here else ""
        counted = bool(self._filter) or members > self._most
        for words, button in self._command_buttons.items():
            button.bar(self._obstacle)
            button.set_words(f"{words} {here:,}" if counted else words)

    def _draw_zones(self, overview: Overview) -> None:
        model = self.feed.model
        counts = {ALL_TARGETS: len(overview.names)}
        for group, names in overview.groups.items():
            if len(counts) <= MAX_GROUPS_SHOWN or GROUP_PREFIX + group == self.scope:
                counts[GROUP_PREFIX + group] = len(names)
        if self.scope in counts:
            self._scope_boot_id = model.boot_id
        elif model.boot_id == self._scope_boot_id:
            self.scope = ALL_TARGETS
        else:  # the hub has started anew: its targets come back, and nobody has chosen others
            counts[self.scope] = 0
        if list(self._zones) != list(counts):
            self._zone_row.clear()
            with self._zone_row:
                self._zones = {selector: Zone(self, selector) for selector in counts}
                self._new_zone = NewZone(self).button
        for selector, count in counts.items():
            self._zones[selector].draw(count, selector == self.scope)
        self._new_zone.bar("" if model.online else widgets.HUB_LOST)

    def choose(self, selector: str) -> None:
        self.scope = selector
        self._draw()

    def _find(self, event: Any) -> None:
        self._filter = (event.value or "").strip().lower()
        self._draw()

    def _set_duration(self, event: Any) -> None:
        self.commands.duration_ms = int(event.value)

    async def _act(self, event: Any) -> None:
        """Do what somebody has clicked on a card; what is under way already is not begun again."""
        said = event.args if isinstance(event.args, dict) else {}
        act, name, group = (str(said.get(key) or "") for key in ("act", "name", "group"))
        doing = (act, name, group)
        target = self.feed.model.targets.get(name)
        work = self._acts.get(act)
        if work is None or target is None or doing in self._doing:
            return
        self._doing.add(doing)
        self._draw_cards()
        try:
            await work(name, group)
        finally:
            self._doing.discard(doing)
            if not self.client.is_deleted:
                self._draw_cards()

    async def _drag(self, name: str) -> None:
        self.commands.dragged = name

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
                for name in names[:MAX_CHOICES]:
                    widgets.Button(name, lambda name=name: dialog.submit(name))  # type: ignore[misc]
            more = widgets.shown_of(min(MAX_CHOICES, len(names)), len(names), "target")
            widgets.text("p", f"{more}: find the others by name first." if more else "", "hint")
            widgets.Button("Cancel", dialog.close, kind="wide")
        chosen = await widgets.answer(dialog)
        if chosen is not None:
            await self._page.commands.edit_groups(chosen)
