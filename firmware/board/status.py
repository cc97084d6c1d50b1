"""Every word for how a board stands, in its status line; docs/troubleshooting.md says what goes with each.

A board does not load this: each word stands where it is used.
"""


class Status:
    """The words."""

    STARTING = "starting"
    JOINING = "joining"
    SEEKING = "seeking"
    REFUSED = "refused"
    REGISTERED = "registered"
    LISTENING = "listening"
    CRASHED = "crashed"
    SAFE_MODE = "safe_mode"
    STOPPED = "stopped"
