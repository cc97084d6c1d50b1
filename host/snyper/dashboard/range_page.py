"""Range: every target as it stands, and what one can tell it, a group, or all of them to do."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from nicegui import Client, ui

from snyper.client import Event, HubClient, TargetResult
from snyper.client.labels import AWAY, natural, state_word
from snyper.dashboard import drawings, widgets
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Target
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    GROUP_PREFIX,
    is_target_id,
)
from snyper.system import steady

MAX_GROUPS = 8  # of one target
_SHOTS = {"hit": "last hit", "miss": "missed", "crosstalk": "only shaken"}
_FLASHES = {"miss": "miss", "crosstalk": "shaken"}
MAX_CARDS = 120  # drawn at once; a browser gets slow with thousands, and a person sees no more
FILTER_FROM = 13  # targets, from which on one wants to look for a name

AT_ONCE = 4  # commands to single targets: a hub serves eight requests of one console, and two are the feed's

_ICONS = {
    "down": "lay",
    "rising": "stand",
    "arming": "stand",
    "standing": "stand",
    "armed": "activate",
    "falling": "lay",
    "away": "lost",
}
Work = Callable[[HubClient, str], Coroutine[Any, Any, list[TargetResult]]]

_DURATIONS = {1_000: "1 s", 2_000: "2 s", 5_000: "5 s", 10_000: "10 s", 30_000: "30 s", 60_000: "1 min"}


class RangePage:
    """One browser's range."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self.feed = feed
        self.client = client
        self.scope = ALL_TARGETS
        self._scope_boot_id = ""  # the start of the hub at which it was seen last
        self.duration_ms = DEFAULT_DURATION_MS
        self.dragged = ""
        self._cards: dict[str, Card] = {}
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
        widgets.keep_drawn(feed, self._page, self._draw)

    # --- what is on the page

    def _make_toolbar(self) -> None:
        with widgets.box("div", "toolbar").props('role=toolbar aria-label="Commands to those chosen below"'):
            self._commands = {
                "Stand up": widgets.Button("Stand up", lambda: self.stand_up(self._meant), "stand"),
                "Lay down": widgets.Button("Lay down", lambda: self.lay_down(self._meant), "lay"),
            }
            with widgets.box("div", "joined"):
                self._commands["Activate"] = widgets.Button(
                    "Activate", lambda: self.activate(self._meant), "activate", "primary"
                )
                ui.select(_DURATIONS, value=self.duration_ms, on_change=self._set_duration).props(
                    'dense outlined options-dense aria-label="Armed for how long"'
                ).classes("duration")
            self._commands["Identify"] = widgets.Button(
                "", lambda: self.identify(self._meant), "identify", label="Identify: lights flicker"
            )

    def _make_empty(self) -> Any:
        with widgets.box("section", "empty") as empty:
            widgets.svg(drawings.TARGET)
            widgets.text("h2", "No target has registered with this hub yet")
            widgets.text("p", "Switch one on, or try it with simulated ones:")
            self._hint = widgets.text("code")
        empty.props("data-state=away")
        return empty

    def _draw(self, event: Event | None) -> None:
        model = self.feed.model
        now_s = steady.now_s()
        names = sorted(model.targets, key=natural)
        found = self.found()
        shown = found[:MAX_CARDS]
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

    def found(self) -> list[str]:
        """The targets whose names have in them what is looked for."""
        return [name for name in sorted(self.feed.model.targets, key=natural) if self._filter in name.lower()]

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
        """Whom the buttons are for. Where that is not simply all of the group, they say how many it is."""
        model = self.feed.model
        members = [name for name in found if self._is_meant(name, self.scope)]
        here = [name for name in members if model.targets[name].info.connected]
        self._meant = tuple(here) if self._filter else (self.scope,)
        whose = f" of {self.scope[len(GROUP_PREFIX) :]}" if self.scope != ALL_TARGETS else ""
        nobody = f"No target{whose} is here" + (" that is shown" if self._filter else "")
        self._obstacle = widgets.HUB_LOST if not model.online else nobody if not here else ""
        counted = bool(self._filter) or len(members) > MAX_CARDS
        for words, button in self._commands.items():
            button.bar(self._obstacle)
            button.set_words(f"{words} {len(here):,}" if counted else words)

    def _lay_out(self, names: list[str]) -> None:
        if not set(names) <= set(self._cards) or list(self._cards) != [n for n in names if n in self._cards]:
            for name in [name for name in self._cards if name not in names]:
                self._cards.pop(name).element.delete()
            for name in names:
                if name not in self._cards:
                    with self._grid:
                        self._cards[name] = Card(self, name)
            self._cards = {name: self._cards[name] for name in names}
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
        self._draw(None)

    def _find(self, event: Any) -> None:
        self._filter = (event.value or "").strip().lower()
        self._draw(None)

    def _set_duration(self, event: Any) -> None:
        self.duration_ms = int(event.value)

    # --- commands

    async def stand_up(self, meant: Sequence[str]) -> None:
        await self._command("Stand up", meant, lambda hub, target: hub.stand_up(target))

    async def lay_down(self, meant: Sequence[str]) -> None:
        await self._command("Lay down", meant, lambda hub, target: hub.lay_down(target))

    async def activate(self, meant: Sequence[str]) -> None:
        await self._command("Activate", meant, lambda hub, target: hub.activate(target, self.duration_ms))

    async def identify(self, meant: Sequence[str]) -> None:
        if await self._command("Identify", meant, lambda hub, target: hub.identify(target)):
            widgets.notice(self.client, f"For ten seconds {_whose_light(meant)}", good=True)

    async def _command(self, what: str, meant: Sequence[str], work: Work) -> bool:
        """To each that is meant: selectors, or names. Whether all carried it out."""
        cards = [
            card
            for name, card in self._cards.items()
            if any(self._is_meant(name, selector) for selector in meant)
        ]
        for card in cards:
            card.wait(True)
        try:
            return await widgets.command(self.feed, self.client, what, lambda hub: each(hub, meant, work))
        finally:
            for card in cards:
                card.wait(False)

    def _is_meant(self, name: str, selector: str) -> bool:
        target = self.feed.model.targets.get(name)
        if selector.startswith(GROUP_PREFIX) and target is not None:
            return selector[len(GROUP_PREFIX) :] in target.info.groups
        return selector in (ALL_TARGETS, name)

    async def shortcut(self, key: str) -> None:
        """Shift and a letter, for those that are chosen."""
        work = {"S": self.stand_up, "L": self.lay_down, "A": self.activate}.get(key)
        if work is None:
            return
        if self._obstacle:
            widgets.notice(self.client, self._obstacle)
        else:
            await work(self._meant)

    # --- groups

    async def join(self, target_id: str, group: str) -> None:
        """Adds the target to the group."""
        target = self.feed.model.targets.get(target_id)
        if target is not None and group not in target.info.groups:
            await self.set_groups(target_id, [*target.info.groups, group])

    async def leave(self, target_id: str, group: str) -> None:
        target = self.feed.model.targets.get(target_id)
        if target is not None:
            await self.set_groups(target_id, [name for name in target.info.groups if name != group])

    async def set_groups(self, target_id: str, groups: list[str]) -> None:
        """Writes them to the target's own configuration, and says how that went."""
        if len(groups) > MAX_GROUPS:
            widgets.notice(
                self.client, f"{target_id} is in {MAX_GROUPS} groups", "Take it out of one of them first."
            )
            return

        async def work(hub: HubClient) -> list[TargetResult]:
            return [await hub.configure(target_id, groups=groups)]

        what = f"The groups of {target_id}"
        card = self._cards.get(target_id)
        if card is not None:
            card.wait(True)
        try:
            done = await widgets.ask(self.feed, self.client, what, work)
        finally:
            if card is not None:
                card.wait(False)
        if done is not None:
            self.feed.poll_now()
            words = f"{target_id} is in {widgets.joined(groups)}" if groups else f"{target_id} is in no group"
            widgets.notice(self.client, words, good=True)

    async def edit_groups(self, target_id: str, propose: str = "") -> None:
        """The keyboard's and the phone's way into a group: a list to tick, and a field for a new name."""
        target = self.feed.model.targets.get(target_id)
        if target is None:
            return
        with self.client.layout, ui.dialog() as dialog, widgets.box("form", "sheet").props("novalidate"):
            dialog.props('aria-label="Groups"')
            widgets.text("h2", f"Groups of {target_id}")
            known = list(self.feed.model.groups())
            ticks = {group: ui.checkbox(group, value=group in target.info.groups) for group in known}
            field = ui.input(
                "New group",
                value=propose,
                validation={
                    "1 to 32 letters, digits, _ - .": lambda name: not name or is_target_id(name.strip())
                },
            ).props("outlined autofocus")
            with widgets.box("div", "actions"):
                widgets.Button("Cancel", dialog.close)

                def save() -> None:
                    if field.validate():
                        new = (field.value or "").strip()
                        chosen = [group for group, tick in ticks.items() if tick.value]
                        dialog.submit([*chosen, new] if new and new not in chosen else chosen)

                widgets.Button("Save", save, kind="primary")
                field.on("keydown.enter.prevent", save)
        groups = await widgets.answer(dialog)
        if groups is not None and groups != target.info.groups:
            await self.set_groups(target_id, groups)


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
            take_drops(page, self.element, lambda target_id: page.join(target_id, group))

    def draw(self, count: int, chosen: bool) -> None:
        widgets.set_text(self._count, str(count))
        widgets.set_prop(self.element, "aria-pressed", str(chosen).lower())


class NewZone:
    """Drop a card here and give the group a name."""

    def __init__(self, page: RangePage) -> None:
        self._page = page
        self.button = widgets.Button("New group", self._explain, "plus", "zone new")
        take_drops(page, self.button, page.edit_groups)

    async def _explain(self) -> None:
        """Without a mouse: the first target of those found is asked about."""
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
            await self._page.edit_groups(chosen)


class Card:
    """One target."""

    def __init__(self, page: RangePage, target_id: str) -> None:
        self._page = page
        self._shown = -1  # how many shots were shown; -1 before the first drawing
        self._groups: list[str] | None = None
        self._leaves: list[widgets.Button] = []
        with widgets.box("article", "card").props(f'draggable=true aria-label="{target_id}"') as self.element:
            with widgets.box("header"):
                widgets.text("h2", target_id)
                with widgets.box("span", "state").props("role=status"):
                    self._state_icon = widgets.svg("")
                    self._state = widgets.text("span")
            with widgets.box("div", "scene"):
                widgets.svg(drawings.TARGET)
                self._flash = widgets.text("div", "", "flash")
            with widgets.box("div", "detail"):
                with widgets.box("p", "last"):
                    self._last = widgets.text("strong")
                    self._last_more = widgets.text("span")
                identify = widgets.Button(
                    "", lambda: page.identify([target_id]), "identify", "ghost", f"Identify {target_id}"
                )
                groups = widgets.Button(
                    "", lambda: page.edit_groups(target_id), "groups", "ghost", f"Groups of {target_id}"
                )
            self._chips = widgets.box("div", "chips")
            with widgets.box("footer"):
                stand = widgets.Button(
                    "Stand", lambda: page.stand_up([target_id]), label=f"Stand {target_id} up"
                )
                lay = widgets.Button("Lay", lambda: page.lay_down([target_id]), label=f"Lay {target_id} down")
                activate = widgets.Button(
                    "Activate",
                    lambda: page.activate([target_id]),
                    kind="accent",
                    label=f"Activate {target_id}",
                )
        self._buttons = [stand, lay, activate, identify, groups]
        self._target_id = target_id
        self.element.on(
            "dragstart",
            self._drag,
            js_handler="(e) => { e.dataTransfer.setData('text/plain', '');"
            " e.dataTransfer.effectAllowed = 'copy'; document.body.classList.add('dragging'); emit(); }",
        )
        self.element.on("dragend", js_handler="() => document.body.classList.remove('dragging')")

    def draw(self, target: Target, online: bool, now_s: float) -> None:
        words = widgets.shown_state(target, online)
        if target.state == AWAY and online and target.outages:
            words = f"{words} for {widgets.duration(now_s - target.outages[-1][0])}"
        live = online and target.info.connected
        obstacle = "" if live else widgets.NOT_HERE if online else widgets.HUB_LOST
        icon = _ICONS.get(target.state, "help") if online else "help"
        widgets.set_prop(self.element, "data-state", target.state if online else "lost")
        widgets.set_prop(self.element, "data-live", str(live).lower())
        widgets.set_text(self._state, words)
        self._state_icon.set_content(drawings.icon(icon))
        self._draw_shot(target)
        if self._groups != target.info.groups:
            self._draw_groups(target.info.groups)
        for button in (*self._buttons, *self._leaves):
            button.bar(obstacle)

    def wait(self, waiting: bool) -> None:
        """Shows that a command is on its way to it."""
        if not self.element.is_deleted:
            widgets.set_prop(self.element, "aria-busy", str(waiting).lower())

    def _draw_shot(self, target: Target) -> None:
        is_hit = target.last_shot == "hit"
        reaction = f"{target.last_reaction_ms} ms" if target.last_reaction_ms is not None else "hit"
        more = _SHOTS.get(target.last_shot, "no hit yet")
        if is_hit and target.last_peak is not None:
            more += f", peak {target.last_peak:,}"
        widgets.set_text(self._last, reaction if is_hit else "")
        widgets.set_text(self._last_more, more)
        if self._shown >= 0 and target.shots != self._shown:
            widgets.set_text(self._flash, reaction if is_hit else _FLASHES.get(target.last_shot, ""))
            # Two names for one animation: a second hit starts it anew.
            kind = "hit" if is_hit else "miss"
            widgets.set_prop(self.element, "data-news", f"{kind}-{target.shots % 2}")
        self._shown = target.shots

    def _draw_groups(self, groups: list[str]) -> None:
        self._groups = list(groups)
        self._leaves = []
        self._chips.clear()
        with self._chips:
            for group in groups:
                with widgets.box("span", "chip"):
                    widgets.text("span", group)
                    leave = widgets.Button(
                        "",
                        lambda group=group: self._page.leave(self._target_id, group),  # type: ignore[misc]
                        "close",
                        "tiny",
                        f"Take {self._target_id} out of {group}",
                    )
                    self._leaves.append(leave)

    def _drag(self) -> None:
        self._page.dragged = self._target_id


def _whose_light(meant: Sequence[str]) -> str:
    if len(meant) > 1:
        return f"the lights of {len(meant):,} targets flicker"
    if meant[0] == ALL_TARGETS:
        return "every light flickers"
    if meant[0].startswith(GROUP_PREFIX):
        return f"the lights of {meant[0][len(GROUP_PREFIX) :]} flicker"
    return f"the light of {meant[0]} flickers"


async def each(hub: HubClient, meant: Sequence[str], work: Work) -> list[TargetResult]:
    """`work` with each that is meant, AT_ONCE side by side. Raises ProtocolError."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(target: str) -> list[TargetResult]:
        async with gate:
            return await work(hub, target)

    return [result for results in await asyncio.gather(*map(one, meant)) for result in results]


def take_drops(page: RangePage, button: widgets.Button, work: Any) -> None:
    """Cards that are dropped on `button` go to `work`, by their target's name."""

    async def drop() -> None:
        target_id, page.dragged = page.dragged, ""
        if target_id:
            await work(target_id)

    button.on("dragover", js_handler="(e) => { e.preventDefault(); e.currentTarget.classList.add('over'); }")
    button.on("dragleave", js_handler="(e) => e.currentTarget.classList.remove('over')")
    button.on(
        "drop",
        drop,
        js_handler="(e) => { e.preventDefault(); e.currentTarget.classList.remove('over'); emit(); }",
    )
