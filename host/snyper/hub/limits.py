"""The limits of a hub on a computer: those of a hub board, with room for thousands of targets."""

from collections.abc import Sequence

from snyper.firmware.master.config import LIMITS as BOARD_LIMITS
from snyper.shared.config import Integer
from snyper.system import limits

MAX_TARGETS = 5_000
MAX_CONSOLES = 200
MAX_EVENTS = 10_000

LIMITS: dict[str, Integer] = {
    "max_targets": Integer(MAX_TARGETS, 1, 50_000),
    "max_consoles": Integer(MAX_CONSOLES, 1, 10_000),
    "max_events": Integer(MAX_EVENTS, 100, 1_000_000),
    "unregistered": Integer(2_000, 1, 10_000),
    "strangers_per_s": Integer(400, 2, 100_000),
    "per_address": Integer(MAX_TARGETS + MAX_CONSOLES, 1, 60_000),  # all of a simulator's targets have one
    "register_ms": Integer(5_000, 500, 600_000),
    "wrong_keys_at_once": Integer(10, 1, 1_000),
    "lines_at_once": Integer(100_000, 100, 10_000_000),
    "lines_per_s": Integer(20_000, 20, 1_000_000),
    "events_at_once": Integer(1_000, 20, 1_000_000),
    "events_per_s": Integer(50, 2, 100_000),
    "new_names_at_once": Integer(2 * MAX_TARGETS, 10, 1_000_000),
    "new_names_per_s": Integer(20, 2, 100_000),
}


def complete_limits(given: Sequence[str], on_board: bool = False) -> dict[str, int]:
    """Return all limits of a hub: those given, each NAME=NUMBER, and the defaults of the others. Raises
    ValueError.
    """
    return limits.complete_limits(BOARD_LIMITS if on_board else LIMITS, given)
