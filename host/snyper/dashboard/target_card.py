"""A target as a card: how it stands, and buttons for it."""

from typing import Any

from snyper.client.labels import AWAY
from snyper.dashboard import drawings, widgets
from snyper.dashboard.model import Target
from snyper.dashboard.range_commands import RangeCommands

_SHOTS = {"hit": "last hit", "miss": "missed", "crosstalk": "only shaken"}
_FLASHES = {"miss": "miss", "crosstalk": "shaken"}
_ICONS = {
    "down": "lay",
    "rising": "stand",
    "arming": "stand",
    "standing": "stand",
    "armed": "activate",
    "falling": "lay",
    "away": "lost",
}


class Card:
    """One target."""

    def __init__(self, commands: RangeCommands, target_id: str) -> None:
        self._commands = commands
        self._shown = -1  # how many shots were shown; -1 before the first drawing
        self._groups: list[str] | None = None
        self._leaves: list[widgets.Button] = []
        card = widgets.box("article", "card").props("draggable=true")
        with widgets.attributes(card, aria_label=target_id) as self.element:
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
                    "", lambda: commands.identify([target_id]), "identify", "ghost", f"Identify {target_id}"
                )
                groups = widgets.Button(
                    "", lambda: commands.edit_groups(target_id), "groups", "ghost", f"Groups of {target_id}"
                )
            self._chips = widgets.box("div", "chips")
            with widgets.box("footer"):
                stand = widgets.Button(
                    "Stand", lambda: commands.stand_up([target_id]), label=f"Stand {target_id} up"
                )
                lay = widgets.Button(
                    "Lay", lambda: commands.lay_down([target_id]), label=f"Lay {target_id} down"
                )
                activate = widgets.Button(
                    "Activate",
                    lambda: commands.activate([target_id]),
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
        away_s = now_s - target.outages[-1][0] if target.outages else 0.0
        if (
            target.state == AWAY and online and away_s >= 60
        ):  # by the minute: browsers draw all cards anew each time
            words = f"{words} for {widgets.duration(away_s)}"
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
        """Show that a command is on its way to it."""
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
                        lambda group=group: self._commands.leave(self._target_id, group),  # type: ignore[misc]
                        "close",
                        "tiny",
                        f"Take {self._target_id} out of {group}",
                    )
                    self._leaves.append(leave)

    def _drag(self) -> None:
        self._commands.dragged = self._target_id


def take_drops(commands: RangeCommands, button: widgets.Button, work: Any) -> None:
    """Let cards that are dropped on `button` go to `work`, by their target's name."""

    async def drop() -> None:
        target_id, commands.dragged = commands.dragged, ""
        if target_id:
            await work(target_id)

    button.on("dragover", js_handler="(e) => { e.preventDefault(); e.currentTarget.classList.add('over'); }")
    button.on("dragleave", js_handler="(e) => e.currentTarget.classList.remove('over')")
    button.on(
        "drop",
        drop,
        js_handler="(e) => { e.preventDefault(); e.currentTarget.classList.remove('over'); emit(); }",
    )
