"""A target as a card: how it stands, and what becomes of a card that is dragged."""

from typing import Any

from snyper.client.labels import AWAY
from snyper.dashboard import widgets
from snyper.dashboard.cards import Face
from snyper.dashboard.model import Target
from snyper.dashboard.range_commands import MAX_GROUPS, RangeCommands

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


def face_of(target: Target, online: bool, now_s: float) -> Face:
    """Return what the card of a target shows, on every page alike."""
    state = target.state
    words = widgets.shown_state(target, online)
    away_s = now_s - target.outages[-1][0] if target.outages else 0.0
    if state == AWAY and online and away_s >= 60:  # by the minute, and not each second anew
        words = f"{words} for {widgets.duration(away_s)}"
    live = online and target.info.connected
    is_hit = target.last_shot == "hit"
    reaction = f"{target.last_reaction_ms} ms" if target.last_reaction_ms is not None else "hit"
    more = _SHOTS.get(target.last_shot, "no hit yet")
    if is_hit and target.last_peak is not None:
        more += f", peak {target.last_peak:,}"
    return {
        "name": target.info.target_id,
        "state": state if online else "lost",
        "live": live,
        "words": words,
        "icon": _ICONS.get(state, "help") if online else "help",
        "obstacle": "" if live else widgets.NOT_HERE if online else widgets.HUB_LOST,
        "last": reaction if is_hit else "",
        "more": more,
        "shots": target.shots,
        "flashes": "hit" if is_hit else "miss",
        "flash": reaction if is_hit else _FLASHES.get(target.last_shot, ""),
        "groups": target.info.groups[:MAX_GROUPS],
    }


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
