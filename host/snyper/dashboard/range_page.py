"""Range: every target as it stands, and what one can tell it, a group, or all of them to do."""

from typing import Any

from nicegui import Client, ui

from snyper import steady
from snyper.client import Event, Hub, TargetResult
from snyper.dashboard import drawings, parts
from snyper.dashboard.keeper import Keeper
from snyper.dashboard.model import Target
from snyper.screens import natural
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    GROUP_PREFIX,
    is_target_id,
)

MAX_GROUPS = 8  # of one target
MAX_CARDS = 120  # drawn at once; a browser gets slow with thousands, and a person sees no more
FILTER_FROM = 13  # targets, from which on one wants to look for a name

_STATES = {
    "down": ("lies", "lay"),
    "rising": ("rises", "stand"),
    "arming": ("rises, to be armed", "stand"),
    "standing": ("stands", "stand"),
    "armed": ("armed", "activate"),
    "falling": ("falls", "lay"),
    "fault": ("fault", "help"),
    "away": ("away", "lost"),
    "unknown": ("connected", "help"),
}
_DURATIONS = {1_000: "1 s", 2_000: "2 s", 5_000: "5 s", 10_000: "10 s", 30_000: "30 s", 60_000: "1 min"}


class RangePage:
    """One browser's range."""

    def __init__(self, keeper: Keeper, client: Client) -> None:
        self.keeper = keeper
        self.client = client
        self.scope = ALL_TARGETS
        self.duration_ms = DEFAULT_DURATION_MS
        self.dragged = ""
        self._cards: dict[str, Card] = {}
        self._zones: dict[str, Zone] = {}
        self._filter = ""
        with parts.box("div", "page") as self._page:
            with parts.box("div", "heading"):
                with parts.box("div"):
                    parts.text("h1", "Range")
                    self._summary = parts.text("p", "", "subtitle")
                self._make_toolbar()
            with parts.box("div", "zones").props(
                'role=group aria-label="Whom the buttons above are for"'
            ) as (self._zone_row):
                pass
            self._search = (
                ui.input(placeholder="Find a target", on_change=self._find)
                .props('dense outlined clearable aria-label="Find a target"')
                .classes("search")
            )
            self._grid = parts.box("div", "cards")
            self._empty = self._make_empty()
        parts.keep_drawn(keeper, self._page, self._draw)

    # --- what is on the page

    def _make_toolbar(self) -> None:
        with parts.box("div", "toolbar").props('role=toolbar aria-label="Commands to those chosen below"'):
            self._commands = [
                parts.Button("Stand up", lambda: self.stand_up(self.scope), "stand"),
                parts.Button("Lay down", lambda: self.lay_down(self.scope), "lay"),
            ]
            with parts.box("div", "joined"):
                self._commands.append(
                    parts.Button("Activate", lambda: self.activate(self.scope), "activate", "primary")
                )
                ui.select(_DURATIONS, value=self.duration_ms, on_change=self._set_duration).props(
                    'dense outlined options-dense aria-label="Armed for how long"'
                ).classes("duration")
            self._commands.append(
                parts.Button(
                    "", lambda: self.identify(self.scope), "identify", label="Identify: lights flicker"
                )
            )

    def _make_empty(self) -> Any:
        with parts.box("section", "empty") as empty:
            parts.svg(drawings.TARGET)
            parts.text("h2", "No target has registered with this hub yet")
            parts.text("p", "Switch one on, or try it with simulated ones:")
            self._hint = parts.text("code")
        empty.props("data-state=away")
        return empty

    def _draw(self, event: Event | None) -> None:
        model = self.keeper.model
        now_s = steady.now_s()
        names = sorted(model.targets, key=natural)
        shown = [name for name in names if self._filter in name.lower()][:MAX_CARDS]
        if list(self._cards) != shown:
            self._lay_out(shown)
        for name in shown:
            self._cards[name].draw(model.targets[name], model.online, now_s)
        self._draw_zones()
        for button in self._commands:
            button.set_enabled(model.online and bool(names))
        here = [target for target in model.targets.values() if target.info.connected]
        up = sum(target.info.state in ("standing", "armed") for target in here)
        words = f"{len(here)} of {parts.plural(len(names), 'target')} here, {up} up"
        if len(shown) < len(names):
            words += f", {len(shown)} shown"
        parts.set_text(self._summary, words if names else "Waiting for targets")
        parts.set_text(self._hint, f"snyper simulate --hub {model.hub}")
        self._empty.set_visibility(not names)
        self._search.set_visibility(len(names) >= FILTER_FROM)

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
        model = self.keeper.model
        groups = model.groups()
        selectors = {
            ALL_TARGETS: list(model.targets),
            **{GROUP_PREFIX + name: groups[name] for name in groups},
        }
        if self.scope not in selectors:
            self.scope = ALL_TARGETS
        if list(self._zones) != list(selectors):
            self._zone_row.clear()
            with self._zone_row:
                self._zones = {selector: Zone(self, selector) for selector in selectors}
                NewZone(self)
        for selector, members in selectors.items():
            self._zones[selector].draw(len(members), selector == self.scope)
        for name, card in self._cards.items():
            chosen = name in selectors[self.scope]
            parts.set_prop(card.element, "data-chosen", str(chosen).lower())

    def choose(self, selector: str) -> None:
        self.scope = selector
        self._draw_zones()

    def _find(self, event: Any) -> None:
        self._filter = (event.value or "").strip().lower()
        self._draw(None)

    def _set_duration(self, event: Any) -> None:
        self.duration_ms = int(event.value)

    # --- commands

    async def stand_up(self, target: str) -> None:
        await self._command("Stand up", target, lambda hub: hub.stand_up(target))

    async def lay_down(self, target: str) -> None:
        await self._command("Lay down", target, lambda hub: hub.lay_down(target))

    async def activate(self, target: str) -> None:
        await self._command("Activate", target, lambda hub: hub.activate(target, self.duration_ms))

    async def identify(self, target: str) -> None:
        if await self._command("Identify", target, lambda hub: hub.identify(target)):
            whose = "every light flickers" if target == ALL_TARGETS else f"the light of {target} flickers"
            if target.startswith(GROUP_PREFIX):
                whose = f"the lights of {target[len(GROUP_PREFIX) :]} flicker"
            parts.notice(self.client, f"For ten seconds {whose}", good=True)

    async def _command(self, what: str, target: str, work: Any) -> bool:
        cards = [card for name, card in self._cards.items() if self._is_meant(name, target)]
        for card in cards:
            card.wait(True)
        try:
            return await parts.command(self.keeper, self.client, what, work)
        finally:
            for card in cards:
                card.wait(False)

    def _is_meant(self, name: str, selector: str) -> bool:
        target = self.keeper.model.targets.get(name)
        if selector.startswith(GROUP_PREFIX) and target is not None:
            return selector[len(GROUP_PREFIX) :] in target.info.groups
        return selector in (ALL_TARGETS, name)

    async def shortcut(self, key: str) -> None:
        """Shift and a letter, for those that are chosen."""
        work = {"S": self.stand_up, "L": self.lay_down, "A": self.activate}.get(key)
        if work is not None and self.keeper.model.targets:
            await work(self.scope)

    # --- groups

    async def join(self, target_id: str, group: str) -> None:
        """Adds the target to the group."""
        target = self.keeper.model.targets.get(target_id)
        if target is not None and group not in target.info.groups:
            await self.set_groups(target_id, [*target.info.groups, group])

    async def leave(self, target_id: str, group: str) -> None:
        target = self.keeper.model.targets.get(target_id)
        if target is not None:
            await self.set_groups(target_id, [name for name in target.info.groups if name != group])

    async def set_groups(self, target_id: str, groups: list[str]) -> None:
        """Writes them to the target's own configuration, and says how that went."""
        if len(groups) > MAX_GROUPS:
            parts.notice(
                self.client, f"{target_id} is in {MAX_GROUPS} groups", "Take it out of one of them first."
            )
            return

        async def work(hub: Hub) -> list[TargetResult]:
            return [await hub.configure(target_id, groups=groups)]

        what = f"The groups of {target_id}"
        card = self._cards.get(target_id)
        if card is not None:
            card.wait(True)
        try:
            done = await parts.ask(self.keeper, self.client, what, work)
        finally:
            if card is not None:
                card.wait(False)
        if done is not None:
            self.keeper.look_now()
            words = f"{target_id} is in {parts.joined(groups)}" if groups else f"{target_id} is in no group"
            parts.notice(self.client, words, good=True)

    async def edit_groups(self, target_id: str, propose: str = "") -> None:
        """The keyboard's and the phone's way into a group: a list to tick, and a field for a new name."""
        target = self.keeper.model.targets.get(target_id)
        if target is None:
            return
        with self.client.layout, ui.dialog() as dialog, parts.box("form", "sheet").props("novalidate"):
            dialog.props('aria-label="Groups"')
            parts.text("h2", f"Groups of {target_id}")
            known = list(self.keeper.model.groups())
            ticks = {group: ui.checkbox(group, value=group in target.info.groups) for group in known}
            field = ui.input(
                "New group",
                value=propose,
                validation={
                    "1 to 32 letters, digits, _ - .": lambda name: not name or is_target_id(name.strip())
                },
            ).props("outlined autofocus")
            with parts.box("div", "actions"):
                parts.Button("Cancel", dialog.close)

                def save() -> None:
                    if field.validate():
                        new = (field.value or "").strip()
                        chosen = [group for group, tick in ticks.items() if tick.value]
                        dialog.submit([*chosen, new] if new and new not in chosen else chosen)

                parts.Button("Save", save, kind="primary")
                field.on("keydown.enter.prevent", save)
        groups = await parts.answer(dialog)
        if groups is not None and groups != target.info.groups:
            await self.set_groups(target_id, groups)


class Zone:
    """A group: a button that says whom the commands are for, and a place to drop cards on."""

    def __init__(self, page: RangePage, selector: str) -> None:
        self._page = page
        self._selector = selector
        group = selector[len(GROUP_PREFIX) :] if selector != ALL_TARGETS else ""
        self.element = parts.Button(group or "All targets", lambda: page.choose(selector), kind="zone")
        with self.element:
            self._count = parts.text("span", "", "count")
        if group:
            take_drops(page, self.element, lambda target_id: page.join(target_id, group))

    def draw(self, count: int, chosen: bool) -> None:
        parts.set_text(self._count, str(count))
        parts.set_prop(self.element, "aria-pressed", str(chosen).lower())


class NewZone:
    """Drop a card here and give the group a name."""

    def __init__(self, page: RangePage) -> None:
        self._page = page
        button = parts.Button("New group", self._explain, "plus", "zone new")
        take_drops(page, button, page.edit_groups)

    async def _explain(self) -> None:
        """Without a mouse: the first target of those shown is asked about."""
        names = sorted(self._page.keeper.model.targets, key=natural)
        if not names:
            return
        with self._page.client.layout, ui.dialog() as dialog, parts.box("section", "sheet"):
            dialog.props('aria-label="New group"')
            parts.text("h2", "New group")
            parts.text("p", "Which target is to be its first? (Or drag a card onto “New group”.)", "hint")
            with parts.box("div", "choices"):
                for name in names[:MAX_CARDS]:
                    parts.Button(name, lambda name=name: dialog.submit(name))  # type: ignore[misc]
            parts.Button("Cancel", dialog.close, kind="wide")
        chosen = await parts.answer(dialog)
        if chosen is not None:
            await self._page.edit_groups(chosen)


class Card:
    """One target."""

    def __init__(self, page: RangePage, target_id: str) -> None:
        self._page = page
        self._shown = -1  # how many reports were shown; -1 before the first look
        self._groups: list[str] | None = None
        self._firmware = ""
        with parts.box("article", "card").props(f'draggable=true aria-label="{target_id}"') as self.element:
            with parts.box("header"):
                parts.text("h2", target_id)
                with parts.box("span", "state").props("role=status"):
                    self._state_icon = parts.svg("")
                    self._state = parts.text("span")
            with parts.box("div", "scene"):
                parts.svg(drawings.TARGET)
                self._flash = parts.text("div", "", "flash")
            with parts.box("div", "detail"):
                with parts.box("p", "last"):
                    self._last = parts.text("strong")
                    self._last_more = parts.text("span")
                identify = parts.Button(
                    "", lambda: page.identify(target_id), "identify", "ghost", f"Identify {target_id}"
                )
                groups = parts.Button(
                    "", lambda: page.edit_groups(target_id), "groups", "ghost", f"Groups of {target_id}"
                )
            self._chips = parts.box("div", "chips")
            with parts.box("footer"):
                stand = parts.Button("Stand", lambda: page.stand_up(target_id), label=f"Stand {target_id} up")
                lay = parts.Button("Lay", lambda: page.lay_down(target_id), label=f"Lay {target_id} down")
                activate = parts.Button(
                    "Activate", lambda: page.activate(target_id), kind="accent", label=f"Activate {target_id}"
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
        words, icon = _STATES.get(target.state, (target.state, "help"))
        if target.state == "away":
            words = f"away for {parts.duration(now_s - target.outages[-1][0])}" if target.outages else "away"
        live = online and target.info.connected
        if not online:
            words, icon = "not known", "help"
        parts.set_prop(self.element, "data-state", target.state if online else "lost")
        parts.set_prop(self.element, "data-live", str(live).lower())
        parts.set_text(self._state, words)
        self._state_icon.set_content(drawings.icon(icon))
        for button in self._buttons:
            button.set_enabled(live)
        self._draw_report(target)
        if self._groups != target.info.groups:
            self._draw_groups(target.info.groups)

    def wait(self, waiting: bool) -> None:
        """Shows that a command is on its way to it."""
        if not self.element.is_deleted:
            parts.set_prop(self.element, "aria-busy", str(waiting).lower())

    def _draw_report(self, target: Target) -> None:
        is_hit = target.last_report == "hit"
        reaction = f"{target.last_reaction_ms} ms" if target.last_reaction_ms is not None else "hit"
        more = "last hit" if is_hit else "missed" if target.last_report else "no hit yet"
        if is_hit and target.last_peak is not None:
            more += f", peak {target.last_peak:,}"
        parts.set_text(self._last, reaction if is_hit else "")
        parts.set_text(self._last_more, more)
        if self._shown >= 0 and target.reports != self._shown:
            parts.set_text(self._flash, reaction if is_hit else "miss")
            # Two names for one animation: a second hit starts it anew.
            parts.set_prop(self.element, "data-news", f"{target.last_report}-{target.reports % 2}")
        self._shown = target.reports

    def _draw_groups(self, groups: list[str]) -> None:
        self._groups = list(groups)
        self._chips.clear()
        with self._chips:
            for group in groups:
                with parts.box("span", "chip"):
                    parts.text("span", group)
                    parts.Button(
                        "",
                        lambda group=group: self._page.leave(self._target_id, group),  # type: ignore[misc]
                        "close",
                        "tiny",
                        f"Take {self._target_id} out of {group}",
                    )

    def _drag(self) -> None:
        self._page.dragged = self._target_id


def take_drops(page: RangePage, button: parts.Button, work: Any) -> None:
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
