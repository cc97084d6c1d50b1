"""A hub on a board: its own Wi-Fi, the hub in it, and the light."""

from firmware.board.led import Pattern
from firmware.master.server import Hub
from firmware.master.wifi import AccessPoint
from shared.address import parse_address
from shared.runtime import sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.board.led import Led

_LOOK_MS = 500
_EVENTS = 48  # 5 kB


class HubBoard:
    """`config` is what `config.read` gives; `led` shows whether targets are here."""

    def __init__(self, config: "dict[str, Any]", led: "Led") -> None:
        self._led = led
        self._access_point = AccessPoint(config["access_point"])
        host, port = parse_address(config["listen"])
        self._hub = Hub(host, port, config["max_targets"], config["max_consoles"], config["key"], _EVENTS)

    async def run(self) -> None:
        """Opens the access point and serves for ever. Raises OSError when the port is not to be had."""
        self._access_point.open()
        await self._hub.start()
        while True:
            is_anybody_here = self._hub.controller.registry.connected()
            self._led.show(Pattern.REGISTERED if is_anybody_here else Pattern.SEEKING)
            await sleep_ms(_LOOK_MS)

    def status(self) -> str:
        """How it stands, in a few words."""
        return "listening on port %d" % self._hub.port

    def is_alive(self) -> bool:
        """Whether the hub still looks after its links: else a watchdog bites."""
        return self._hub.is_alive()
