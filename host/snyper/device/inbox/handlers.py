"""A user's file of handlers: which of its functions handle what.

async def on_file_received(event): …  # event["path"], event["filename"], event["content_type"]
def on_data_received(event): …        # event["data"]
"""

from __future__ import annotations

from types import ModuleType

from snyper.device.inbox.bus import Bus
from snyper.device.inbox.store import DATA_RECEIVED, FILE_RECEIVED

_FUNCTIONS = {"on_file_received": FILE_RECEIVED, "on_data_received": DATA_RECEIVED}


def subscribe_handlers(bus: Bus, module: ModuleType) -> list[str]:
    """Subscribe the handlers of a module; return their names. Raises ValueError where it has none."""
    found = [name for name in _FUNCTIONS if callable(getattr(module, name, None))]
    if not found:
        raise ValueError(f"it has none of the functions {', '.join(_FUNCTIONS)}")
    for name in found:
        bus.subscribe(_FUNCTIONS[name], getattr(module, name))
    return found
