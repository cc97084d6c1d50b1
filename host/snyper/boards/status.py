"""Read the status lines of a board: how it stands, in words for programs.

The lines themselves are documented in docs/troubleshooting.md, and made by shared/log.py.
"""

import json
from typing import Any

from snyper.firmware.board.status import Status
from snyper.shared.log import STATUS_PREFIX

UP = (Status.REGISTERED, Status.LISTENING)  # of a board that does its work


def parse_status(line: str) -> dict[str, Any] | None:
    """Parse one line of what a board prints; None for any line but a status line."""
    if not line.startswith(STATUS_PREFIX):
        return None
    try:
        status = json.loads(line.removeprefix(STATUS_PREFIX))
    except ValueError:  # cut off by a reset
        return None
    return status if isinstance(status, dict) and isinstance(status.get("status"), str) else None


def statuses_in(log: str) -> list[dict[str, Any]]:
    """List every change of a board's status, from all that it has printed.

    A repeated line is no change, but for `starting`: that is another boot.
    """
    found: list[dict[str, Any]] = []
    for line in log.split("\n")[:-1]:
        status = parse_status(line.rstrip("\r"))
        if status is not None and (status["status"] == Status.STARTING or found[-1:] != [status]):
            found.append(status)
    return found


def times_up(log: str) -> int:
    """Count how often a board has begun to do its work, from all that it has printed."""
    return sum(status["status"] in UP for status in statuses_in(log))


def last_status_in(log: str) -> dict[str, Any]:
    """Return the last status of a board; `{"status": ""}` where it has printed none."""
    lines, _, _ = log.rpartition("\n")
    while True:
        lines, found, rest = lines.rpartition(STATUS_PREFIX)
        if not found:
            return {"status": ""}
        if not lines or lines.endswith("\n"):
            status = parse_status(STATUS_PREFIX + rest.partition("\n")[0].rstrip("\r"))
            if status is not None:
                return status
