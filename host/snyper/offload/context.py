"""The progress of a service, as its function tells it."""

from collections.abc import Callable
from math import isnan

_on_progress: Callable[[float], None] | None = None


def progress(done: float) -> None:
    """Tell whoever waits for this work how much of it is done, from 0 to 1.

    From any thread of the service, as often as is convenient: few of them are sent. Does nothing where no
    service is running, as in a test of its function. Raises TypeError, ValueError for no number.
    """
    share = float(done)
    if isnan(share):
        raise ValueError("progress is a number from 0 to 1, not nan")
    if _on_progress is not None:
        _on_progress(min(max(share, 0.0), 1.0))


def set_on_progress(on_progress: Callable[[float], None] | None) -> None:
    """Have `on_progress` called with what `progress` is told from now on, in the thread that tells it."""
    global _on_progress
    _on_progress = on_progress
