"""A user's file of handlers: which of its functions handle what.

async def on_file_received(event): …  # event["path"], event["filename"], event["content_type"]
def on_data_received(event): …        # event["data"]
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from snyper.device.inbox.bus import Bus, Handler
from snyper.device.inbox.store import DATA_RECEIVED, FILE_RECEIVED
from snyper.device.loading import LoadingError, load_file

_FUNCTIONS = {"on_file_received": FILE_RECEIVED, "on_data_received": DATA_RECEIVED}


def subscribe_handlers(bus: Bus, module: ModuleType) -> list[str]:
    """Subscribe the handlers of a module; return their names. Raises ValueError where it has none."""
    found = [name for name in _FUNCTIONS if callable(getattr(module, name, None))]
    if not found:
        raise ValueError(f"it has none of the functions {', '.join(_FUNCTIONS)}")
    for name in found:
        bus.subscribe(_FUNCTIONS[name], getattr(module, name))
    return found


def make_bus(handlers: Path | None, limit_s: float, show: Handler | None) -> Bus:
    """Make a bus with the handlers in a person's file, if given, and `show` for all events, if given.
    Raises LoadingError.
    """
    bus = Bus(limit_s)
    if show is not None:
        for kind in (FILE_RECEIVED, DATA_RECEIVED):
            bus.subscribe(kind, show)
    if handlers is not None:
        module = load_file(handlers)
        try:
            subscribe_handlers(bus, module)
        except ValueError as error:
            raise LoadingError(f"{handlers.name}: {error}") from None
    return bus
