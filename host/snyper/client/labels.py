"""The words that people see: one for each state, on every screen, and those that depend on a number. Pure."""

import re
import time

from snyper.client.models import CeaseFire
from snyper.shared.stream_spec import MAX_TEXT_BYTES
from snyper.system.text import one_line

AWAY = "away"  # of a target that is not connected: no word of the wire

# What people see, for the state that a target reports (`State` in firmware/target/controller.py).
STATE_WORDS = {
    "down": "down",
    "rising": "rising",
    "arming": "rising",
    "standing": "up",
    "armed": "armed",
    "falling": "falling",
    "fault": "fault",
    AWAY: AWAY,
    "": "unknown",  # it has not said yet
}
_RESULTS = {"activated": "armed"}  # where a reply's `status` is no state

# What people say for a role; `master` is the word of the wire and of the firmware's folder.
ROLE_WORDS = {"target": "target", "master": "hub"}


def state_word(state: str) -> str:
    """Return the word that people see for a state on the wire; a state that is not known here stays as
    it is.
    """
    return STATE_WORDS.get(state, state)


def result_word(status: str) -> str:
    """Return the word that people see for the `status` of a reply to a command."""
    return state_word(_RESULTS.get(status, status))


def safety_detail(state: CeaseFire, told_s: float) -> str:
    """Say by whom and since when a cease fire holds, or was released, and why; empty where nobody has done
    either. `told_s` is when the hub has told it, by `time.time()`.
    """
    if state.for_ms is None:
        return ""
    try:
        began = time.localtime(told_s - state.for_ms / 1000)
        is_today = began[:3] == time.localtime(told_s)[:3]
        at = time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M", began)
    except (ValueError, OverflowError, OSError):
        at = "before all time"
    if not state.held:
        return f"released by {state.by} at {at}"
    why = f": {state.why}" if state.why else ""
    return f"cease fire by {state.by} since {at}{why}"


def role_word(role: str) -> str:
    """Return the word that people see for a role."""
    return ROLE_WORDS.get(role, role)


def role_of(word: str) -> str:
    """Return the role that a person names, by its own word or by that of ROLE_WORDS; "" for none."""
    return next((role for role, said in ROLE_WORDS.items() if word in (role, said)), "")


def duration(seconds: float) -> str:
    """Format a duration in the one or two units that matter: 7 s, 3 min, 5 h 12 min, 2 d 3 h."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def plural(count: int, word: str) -> str:
    """Format a count with its noun: 1 target, 2 targets."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def counted(count: object, words: str) -> str:
    """Format a count with its words: 1 round won, 2 rounds won. `words` begin with what is counted, in the
    plural.
    """
    first, space, rest = words.partition(" ")
    return f"{count} {first.removesuffix('s') if count == 1 else first}{space}{rest}"


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts target_2 before target_10."""
    return [_part(part) for part in re.split(r"([0-9]+)", name)]


def _part(text: str) -> tuple[int, str]:
    """Return a key that sorts numbers by their value, however many digits they have."""
    digits = text.lstrip("0")
    return (len(digits), digits) if text.isascii() and text.isdigit() else (-1, text)


def rest_text(rests_at: object) -> str:
    """Explain what is wrong with a piezo that rests there, and what to do."""
    return f"rests at {rests_at}, not below its threshold: see its wires, or `snyper calibrate`"


def mark_name(text: str) -> str:
    """Return the name of a mark for what was typed: as much of it as a stream takes."""
    return one_line(text).strip().encode()[:MAX_TEXT_BYTES].decode(errors="ignore").strip()
