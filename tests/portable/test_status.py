"""The status line that boards print for programs."""

import builtins
import json

from snyper.firmware.board.status import Status
from snyper.shared.log import STATUS_PREFIX, repeat_status, set_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _printed(act: "Callable[[], None]") -> "list[dict[str, Any]]":
    """What is printed while `act` runs."""
    lines: "list[str]" = []
    printing: "Any" = builtins.print
    builtins.print = lines.append  # type: ignore[assignment]
    try:
        act()
    finally:
        builtins.print = printing
    assert all(line.startswith(STATUS_PREFIX) and "\n" not in line for line in lines)
    return [json.loads(line[len(STATUS_PREFIX) :]) for line in lines]


def test_a_change_is_one_line_of_json() -> None:
    def act() -> None:
        set_status(Status.SEEKING, target_id="ziel_ä", hub="10.0.0.1:8081", last_error="two\nlines")

    assert _printed(act) == [
        {"status": "seeking", "target_id": "ziel_ä", "hub": "10.0.0.1:8081", "last_error": "two\nlines"}
    ]


def test_what_is_no_change_is_not_printed_again_but_on_request() -> None:
    def act() -> None:
        set_status(Status.SEEKING, target_id="target_1")
        set_status(Status.SEEKING, target_id="target_1")
        set_status(Status.REGISTERED, target_id="target_1")
        repeat_status()
        set_status(Status.SEEKING, target_id="target_1")

    assert [fields["status"] for fields in _printed(act)] == [
        "seeking",
        "registered",
        "registered",
        "seeking",
    ]
