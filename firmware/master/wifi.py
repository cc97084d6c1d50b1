"""The hub board's access point, which its targets join. The only importer of `network` here."""

import network

from snyper.shared.log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def open_access_point(config: "dict[str, Any]") -> None:
    """Open a WPA2 access point at 192.168.4.1, which is the driver's choice. `config` is `access_point`
    of config.json.
    """
    if config["country"]:
        network.country(config["country"])
    wlan = network.WLAN(network.AP_IF)
    wlan.config(ssid=config["ssid"], password=config["password"], channel=config["channel"])
    if hasattr(network.WLAN, "SEC_WPA2"):  # an ESP32, which would otherwise be open; a Pico W is not
        wlan.config(security=network.WLAN.SEC_WPA2)
    wlan.active(True)
    wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
    log("wifi", "access point %s at %s" % (config["ssid"], wlan.ifconfig()[0]))
