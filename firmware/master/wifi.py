"""The hub board's own Wi-Fi, which its targets join. The only importer of `network` here."""

import network

from shared.log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AccessPoint:
    """A WPA2 access point at 192.168.4.1, which is the driver's choice. `config` is `access_point` of
    config.json.
    """

    def __init__(self, config: "dict[str, Any]") -> None:
        self._config = config
        if config["country"]:
            network.country(config["country"])
        self._wlan = network.WLAN(network.AP_IF)

    def open(self) -> None:
        """Brings it up."""
        config = self._config
        self._wlan.config(ssid=config["ssid"], password=config["password"], channel=config["channel"])
        if hasattr(network.WLAN, "SEC_WPA2"):  # an ESP32, which would otherwise be open; a Pico W is not
            self._wlan.config(security=network.WLAN.SEC_WPA2)
        self._wlan.active(True)
        self._wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
        log("wifi", "access point %s at %s" % (config["ssid"], self._wlan.ifconfig()[0]))
