"""Print how a board stands: one line of JSON among the lines of its log, for programs to read.

docs/troubleshooting.md lists the words and what goes with each.
"""

import json

STATUS_PREFIX = "snyper: "  # a log entry begins with the seconds since boot, and so never like this

_last_line = ""


class Status:
    """Every word for how a board stands."""

    STARTING = "starting"
    JOINING = "joining"
    SEEKING = "seeking"
    REFUSED = "refused"
    REGISTERED = "registered"
    LISTENING = "listening"
    CRASHED = "crashed"
    SAFE_MODE = "safe_mode"
    STOPPED = "stopped"


def set_status(status: str, **fields: object) -> None:
    """Print the status line, unless it is the one printed last. `status` is a word of Status."""
    global _last_line
    fields["status"] = status
    line = STATUS_PREFIX + json.dumps(fields)
    if line != _last_line:
        _last_line = line
        print(line)


def repeat_status() -> None:
    """Print the last status line again."""
    print(_last_line)
