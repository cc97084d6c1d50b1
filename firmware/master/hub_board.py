"""A hub on a board: its own Wi-Fi, the hub in it, the light; a screen and buttons where there are any."""

import asyncio
import os

from snyper.firmware.board.led import Pattern
from snyper.firmware.board.status import Status
from snyper.firmware.master.server import Hub
from snyper.shared.runtime import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.firmware.board.led import Led
    from snyper.firmware.master.panel import Panel


CEASE_FIRE = "cease_fire.json"  # on the flash


class HubBoard:
    """A hub with its access point. `config` is what `config.read` gives; `led` shows whether targets are
    here.

    `on_status(status, **fields)` is called when the status changes, as `set_status` takes it.
    """

    def __init__(self, config: "dict[str, Any]", led: "Led", on_status: "Callable[..., None]") -> None:
        self._led = led
        self._on_status = on_status
        self._access_point: "dict[str, Any] | None" = config["access_point"]
        host, port = _address(config["listen"])
        limits = config["limits"]
        max_events = limits.pop("max_events")
        places = config["max_targets"], config["max_consoles"]
        crosstalk_ms = config["crosstalk_ms"]
        self._hub = Hub(host, port, *places, "", max_events, None, crosstalk_ms)
        from snyper.firmware.master.access import decide, set_limits

        unload("snyper.firmware.master.access")
        decide(config, self._hub)
        set_limits(self._hub, limits)
        self._hub.cease_fire_file = CEASE_FIRE
        self._panel = _panel(config, self._hub)

    async def run(self) -> None:
        """Open the access point and serve for ever. Raises OSError when the port is not to be had."""
        assert self._access_point is not None
        _open_access_point(self._access_point)
        self._access_point = None  # its memory back
        if CEASE_FIRE in os.listdir():
            from snyper.firmware.master.cease_fire import restore

            restore(self._hub)
        await self._hub.start()
        self._on_status(Status.LISTENING, port=self._hub.port)
        self._hub.router.events.listen(self._on_event)
        self._on_event()
        if self._panel is not None:
            await self._panel.run()
        await asyncio.Event().wait()

    def _on_event(self, *event: object) -> None:
        """Show with the light whether targets are here."""
        is_anybody_here = self._hub.router.registry.connected()
        self._led.show(Pattern.REGISTERED if is_anybody_here else Pattern.SEEKING)

    def is_alive(self) -> bool:
        """Return whether the hub still attends to its links: else the watchdog resets."""
        return self._hub.is_alive()


# What is needed once, at the start, gives its memory back.


def _address(listen: str) -> "tuple[str, int]":
    from snyper.shared.address import parse_address

    unload("snyper.shared.address")
    return parse_address(listen)


def _open_access_point(config: "dict[str, Any]") -> None:
    from snyper.firmware.master.wifi import open_access_point

    unload("snyper.firmware.master.wifi")
    open_access_point(config)


def _panel(config: "dict[str, Any]", hub: Hub) -> "Panel | None":
    """Make the panel; None, and nothing of it loaded, where there is neither screen nor button."""
    buttons = config["buttons"]
    if config["screen"]["driver"] == "none" and buttons["choose_pin"] == buttons["start_pin"] == "":
        return None
    from snyper.firmware.master.panel import Panel

    return Panel(config, hub)
