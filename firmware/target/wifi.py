"""The target's way into the hub's network. The only importer of `network`."""

from errno import ENOTCONN

import network

from shared.clock import now_ms
from shared.log import log
from shared.runtime import sleep_ms

JOIN_TIMEOUT_MS = 15_000  # association, WPA2 handshake and DHCP of a slow access point
_POLL_MS = 100
_STATUS_UP = 3  # CYW43_LINK_UP; the port has a name only for the state without an address
_WHY = {
    -3: "the access point refuses the password: see `wifi` in config.json",
    -2: "no access point of that name is in reach: see `wifi` in config.json",
    -1: "the radio could not join",
    2: "joined, but got no address by DHCP",
}


class Wifi:
    """The station interface. `config` has `ssid` and `password`."""

    def __init__(self, config: "dict[str, str]") -> None:
        self._ssid = config["ssid"]
        self._password = config["password"]
        self._wlan = network.WLAN(network.STA_IF)

    async def join(self) -> None:
        """Returns at once when joined, else joins. Raises OSError that says why not."""
        if self._wlan.isconnected():
            return
        self._wlan.active(True)
        self._wlan.config(pm=network.WLAN.PM_NONE)  # power save adds up to 200 ms to every answer
        self._wlan.connect(self._ssid, self._password)
        log("wifi", "joining %s" % self._ssid)
        deadline_ms = now_ms() + JOIN_TIMEOUT_MS
        status = self._wlan.status()
        while status != _STATUS_UP:
            if status < 0 or now_ms() >= deadline_ms:
                self.leave()
                raise OSError(ENOTCONN, _WHY.get(status, "not joined, status %d" % status))
            await sleep_ms(_POLL_MS)
            status = self._wlan.status()
        log("wifi", "joined %s as %s" % (self._ssid, self._wlan.ifconfig()[0]))

    def leave(self) -> None:
        """Switches the radio off, so that the next `join` starts anew."""
        self._wlan.disconnect()
        self._wlan.active(False)
