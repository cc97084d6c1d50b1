"""The hub board's own Wi-Fi, which its targets join. The only importer of `network` here."""

import network

from shared.log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AccessPoint:
    """A WPA2 access point at 192.168.4.1. `config` has `ssid`, `password` (8 characters or more) and
    `channel` (1 to 13).
    """

    def __init__(self, config: "dict[str, Any]") -> None:
        self._config = config
        self._wlan = network.WLAN(network.AP_IF)

    def open(self) -> None:
        """Brings it up. Raises ValueError for a password that WPA2 does not take."""
        config = self._config
        if len(config["password"]) < 8:
            raise ValueError("config.json: `access_point.password` has 8 characters or more")
        self._wlan.config(ssid=config["ssid"], password=config["password"], channel=config["channel"])
        self._wlan.active(True)
        self._wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
        log("wifi", "access point %s at %s" % (config["ssid"], self._wlan.ifconfig()[0]))
